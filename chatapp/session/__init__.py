"""Joins the engine and the store, and knows no screen: one conversation as a person goes through it."""
