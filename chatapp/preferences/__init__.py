"""What a ranking means: orders, pairs, counts, and the file formats of preference data. Pure functions."""
