"""Compares the config of a run with that of a run that goes on with it or is forked from it, and
says which keys may differ.
"""

import shlex
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from src.core.formatting import to_override_text
from src.core.nested_config import iter_leaves
from src.core.redaction import REDACTED, redact_value
from src.core.user_errors import UserError

# Keys that cannot change the result: where things are kept, what is shown, how many processes make
# the same batches.
RESULT_NEUTRAL_KEYS = (
    "tracking",
    "tags",
    "report",
    "register",
    "register_alias",
    "callbacks.progress",
    "callbacks.reference",
    "callbacks.checkpoint.keep",
    "callbacks.checkpoint.keep_last",
    "callbacks.checkpoint.every_steps",
    "callbacks.checkpoint.every_minutes",
    "data.cache",
    "data.num_workers",
    "data.on_device",
    "data.shards.path",
    "data.shards.cached_shards",
    "data.shards.outage_seconds",
    "trainer.rank_timeout_seconds",
    # These two say what is done in a case in which the run would otherwise have ended.
    "trainer.on_non_finite",
    "trainer.max_skips",
)
# Keys that change only the order in which the same numbers are added up.
ROUNDING_KEYS = ("trainer.threads", "model.gradient_checkpointing")
# What says for how many devices a batch is.
BATCH_RANKS_KEY = "trainer.batch_ranks"
# Keys that may change together, as long as each step has the same rows.
DEVICE_KEYS = (
    "trainer.devices",
    "trainer.num_nodes",
    BATCH_RANKS_KEY,
    "data.batching.batch_size",
    "data.batching.batch_tokens",
)
# Keys that a fork may change as well. Its weights, its optimizer state and its place in the data
# are still those of the run that it comes from.
FORK_KEYS = (
    "name",
    "callbacks",
    "model.optim",
    "trainer.accelerator",
    "trainer.precision",
    "trainer.compile",
    "trainer.deterministic",
    "trainer.max_epochs",
    "trainer.max_steps",
    "trainer.max_minutes",
    "trainer.val_check_steps",
    "trainer.gradient_clip_val",
    "trainer.log_every_n_steps",
)
# which runs and sweeps of earlier versions lack
_NEWER_KEYS = (
    "model.fresh_embeddings",
    "data.label_map",
    "data.augmentation.masked_lm_share",
    "data.augmentation.masked_lm_candidates",
    "data.tokenizer.longest_word",
    "data.batching.mask_fraction_end",
    "data.batching.mask_schedule",
    "data.batching.mask_unit",
    "data.batching.span_probability",
    "data.batching.max_span_words",
    "data.batching.length_warmup_tokens",
    "data.batching.length_warmup_fraction",
    "data.cleaning.html",
    "data.cleaning.control_characters",
    "data.cleaning.language_min_letters",
)
FORK_EXCLUDED_KEYS = ("model.optim._target_",)
# The value of a key that does not exist.
ABSENT = object()


class ConfigChange(NamedTuple):
    """A key whose value differs from that of the earlier run, with both values as typed."""

    key: str
    old: str
    new: str

    def __str__(self) -> str:
        return f"{self.key} ({self.old} -> {self.new})"


class EarlierRun(NamedTuple):
    """What is known of the run that goes on or is forked, as far as messages need it.

    Attributes:
        id: as it is typed.
        is_untrained: it ended without a checkpoint, so that a fork takes nothing but its
            config and may change every key.
        has_encoder: it has left a model, which `init_from` can begin from.
        command: the command line that began it; empty if it is not known.
        ranks: the processes that it had when it was last under way; None: not known.
    """

    id: str
    is_untrained: bool = False
    has_encoder: bool = True
    command: str = ""
    ranks: int | None = None

    def describe_new_run(self, changes: Sequence[ConfigChange] = ()) -> str:
        """How a new run begins that has these changes, in words that work when typed."""
        if self.is_untrained:
            return f"resume={self.id} fork=true begins one with its config"
        if self.has_encoder:
            return f"init_from={self.id} begins one from its encoder"
        return self._repeat_command(changes) or "what began it, typed again with that"

    def _repeat_command(self, changes: Sequence[ConfigChange]) -> str:
        """The command of the run with other values; empty if it is none that could be typed so."""
        words = shlex.split(self.command)
        start = 3 if words[:3] == ["python", "-m", "src.run"] else 1
        program, typed = words[:start], words[start:]
        keys = {change.key for change in changes}
        if (
            (start == 1 and program != ["palimpsest"])
            or any("=" not in word or word.startswith(("-", "resume=", "fork=")) for word in typed)
            or any(REDACTED in word for word in typed)
            or any("absent" in (change.old, change.new) for change in changes)
            or any(key.startswith("phases") for key in keys)
        ):
            return ""
        kept = [word for word in typed if word.partition("=")[0].lstrip("+~") not in keys]
        return shlex.join([*program, *kept, *(f"{change.key}={change.new}" for change in changes)])


def find_newer_keys(old: Mapping[str, Any]) -> set[str]:
    """The keys of this version that a config of an earlier one may lack, and that this one lacks.

    Their values in conf/ are better than those that their absence stands for.
    """
    return set(_NEWER_KEYS).difference(key for key, _ in iter_leaves(old))


def without_newer_keys(config: Mapping[str, Any], old: Mapping[str, Any]) -> dict[str, Any]:
    """A copy of a config in which those keys are absent too, so that it means what `old` means."""

    def copy_node(node: Mapping[str, Any], prefix: str) -> dict[str, Any]:
        return {
            name: copy_node(value, f"{prefix}{name}.") if isinstance(value, Mapping) else value
            for name, value in node.items()
            if f"{prefix}{name}" not in newer
        }

    newer = find_newer_keys(old)
    return copy_node(config, "")


def diff_configs(old: Mapping[str, Any], new: Mapping[str, Any]) -> list[ConfigChange]:
    """Every key whose value differs, in the order of the new config.

    The node `tracking` is left out, since it is no part of what a run is. So are values that the
    old config holds only with a secret starred out, and keys that came with a newer version of the
    program and are null, where nothing is asked of them.
    """
    before, after = dict(iter_leaves(old)), dict(iter_leaves(new))
    pairs = {key: (before.get(key, ABSENT), after.get(key, ABSENT)) for key in (*after, *before)}
    return [
        ConfigChange(key, _format_value(key, was), _format_value(key, now))
        for key, (was, now) in pairs.items()
        if was != now
        and not (was is ABSENT and now is None)
        and not is_redacted(was)
        and not _is_under_any(key, ("tracking",))
    ]


def check_changed_keys(
    old: Mapping[str, Any],
    new: Mapping[str, Any],
    *,
    run: EarlierRun,
    fork: bool,
) -> tuple[list[ConfigChange], list[str]]:
    """The keys that differ, if all of them may, and remarks for the user about them.

    Where the devices or the batch of each have changed, `trainer.batch_ranks` is among the keys,
    with the value under which each step has the same rows.

    Args:
        old: the config of the earlier run, as it is stored.
        new: the config of the run that goes on with it, or of the fork that begins from it.
        run: the earlier run.
        fork: True if a new run begins from the earlier one, which may change more keys.

    Raises:
        UserError: a key differs that must not.
    """
    changes = diff_configs(old, new)
    if fork and run.is_untrained:
        return changes, []
    remarks: list[str] = []
    allowed: tuple[str, ...] = (*RESULT_NEUTRAL_KEYS, *ROUNDING_KEYS)
    batch_ranks = _find_batch_ranks(old, new, run)
    if batch_ranks is not None:
        allowed += DEVICE_KEYS
        if device_changes := [change for change in changes if change.key in DEVICE_KEYS]:
            remarks.append(
                f"{_join_changes(device_changes)}: each step still has the same rows, but from "
                "here on dropout's noise and the last bits are others than they would have been"
            )
        before, after = (dict(iter_leaves(config)).get(BATCH_RANKS_KEY) for config in (old, new))
        if after != batch_ranks and (device_changes or _count_devices(new) is None):
            changes = [change for change in changes if change.key != BATCH_RANKS_KEY]
            values = (_format_value(BATCH_RANKS_KEY, value) for value in (before, batch_ranks))
            changes.append(ConfigChange(BATCH_RANKS_KEY, *values))
    if rounding_changes := [
        change for change in changes if _is_under_any(change.key, ROUNDING_KEYS)
    ]:
        remarks.append(
            f"{_join_changes(rounding_changes)}: sums are added up in another order, so the last "
            "bits may differ"
        )
    needs_fork = [change for change in changes if not _is_under_any(change.key, allowed)]
    needs_new_run = [change for change in needs_fork if not may_change_in_fork(change.key)]
    if needs_fork and not fork:
        way = "; fork=true makes a new run of it that begins where this one is"
        if run.is_untrained:
            way = "; it ended without a checkpoint, and fork=true begins a new run with this"
        elif needs_new_run:
            way = (
                f"; for {', '.join(change.key for change in needs_new_run)} a new run is needed "
                f"({run.describe_new_run(changes)})"
            )
        raise UserError(
            f"resume={run.id} goes on as the run began, and what was typed would change it: "
            f"{_join_changes(needs_fork)}{way}"
        )
    if needs_new_run:
        raise UserError(
            f"resume={run.id} fork=true takes weights, optimizer and place in the data from that "
            f"run, which do not fit to {_join_changes(needs_new_run)}; a new run is needed "
            f"({run.describe_new_run(changes)})"
        )
    return changes, remarks


def may_change_in_fork(key: str) -> bool:
    """True if a fork may change a key."""
    return _is_under_any(
        key, (*RESULT_NEUTRAL_KEYS, *ROUNDING_KEYS, *FORK_KEYS)
    ) and not _is_under_any(key, FORK_EXCLUDED_KEYS)


def is_result_neutral(key: str) -> bool:
    """True if a key can change a result in its last bits at most."""
    return _is_under_any(key, (*RESULT_NEUTRAL_KEYS, *ROUNDING_KEYS))


def is_redacted(value: Any) -> bool:
    """True if a value is a secret, or contains one, that was starred out when the config was
    written.
    """
    return isinstance(value, str) and REDACTED in value


def _format_value(key: str, value: Any) -> str:
    return "absent" if value is ABSENT else redact_value(key, to_override_text(value))


def _join_changes(changes: Sequence[ConfigChange]) -> str:
    return ", ".join(map(str, changes))


def _is_under_any(key: str, names: Sequence[str]) -> bool:
    return any(key == name or key.startswith(f"{name}.") for name in names)


def _find_batch_ranks(
    old: Mapping[str, Any], new: Mapping[str, Any], run: EarlierRun
) -> int | None:
    """The number of devices whose batches, as the new config limits them, make the global batches
    that the old config made, on whatever devices these are trained.

    It is None if there is no such number, if the new config asks for another one, or if it is not
    known how many devices there were (`auto`). Runs whose weights are sharded over devices, and
    those with phases, stay on theirs.
    """
    before, after = dict(iter_leaves(old)), dict(iter_leaves(new))
    if "fsdp" in (before.get("trainer.strategy"), after.get("trainer.strategy")):
        return None
    if "phases" in new:
        return None
    had = before.get(BATCH_RANKS_KEY) or _count_devices(old) or run.ranks
    asked = after.get(BATCH_RANKS_KEY)
    found = set()
    for key in ("data.batching.batch_size", "data.batching.batch_tokens"):
        was, now = before.get(key), after.get(key)
        if was is None and now is None:
            continue
        if had is None or not isinstance(was, int) or not isinstance(now, int):
            return None
        found.add(had * was / now)
    [ranks] = found if len(found) == 1 else [0.5]
    is_other = asked is not None and asked != before.get(BATCH_RANKS_KEY) and asked != ranks
    return None if is_other or not ranks.is_integer() else int(ranks)


def _count_devices(config: Mapping[str, Any]) -> int | None:
    """The devices of all machines; None if `auto` leaves their number open."""
    leaves = dict(iter_leaves(config))
    devices, nodes = leaves.get("trainer.devices", 1), leaves.get("trainer.num_nodes", 1)
    return devices * nodes if isinstance(devices, int) and isinstance(nodes, int) else None
