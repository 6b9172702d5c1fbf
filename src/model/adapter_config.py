"""The config of an adapter: a few weights that are trained beside a body that stays as it is."""

from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from typing import Annotated

from src.core.user_errors import UserError
from src.core.validation import Bound, PositiveFloat, PositiveInt, validate_init

ADAPTER_KEY = "model.adapter"


@validate_init
@dataclass(frozen=True, kw_only=True)
class Lora:
    """Low-rank adapters (Hu et al., 2022): the body is frozen, and beside some of its linear layers
    a product of two narrow matrices learns. The head, and whatever else begins random, is trained
    whole. Checkpoints hold only what is trained; the exported model holds the adapters added into
    the weights, and is an ordinary folder.

    Args:
        rank: width between the two matrices.
        alpha: the product is multiplied by `alpha` / `rank`.
        dropout: share of a layer's input that its adapter does not see.
        use_dora: learn the length of each row of a weight apart from its direction (Liu et al.,
            2024), which takes about half more time.
        use_rslora: multiply by `alpha` / sqrt(`rank`) instead, better for large ranks
            (Kalajdzievski, 2023).
        target_modules: names of the linear layers, by their last part, such as `query` or `dense`,
            in every transformer layer; null: all that there are, whatever the family calls them
            (Schulman et al., 2025: "LoRA without regret").
        lr_factor: every learning rate of `model.optim` is multiplied by this, since adapters want
            ten times the rate of whole weights and more.
    """

    rank: PositiveInt = 8
    alpha: PositiveFloat = 16.0
    dropout: Annotated[float, Bound(least=0, below=1)] = 0.0
    use_dora: bool = False
    use_rslora: bool = False
    target_modules: Sequence[str] | None = None
    lr_factor: PositiveFloat = 20.0

    def check(self) -> None:
        """Raise UserError if the package that makes the adapters is not installed."""
        if find_spec("peft") is None:
            raise UserError(
                "adapters need the package peft, which is not installed",
                key=ADAPTER_KEY,
                hint="pip install -e '.[lora]'",
            )
