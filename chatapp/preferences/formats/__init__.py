"""Preference data in files: one module for each format."""
