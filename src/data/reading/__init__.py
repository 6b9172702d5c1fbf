"""Files, archives, tables and hub data sets to records: which file makes which split, which
column is which.
"""
