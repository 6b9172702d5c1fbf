"""The node `report`: what a run tells of its answers beyond their metrics, and how its model is to
decide.
"""

import importlib.util
import re
from dataclasses import dataclass
from typing import Annotated

from src.core.user_errors import UserError
from src.core.validation import Bound, NonNegativeInt, validate_init

# in a fill-in probe, whatever the tokenizer calls it
MASK = "[MASK]"
_AIMS = "f1 (or f0.5, f2 and so on), balanced_accuracy or precision_0.9"


@validate_init
@dataclass(frozen=True, kw_only=True)
class ReportConfig:
    """What `report/` of a run holds, for runs that judge whole texts.

    Args:
        page: whether there are curves, pictures and `report.html` beside the tables.
        temperature: whether the temperature of the probabilities is fitted on the validation rows
            (Guo et al., 2017) and kept with the model.
        threshold_aim: what the thresholds of the labels shall reach on the validation rows: `f1`
            (`f2` weighs recall twice as much, `f0.5` half), `balanced_accuracy`, or the greatest
            recall with a precision of 0.9 at least, `precision_0.9`. They are kept with the model.
            Null: the likeliest label, or all above 0.5.
        mistakes: how many of the surest mistakes are shown with their texts.
        slices: columns of the test rows by whose values the result is shown.
        near_train: from which similarity on test rows are listed that also stand, nearly, in train:
            the Jaccard index of their pairs of neighbouring words (0.8: 200 words of which about 10
            differ). Without the package datasketch only those of the same words are found. Null
            looks for none.
        explanations: how many test rows are shown with the words by which they were answered, as
            `src.explain` does: right and sure, wrong and sure, and unsure ones. It ends after 5
            seconds, and needs the package captum. 0: none.
        label_errors: whether rows are listed whose label may be wrong (cleanlab; Northcutt et al.,
            2021).
        fill_in_probes: sentences with one `[MASK]` each, and behind `=>` the word that is expected
            there, if one is: `"The sky is [MASK]. => blue"`. A run that learns to fill masks is
            asked them at every validation (`report/fill_in.json`).
    """

    page: bool = True
    temperature: bool = True
    threshold_aim: str | None = None
    mistakes: NonNegativeInt = 50
    slices: tuple[str, ...] = ()
    near_train: Annotated[float, Bound(least=0.4, most=1)] | None = 0.8
    explanations: NonNegativeInt = 6
    label_errors: bool = False
    fill_in_probes: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        if self.threshold_aim is not None:
            parse_aim(self.threshold_aim)
        for probe in self.fill_in_probes:
            parse_fill_in(probe)

    def check(self) -> None:
        """Raise UserError if the package that finds wrong labels is asked for and not installed."""
        if self.label_errors and importlib.util.find_spec("cleanlab") is None:
            raise UserError(
                "labels that may be wrong are found by the package cleanlab, which is not "
                "installed",
                key="report.label_errors",
                value=True,
                hint="pip install -e '.[label-errors]', or {key}=false",
            )

    def check_labels(self, kind: str, num_labels: int) -> None:
        """Raise UserError if the aim is none for so many labels.

        Args:
            kind: of the objective.
        """
        if self.threshold_aim is None or kind == "multi_label" or num_labels < 3:
            return
        if parse_aim(self.threshold_aim)[0] == "precision":
            raise UserError(
                f"there are {num_labels} labels of which a text has one: the least precision is an "
                "aim for two labels, or where a text may have several",
                key="report.threshold_aim",
                value=self.threshold_aim,
                hint="{key}=f0.5 weighs precision more",
            )


def parse_aim(text: str) -> tuple[str, float]:
    """The kind of an aim, `f`, `balanced_accuracy` or `precision`, and its number.

    Raises:
        UserError: it is none.
    """
    if text == "balanced_accuracy":
        return text, 0.0
    if (found := re.fullmatch(r"f(\d*\.?\d+)", text)) and float(found[1]) > 0:
        return "f", float(found[1])
    if (found := re.fullmatch(r"precision_(0?\.\d+|1|1\.0)", text)) and float(found[1]) > 0:
        return "precision", float(found[1])
    raise UserError(key="report.threshold_aim", value=text, expected=_AIMS)


def parse_fill_in(probe: str) -> tuple[str, str | None]:
    """The sentence of a fill-in probe, and the word that is expected, if one is.

    Raises:
        UserError: it has not one mask, or nothing behind its arrow.
    """
    text, arrow, word = (part.strip() for part in probe.partition("=>"))
    if text.count(MASK) == 1 and bool(arrow) == bool(word):
        return text, word or None
    raise UserError(
        key="report.fill_in_probes",
        expected=f'sentences with one {MASK} each, as in ["The sky is {MASK}. => blue"]',
        found=probe,
    )
