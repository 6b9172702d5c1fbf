"""The record of runs in MLflow, which nothing outside of this package imports.

However a run ends, its status, metrics and files in the store are true.
"""
