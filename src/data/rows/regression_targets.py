"""From labels as a file writes them to numbers for regression, which are kept in single precision.

Shape legend: N rows.
"""

import math
import re

import numpy as np

from src.core.user_errors import UserError
from src.data.rows.labels import RawLabel

_LARGEST = float(np.finfo(np.float32).max)
# of a standard deviation: coarser steps between numbers would show in what is learnt and measured
_COARSEST_STEP = 0.01


def parse_regression_target(label: RawLabel, where: str) -> float:
    """The number of a regression label; raises UserError, with `where`, if it is no finite one or
    is beyond single precision.
    """
    if label is None:
        raise UserError(f"{where}: no label; expected a number")
    try:
        number = float(label)
    except (ValueError, OverflowError):
        number = math.nan
    if not math.isfinite(number) or "_" in str(label):
        hint = _suggest_reading(str(label))
        raise UserError(
            f"{where}: label {label!r} is not a finite number (a regression needs one; "
            "data.source.label)" + (f"; {hint}" if hint else "")
        )
    if abs(number) > _LARGEST:
        raise UserError(
            f"{where}: label {label!r} is too large; numbers go up to {_LARGEST:.2g} "
            "(data.source.label)"
        )
    return number


def _suggest_reading(label: str) -> str:
    """What to type for the number in a label, if there is one; empty where there is none, or
    several.
    """
    numbers = re.findall(r"[-+]?\d[\d.,]*", label)
    if len(numbers) != 1 or "_" in label:
        return ""
    number, hints = numbers[0].rstrip(".,"), []
    if number != label.strip():
        hints.append(
            """'data.source.label_pattern="([-+]?[0-9][0-9.,]*)"' takes the number in a label"""
        )
    if re.fullmatch(r"[-+]?\d{1,3}(,\d{3})+(\.\d+)?", number):
        hints.append("data.source.decimal=dot where commas part thousands")
    if re.fullmatch(r"[-+]?\d[\d.]*,\d+", number):
        hints.append("data.source.decimal=comma where a comma stands before decimals")
    return ", ".join(hints)


def describe_close_targets(targets: np.ndarray) -> list[str]:
    """A remark where numbers [N] are so close together, for their size, that single precision does
    not tell all of them apart.
    """
    lowest, highest = float(targets.min()), float(targets.max())
    step = float(np.spacing(np.float32(max(abs(lowest), abs(highest)))))
    if step <= _COARSEST_STEP * float(targets.std()):
        return []
    known, kept = len(np.unique(targets)), len(np.unique(targets.astype(np.float32)))
    if known == kept:
        return []
    return [
        f"the labels lie between {lowest:.10g} and {highest:.10g}, where single precision, in "
        f"which they are kept, has steps of {step:g}: {known} different ones become {kept}; labels "
        "from which a number near them is subtracted keep their differences"
    ]
