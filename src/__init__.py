"""Palimpsest: a file here is a command (`python -m src.NAME`); a folder is a room."""

__version__ = "0.1.0"
