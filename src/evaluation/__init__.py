"""Numbers to judgement: reports, comparisons and statistics of finished runs."""
