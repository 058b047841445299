"""What every room may use; imports the standard library only."""
