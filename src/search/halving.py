"""Less memory for the same training: half the batch at a time, and twice as many of them to an optimizer step."""

import copy
import re
from collections.abc import Mapping
from typing import Any

from src.terms.world import diagnose


def halved(config: Mapping[str, Any]) -> tuple[dict[str, Any], str] | None:
    """A run's config with half the micro-batch and twice the accumulation, and in words what was done.

    Each optimizer step sees the same rows, one half after the other; where rows are dealt by their lengths
    (`batch_tokens`, `group_by_length`) it sees as many, of which some are others. Held-out batches are halved too,
    which changes no metric. None where it cannot be halved evenly, and where batches are counted for something else
    (`warmup_batches`, `trainer.limit_batches`), which would then mean something else.
    """
    batching, trainer = config["data"]["batching"], config["trainer"]
    tokens = batching.get("batch_tokens")
    if batching.get("warmup_batches") or trainer.get("limit_batches") is not None:
        return None
    if batching["batch_size"] % 2 or (tokens is not None and (tokens % 2 or tokens // 2 < batching["max_tokens"])):
        return None
    made: dict[str, Any] = copy.deepcopy(dict(config))
    now, words = made["data"]["batching"], []
    for key in ("batch_size", "batch_tokens", "eval_batch_size", "eval_batch_tokens"):
        if (size := now.get(key)) is not None:
            now[key] = max(1, size // 2)
            words.append(f"data.batching.{key} {size} -> {now[key]}")
    steps = trainer["accumulate_grad_batches"]
    made["trainer"]["accumulate_grad_batches"] = 2 * steps
    words.append(f"trainer.accumulate_grad_batches {steps} -> {2 * steps}")
    dealt = tokens is not None or bool(batching.get("group_by_length"))
    same = "as many rows as before" if dealt else "the same rows as before"
    return made, f"{', '.join(words)}; each optimizer step sees {same}"


def out_of_memory(error: BaseException) -> bool:
    """Whether memory has run out, in this process or, as far as its last words tell, in another rank of the run."""
    if isinstance(error, ChildProcessError):
        return re.search("OutOfMemoryError|MemoryError|out of memory|allocate memory", str(error)) is not None
    return (diagnose(error) or "").startswith("out of memory (")
