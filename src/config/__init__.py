"""From what a person typed to plain Python values, with every mistake found before anything heavy
is imported.
"""
