"""What a run has learnt about the answers of its model once it was trained: the temperature of its
probabilities and the thresholds of its labels. Both are fitted on the validation rows and kept in
the model folder as `decision.json`.

Shape legend: B texts, C labels.
"""

import json
import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.user_errors import UserError

if TYPE_CHECKING:
    from torch import Tensor

DECISION_NAME = "decision.json"
# above which a label of many is predicted where nothing else was chosen
DEFAULT_THRESHOLD = 0.5


@dataclass(frozen=True, kw_only=True)
class DecisionRule:
    """From the outputs of a model to probabilities, and from these to labels.

    Args:
        temperature: outputs are divided by it before softmax or sigmoid (Guo et al., 2017). Above 1
            it makes probabilities less sure; the order of the labels stays.
        thresholds: [C], one for each label. Where a text may have several labels, those whose
            probability is above their threshold are predicted. Where it has one, that whose
            probability is the largest multiple of its threshold: of two labels with thresholds
            1 - t and t, the second one above t. Null: 0.5, or the likeliest label.
        aim: what the thresholds were chosen for, as in `f1`; empty without thresholds.
        fitted_on: the split that temperature and thresholds were fitted on.
    """

    temperature: float = 1.0
    thresholds: tuple[float, ...] | None = None
    aim: str = ""
    fitted_on: str = "validation"

    def apply_temperature(self, logits: "Tensor") -> "Tensor":
        """The outputs whose softmax or sigmoid is the probabilities, of any shape."""
        return logits if self.temperature == 1.0 else logits / self.temperature

    def choose_label(self, probabilities: "Tensor") -> "Tensor":
        """The index of the predicted label [B] of texts that have one, from [B, C]; among equals
        the lowest.
        """
        if self.thresholds is None:
            return probabilities.argmax(1)
        return (probabilities / probabilities.new_tensor(self.thresholds)).argmax(1)

    def choose_labels(self, probabilities: "Tensor") -> "Tensor":
        """Which labels [B, C] are predicted of texts that may have several, from [B, C]."""
        if self.thresholds is None:
            return probabilities > DEFAULT_THRESHOLD
        return probabilities > probabilities.new_tensor(self.thresholds)

    def describe(self, label_names: Sequence[str]) -> str | None:
        """How the answers differ from the plain outputs, in one line; None if they do not."""
        parts = []
        if self.temperature != 1.0:
            parts.append(f"probabilities at temperature {self.temperature:.3g}")
        if self.thresholds is not None:
            names = zip(label_names, self.thresholds, strict=True)
            shown = ", ".join(f"{name} {threshold:.3g}" for name, threshold in names)
            parts.append(f"thresholds for {self.aim}: {shown}")
        return "; ".join(parts) + f" (fitted on {self.fitted_on})" if parts else None

    def write(self, folder: Path) -> None:
        """Keep the rule in a model folder."""
        content = json.dumps(asdict(self), ensure_ascii=False, indent=2)
        (folder / DECISION_NAME).write_text(content, encoding="utf-8")

    @classmethod
    def read(cls, folder: Path, num_labels: int) -> "DecisionRule":
        """The rule of a model folder; a plain one if the run has left none.

        Raises:
            UserError: the file is there and holds no rule for so many labels.
        """
        path = folder / DECISION_NAME
        if not path.is_file():
            return cls()
        try:
            content = json.loads(path.read_text(encoding="utf-8"))
            thresholds = content["thresholds"]
            rule = cls(
                temperature=float(content["temperature"]),
                thresholds=None if thresholds is None else tuple(map(float, thresholds)),
                aim=str(content["aim"]),
                fitted_on=str(content["fitted_on"]),
            )
        except (ValueError, TypeError, KeyError, LookupError) as error:
            raise UserError(f"{path} holds no decision rule of a run: {error!r}") from error
        numbers = (rule.temperature, *(rule.thresholds or ()))
        if not all(math.isfinite(number) and number > 0 for number in numbers):
            raise UserError(f"{path}: temperature and thresholds must be numbers above 0")
        if rule.thresholds is not None and len(rule.thresholds) != num_labels:
            found = len(rule.thresholds)
            raise UserError(f"{path} has {found} thresholds, and the model has {num_labels} labels")
        return rule
