"""Runs to MLflow: the only room that knows it. A run's status, its numbers and its files are true however it ends."""
