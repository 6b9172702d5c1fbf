"""Running the trials of a search: the scheduler, its processes, and what a run does as a trial."""
