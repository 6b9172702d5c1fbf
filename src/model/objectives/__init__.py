"""The training objectives, one file each. A new one is such a file and a config that names it."""

from src.model.objectives.objective import (
    DatasetObjective,
    GeneratorObjective,
    Objective,
    ObjectiveOutput,
    TokenScores,
)

__all__ = [
    "DatasetObjective",
    "GeneratorObjective",
    "Objective",
    "ObjectiveOutput",
    "TokenScores",
]
