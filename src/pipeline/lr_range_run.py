"""A run that only measures at which learning rates the loss falls."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.config.phases import PHASES_KEY
from src.core.failures import NonFiniteLoss
from src.core.printing import print_line
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from lightning.pytorch import Callback

    from src.tracking.run_record import RunRecord
    from src.training.checkpoint_files import CheckpointHooks
    from src.training.lr_range import LrRangeCurve

# of `callbacks`; a range test has no validation, and leaves no checkpoint
_KEPT_CALLBACKS = ("meter", "progress")


class LrRangeSettings(NamedTuple):
    """Rates of the first and the last optimizer step, and the number of steps."""

    lowest: float
    highest: float
    steps: int


class LrRangeHooks:
    """The hooks of a range test: the rising rate, and its record in the place of a test."""

    parent_run_id: str | None = None
    # it cannot go on from where it stopped
    resume_command: str | None = None

    def __init__(
        self, settings: LrRangeSettings, optim_lr: float, overrides: Sequence[str] | None
    ) -> None:
        from src.training.lr_range import LrRangeCurve

        self.shown_overrides = overrides
        self.tags: Mapping[str, str] = {"lr_range": f"{settings.lowest:g} to {settings.highest:g}"}
        self.pruned_reason: str | None = None
        self.curve: LrRangeCurve = LrRangeCurve()
        self._settings = settings
        self._optim_lr = optim_lr
        self._record: RunRecord | None = None

    def on_run_opened(self, record: "RunRecord") -> None:
        self._record = record

    def build(self, folder: Path, hooks: "CheckpointHooks | None" = None) -> "list[Callback]":
        from src.training.lr_range import LrRangeCallback

        # no test and no model come after it
        self.pruned_reason = "a learning-rate range test measures nothing else"
        return [
            LrRangeCallback(**self._settings._asdict(), optim_lr=self._optim_lr, curve=self.curve)
        ]

    def on_run_evaluated(self, best_checkpoint: str | None, metrics: Mapping[str, float]) -> None:
        """Never called: `pruned_reason` is set."""

    def on_run_pruned(self) -> None:
        """Record the curve and the suggestion."""
        self.record_curve()

    def record_curve(self) -> None:
        """Write the curve as metrics, table and picture, and say what it suggests."""
        from src.evaluation.plots import plot_lr_range

        record, curve = self._record, self.curve
        if record is None or not curve.rates:
            return
        suggested = curve.suggest_rate()
        for step, (rate, loss, smoothed) in enumerate(
            zip(curve.rates, curve.losses, curve.smoothed, strict=True), start=1
        ):
            values = {"lr_range/lr": rate, "lr_range/loss": loss, "lr_range/smoothed": smoothed}
            record.log_metrics(values, step=step)
        record.log_table(
            {"lr": curve.rates, "loss": curve.losses, "smoothed": curve.smoothed},
            "report/lr_range.json",
        )
        figure = plot_lr_range(curve.rates, curve.losses, curve.smoothed, suggested)
        record.log_figure(figure, "report/lr_range.png")
        said = describe_suggestion(curve)
        record.set_tag("lr_range.suggestion", said)
        if suggested is not None:
            record.log_metrics({"lr_range/suggested_lr": suggested}, step=len(curve.rates))
        print_line(f"{said}; the curve is report/lr_range.png of run {record.run_id}")


def describe_suggestion(curve: "LrRangeCurve") -> str:
    """What a curve suggests, in a sentence."""
    suggested = curve.suggest_rate()
    lowest = min(range(len(curve.smoothed)), key=lambda step: curve.smoothed[step])
    end = (
        f"it diverged at {curve.rates[-1]:.2g}"
        if curve.has_diverged
        else f"it had not diverged at {curve.rates[-1]:.2g}"
    )
    if suggested is None:
        return f"no rate is suggested: the loss never fell; {end}"
    return (
        f"suggested: model.optim.lr={suggested:.2g}, where the loss falls most steeply; it is "
        f"lowest at {curve.rates[lowest]:.2g}, and {end}"
    )


def run_lr_range(
    config: Mapping[str, Any], settings: LrRangeSettings, overrides: Sequence[str] | None = None
) -> "LrRangeCurve":
    """Make a range test of a config, as a run of its own; returns the curve.

    Args:
        config: of a run, as composed.
        overrides: shown in the name of the run.

    Raises:
        UserError: the config has no rate that could be raised, or something else is wrong in it.
    """
    from src.pipeline.run import run

    if config.get(PHASES_KEY):
        raise UserError(
            "a range test is of one training",
            key=PHASES_KEY,
            hint="{key}=null tests the config without its phases",
        )
    lr = config["model"]["optim"].get("lr")
    if not isinstance(lr, int | float):
        raise UserError("a range test raises this rate", key="model.optim.lr", expected="a number")
    trainer = {
        **config["trainer"],
        "max_epochs": None,
        "max_steps": settings.steps,
        "val_check_steps": None,
        "devices": 1,
    }
    changed = {
        **config,
        "name": f"{config['name']} lr range",
        "trainer": trainer,
        "callbacks": {
            name: node for name, node in config["callbacks"].items() if name in _KEPT_CALLBACKS
        },
    }
    hooks = LrRangeHooks(settings, float(lr), overrides)
    try:
        run(**changed, hooks=hooks)
    except NonFiniteLoss:
        # the loss left the range of numbers before its average could show it
        hooks.record_curve()
        if hooks.curve.suggest_rate() is None:
            raise
    return hooks.curve
