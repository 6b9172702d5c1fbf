"""What a search shows: the progress display, plots and the report."""
