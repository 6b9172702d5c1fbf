"""Imports of a fork server that fail."""

raise RuntimeError("broken_preload")
