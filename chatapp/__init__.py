"""A terminal chat that learns from the person who uses it: chat, rank, train, offline."""

__version__ = "0.1.0"
