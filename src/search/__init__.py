"""Sweeps: a search space, trials at its points, each run in a process of its own, and a report."""
