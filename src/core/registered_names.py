"""The names that MLflow's Model Registry takes, and addresses of models as MLflow writes them,
without MLflow, whose import takes seconds.
"""

import posixpath
import re

# runs:/ID/model, the model of a run
RUN_ADDRESS = re.compile(r"(?:runs|mlflow-artifacts):/+(?:\d+/)?([0-9a-fA-F]{6,32})(?:/|$)")
# in models:/NAME@ALIAS they would mean a version by itself
_RESERVED_ALIAS = re.compile(r"latest|v\d+", re.IGNORECASE)
_MOST_CHARACTERS = 255


def find_name_problem(name: str) -> str | None:
    """Why no registered model can have this name; None if one can."""
    if not name.strip():
        return "is empty"
    if "/" in name or ":" in name:
        return "holds / or :, which stand for something else in models:/NAME"
    if posixpath.normpath(name) != name or name in (".", ".."):
        return "is no name of a folder"
    return None


def find_alias_problem(alias: str) -> str | None:
    """Why a version of a registered model cannot have this alias; None if it can."""
    if _RESERVED_ALIAS.fullmatch(alias):
        return "is a name that MLflow keeps for itself"
    if not re.fullmatch(rf"[\w\-]{{1,{_MOST_CHARACTERS}}}", alias, re.ASCII):
        return "is no alias: letters, digits, - and _ make one"
    return None
