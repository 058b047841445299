"""Which models there are: the embedded one and those that the user added."""
