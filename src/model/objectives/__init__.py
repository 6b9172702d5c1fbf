"""The training objectives, one file each. A new one is such a file and a config that names it."""

from src.model.objectives.objective import DatasetObjective, Objective, ObjectiveOutput

__all__ = ["DatasetObjective", "Objective", "ObjectiveOutput"]
