"""The node `callbacks.reference`: simple models beside every classifier, so that nobody takes a
result for a good one that a linear model reaches too.
"""

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.printing import print_line
from src.core.validation import validate_init

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from src.data.datamodule import TextDataModule

# The version of what is kept: raise it when the same rows would give other numbers.
_VERSION = 1
_SPOKEN_NAMES = {"majority": "most frequent class", "linear": "logistic regression on TF-IDF"}


@validate_init
@dataclass(frozen=True, kw_only=True)
class ReferenceLines:
    """Logs how well simple models do on the same rows, as `reference/NAME/test/accuracy`, for runs
    of classification. They are computed once for the same rows and kept in `data.cache`.

    Args:
        models: `linear` for the most frequent class of the training rows and for logistic
            regression on TF-IDF features of the tokens; `majority` for the first of these alone.
    """

    models: Literal["linear", "majority"] = "linear"

    def build(self, folder: Path, hooks: object = None) -> "list[Callback]":
        """A callback that acts when the run is judged.

        Args:
            folder: of checkpoints, not used.
            hooks: to the run's record, not used.
        """
        from lightning.pytorch.callbacks import LambdaCallback

        def log_with_test(trainer: Any, module: Any) -> None:
            self._log(trainer, module, "test")

        def log_without_test(trainer: Any, module: Any) -> None:
            if "test" not in trainer.datamodule.token_stores:
                self._log(trainer, module, "val")

        return [LambdaCallback(on_test_end=log_with_test, on_fit_end=log_without_test)]

    def _log(self, trainer: Any, module: Any, split: str) -> None:
        if module.objective.kind != "classification" or not trainer.is_global_zero:
            return
        lines = _load_or_score(trainer.datamodule, self.models)
        for logger in trainer.loggers:
            metrics = {
                f"reference/{name}/{metric}": value
                for name, line in lines.items()
                for metric, value in line["metrics"].items()
            }
            logger.log_metrics(metrics, step=trainer.global_step)
        reached = trainer.callback_metrics.get(f"{split}/accuracy")
        print_line(_describe(lines, split, None if reached is None else float(reached)))


def _load_or_score(datamodule: "TextDataModule", models: str) -> dict[str, dict[str, Any]]:
    """The reference lines of the data by their names, each with `metrics` and `rows`."""
    stores, info = datamodule.token_stores, datamodule.dataset_info
    tokens = str(stores["train"].folder.parent.name)
    key = hashlib.sha256(json.dumps([_VERSION, models, tokens]).encode()).hexdigest()

    def build(folder: Path) -> None:
        from src.evaluation.linear_model import score_linear_model, score_majority

        lines = {"majority": score_majority(stores, len(info.label_names))}
        if models == "linear":
            linear = score_linear_model(stores, len(info.label_names), info.special_ids)
            lines |= {} if linear is None else {"linear": linear}
        content = {name: line._asdict() for name, line in lines.items()}
        (folder / "lines.json").write_text(json.dumps(content), encoding="utf-8")

    folder = datamodule.cache.get_or_build("reference", key, build)
    lines: dict[str, dict[str, Any]] = json.loads((folder / "lines.json").read_text("utf-8"))
    return lines


def _describe(lines: Mapping[str, Mapping[str, Any]], split: str, reached: float | None) -> str:
    """The lines in words, and whether the model has passed them."""
    scores = {name: line["metrics"].get(f"{split}/accuracy") for name, line in lines.items()}
    words = ", ".join(
        f"{_SPOKEN_NAMES[name]} {score:.4g}" for name, score in scores.items() if score is not None
    )
    text = f"reference {split}/accuracy: {words}"
    best = max((score for score in scores.values() if score is not None), default=None)
    if reached is None or best is None or reached > best:
        return text
    return f"{text}\n  this model is not better: {split}/accuracy {reached:.4g}"
