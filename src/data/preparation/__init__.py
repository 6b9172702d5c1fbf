"""Records to splits: cleaning, repeated rows, divisions, label maps, targets and the survey
of a corpus.
"""
