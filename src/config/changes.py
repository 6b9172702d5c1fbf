"""Which keys of a config may differ where a run goes on, or where another is forked from it."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, NamedTuple

from src.terms.fault import Fault
from src.tracking.params import typed
from src.tracking.redaction import STARS, hidden_value

# What cannot change the result: where things are kept, what is shown, how many processes make the same batches.
FREE = (
    "tracking", "tags", "callbacks.progress", "callbacks.checkpoint.keep", "callbacks.checkpoint.keep_last",
    "callbacks.checkpoint.every_steps", "callbacks.checkpoint.every_minutes", "data.cache", "data.num_workers",
    "data.on_device", "trainer.rank_timeout_seconds",
    "trainer.on_non_finite", "trainer.max_skips",  # what to do where it would else have ended
)  # fmt: skip
LAST_BITS = ("trainer.threads", "model.gradient_checkpointing")  # the same sums, added up in another order
DEVICES = ("trainer.devices", "trainer.num_nodes", "data.batching.batch_size", "data.batching.batch_tokens")
# What a fork may change beside these: weights, optimizer state and place in the data are still those of its origin.
FORK = (
    "name", "callbacks", "model.optim", "trainer.accelerator", "trainer.precision", "trainer.compile",
    "trainer.deterministic", "trainer.max_epochs", "trainer.max_steps", "trainer.max_minutes",
    "trainer.val_check_steps", "trainer.gradient_clip_val", "trainer.log_every_n_steps",
)  # fmt: skip
NEVER = ("model.optim._target_",)
ABSENT = object()  # the value of a key that is not there


class Change(NamedTuple):
    """A key whose value differs from the earlier run's, both as a person types them."""

    key: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.key} ({self.old} -> {self.new})"


def compare(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[Change]:
    """Every key whose value differs, in the order of the new config. How runs are tracked is no matter of theirs."""
    before, after = dict(leaves("", old)), dict(leaves("", new))
    pairs = {key: (before.get(key, ABSENT), after.get(key, ABSENT)) for key in (*after, *before)}
    return [
        Change(key, _shown(key, was), _shown(key, now))
        for key, (was, now) in pairs.items()
        if was != now and not starred(was) and not _below(key, ("tracking",))
    ]


def judge(old: Mapping[str, Any], new: Mapping[str, Any], *, run_id: str, fork: bool) -> tuple[list[Change], list[str]]:
    """What differs and may, and what must be said of it.

    Args:
        old: the config of the earlier run, as it is stored.
        new: that of the run that goes on with it (`fork`: of a new run that begins from it).
        run_id: of the earlier run, for messages.

    Raises:
        Fault: a change that the same run cannot take (it would not be the same), or that a fork cannot.
    """
    changes = compare(old, new)
    remarks: list[str] = []
    allowed: tuple[str, ...] = (*FREE, *LAST_BITS)
    if _same_batches(old, new):
        allowed += DEVICES
        if moved := [each for each in changes if each.key in DEVICES]:
            remarks.append(
                f"{', '.join(map(str, moved))}: each step still has the same rows, but from here on dropout's noise "
                "and the last bits are others than they would have been"
            )
    if bits := [each for each in changes if _below(each.key, LAST_BITS)]:
        remarks.append(f"{', '.join(map(str, bits))}: sums are added up in another order, so the last bits may differ")
    odd = [each for each in changes if not _below(each.key, allowed)]
    beyond = [each for each in odd if not takeable(each.key)]
    if odd and not fork:
        way = "; fork=true makes a new run of it that begins where this one is"
        if beyond:
            way = f"; for {', '.join(each.key for each in beyond)} a new run is needed ({_fresh(run_id)})"
        raise Fault(
            f"resume={run_id} goes on as the run began, and what was typed would change it: {_listed(odd)}{way}"
        )
    if beyond:
        raise Fault(
            f"resume={run_id} fork=true takes weights, optimizer and place in the data from that run, which do not fit "
            f"to {_listed(beyond)}; a new run is needed ({_fresh(run_id)})"
        )
    return changes, remarks


def takeable(key: str) -> bool:
    """Whether a fork may change a key."""
    return _below(key, (*FREE, *LAST_BITS, *FORK)) and not _below(key, NEVER)


def unimportant(key: str) -> bool:
    """Whether a key cannot change a result beyond its last bits."""
    return _below(key, (*FREE, *LAST_BITS))


def starred(value: Any) -> bool:
    """Whether a value was a secret when the config was written, or held one."""
    return isinstance(value, str) and STARS in value


def leaves(path: str, node: Mapping[str, Any]) -> Iterator[tuple[str, Any]]:
    """Every dotted key that holds a value; a list is one value, and so is an empty node."""
    for key, each in node.items():
        dotted = f"{path}.{key}" if path else str(key)
        if isinstance(each, Mapping) and each:
            yield from leaves(dotted, each)
        else:
            yield dotted, each


def _fresh(run_id: str) -> str:
    return f"init_from={run_id} begins one from its encoder"


def _shown(key: str, value: Any) -> str:
    return "absent" if value is ABSENT else hidden_value(key, typed(value))


def _listed(changes: Sequence[Change]) -> str:
    return ", ".join(map(str, changes))


def _below(key: str, names: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _same_batches(old: Mapping[str, Any], new: Mapping[str, Any]) -> bool:
    """Whether another number of devices takes the same rows in each step: batches are larger as devices are fewer.

    Not where weights are divided among devices, nor where `auto` leaves the number open.
    """
    before, after = dict(leaves("", old)), dict(leaves("", new))
    if "fsdp" in (before.get("trainer.strategy"), after.get("trainer.strategy")):
        return False
    rows = _on_all(before, "data.batching.batch_size")
    tokens = _on_all(before, "data.batching.batch_tokens")
    limited = (
        before.get("data.batching.batch_tokens") is not None or after.get("data.batching.batch_tokens") is not None
    )
    return (
        rows is not None
        and rows == _on_all(after, "data.batching.batch_size")
        and (not limited or (tokens is not None and tokens == _on_all(after, "data.batching.batch_tokens")))
    )


def _on_all(config: Mapping[str, Any], key: str) -> int | None:
    """A limit of each device's batch, times the devices."""
    parts = (config.get("trainer.devices", 1), config.get("trainer.num_nodes", 1), config.get(key))
    numbers = [each for each in parts if isinstance(each, int)]
    return numbers[0] * numbers[1] * numbers[2] if len(numbers) == len(parts) else None
