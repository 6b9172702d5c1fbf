"""What a run settles before it is opened."""

from typing import Any

import pytest

from src.core.user_errors import UserError
from src.pipeline.build_parts import settle_batch_ranks
from src.pipeline.run_parts import BuiltParts
from src.training.trainer import Training


def settle(
    changed_keys: dict[str, str], world_size: int, **trainer: Any
) -> tuple[int | None, int | None]:
    """For how many devices a batch is: by the parts, and by their config."""
    training, nothing = Training(max_epochs=1, **trainer), None
    config = {"trainer": dict(trainer), "name": "x"}
    built = BuiltParts(config, None, nothing, nothing, training, [])  # type: ignore[arg-type]
    settled = settle_batch_ranks(built, changed_keys, world_size)
    assert config["trainer"] == trainer and settled.config["name"] == "x"
    return settled.training.batch_ranks, settled.config["trainer"].get("batch_ranks")


def test_for_how_many_devices_a_batch_is() -> None:
    # the number of devices says it
    assert settle({}, 2, devices=2) == (None, None)
    # whoever goes on with the run must know what `auto` was
    assert settle({}, 2, devices="auto") == (2, 2)
    assert settle({}, 6, num_nodes="auto", devices=2) == (6, 6)
    assert settle({}, 2, devices="auto", batch_ranks=8) == (8, 8)
    # of a run that goes on with four devices where it had one
    assert settle({"trainer.devices": "4", "trainer.batch_ranks": "1"}, 4, devices=4) == (1, 1)
    assert settle({"name": "y"}, 4, devices=4) == (None, None)


def test_parts_of_a_batch_cannot_be_left_out() -> None:
    with pytest.raises(UserError, match="trainer.batch_ranks=2 makes parts of them"):
        settle({"trainer.batch_ranks": "2"}, 1, on_non_finite="skip")
