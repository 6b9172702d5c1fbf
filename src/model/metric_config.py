"""Metrics that a config adds: classes of torchmetrics or of the user, built for each stage."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar

from src.core.validation import validate_init

if TYPE_CHECKING:
    from torchmetrics import Metric


@validate_init
@dataclass(frozen=True, kw_only=True)
class LibraryMetric:
    """Stands for a metric class in a config, since each stage needs an object of its own.

    Args:
        cls: a class of torchmetrics, or one that inherits from `torchmetrics.Metric`.
        arguments: the arguments of its constructor.
    """

    # Arguments of the class that do not come from the config.
    provides: ClassVar[tuple[str, ...]] = ()

    cls: Callable[..., Any]
    arguments: Mapping[str, Any]

    def __post_init__(self) -> None:
        # Built once here, so that arguments which the class refuses are reported early.
        self.build()

    def build(self) -> "Metric":
        """A new metric."""
        return self.cls(**self.arguments)
