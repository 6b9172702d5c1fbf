"""Attention over sequences laid end to end: their layout, and the products on CPU and GPU."""
