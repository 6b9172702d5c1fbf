"""The one run: open, prepare, train, evaluate; what it resumes from and leaves behind."""
