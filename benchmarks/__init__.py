"""Figures that the project claims, each by a command: `python -m benchmarks.NAME`. Written to
docs/results/.
"""
