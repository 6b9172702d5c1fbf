"""Answers of an earlier run's model: for a text, for the rows of a file, for masked words."""
