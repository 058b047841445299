"""The command line: one file for each noun. Every command imports what it needs when it runs, not before."""
