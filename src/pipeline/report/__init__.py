"""What the record of a run holds of its evaluation: scores, tables, pictures and findings."""
