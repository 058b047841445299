"""What is kept: one SQLite file with conversations, rankings and a search index. Only this room speaks SQL."""
