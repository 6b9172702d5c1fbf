"""Leakage into what a run is judged by: held-out texts that its encoder has been trained on, in
this run or in the earlier ones that `init_from` leads to.
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

import numpy as np

from src.config.build_nodes import build_node
from src.config.resume import load_stored_config
from src.core.formatting import format_quantity
from src.core.retry import describe_error
from src.pipeline.announcement import print_wrapped
from src.pipeline.run_parts import RunParts

if TYPE_CHECKING:
    from src.data.data_config import DataConfig

# A chain of runs is not followed further.
_MOST_RUNS = 10
_EQUAL, _NEARLY_EQUAL = 2, 1


def record_leakage(parts: RunParts) -> None:
    """Say and record how many held-out rows stand in train, if they are kept there, and among the
    training rows of earlier runs. To be called on the first rank.
    """
    leakage = parts.datamodule.data_summary.get("leakage", {})
    metrics = _name_metrics(leakage, "in_train")
    if "init_from" in parts.config:
        found, unknown = _look_into_earlier_runs(parts)
        counts = {
            kind: {split: int((levels >= least).sum()) for split, levels in found.items()}
            for kind, least in (("exact", _EQUAL), ("near", _NEARLY_EQUAL))
        }
        if parts.datamodule.config.cleaning.near_duplicates is None:
            del counts["near"]
        metrics |= _name_metrics(counts, "in_pretraining")
        lines = [*_describe_counts(counts, found), *unknown]
        for line in lines:
            print_wrapped(line)
        if lines:
            parts.record.set_tag("data/leakage", "\n".join(lines))
    parts.record.log_metrics(metrics)


def _name_metrics(counts: Mapping[str, Mapping[str, int]], place: str) -> dict[str, float]:
    words = {"exact": "", "near": "nearly_"}
    return {
        f"data/leakage/{split}_{words[kind]}{place}": count
        for kind, by_split in counts.items()
        for split, count in by_split.items()
    }


def _describe_counts(
    counts: Mapping[str, Mapping[str, int]], found: Mapping[str, np.ndarray]
) -> Iterator[str]:
    words = {"exact": "stand", "near": "stand or nearly stand"}
    for kind, by_split in counts.items():
        for split, count in by_split.items():
            if count:
                yield (
                    f"leakage: {count:,} of {format_quantity(len(found[split]), 'row')} of {split} "
                    f"{words[kind]} in what the encoder was trained on before"
                )


def _look_into_earlier_runs(parts: RunParts) -> tuple[dict[str, np.ndarray], list[str]]:
    """By held-out split how its rows stand in earlier runs' training rows (2: equal, 1: nearly),
    and in sentences which of these runs' data could not be looked through.
    """
    found: dict[str, np.ndarray] = {}
    unknown = []
    run_id: str | None = parts.config["init_from"]
    for _ in range(_MOST_RUNS):
        if run_id is None:
            break
        earlier_id, run_id = run_id, None
        try:
            config = load_stored_config(parts.store.load_config_yaml(earlier_id, key="init_from"))
            run_id = config.get("init_from")
            earlier: DataConfig = build_node(config["data"])
            repeated = parts.datamodule.find_repeated_rows(earlier)
        except Exception as error:
            # the data of a run of long ago may be gone, and this run does not need them
            unknown.append(
                f"leakage: what run {earlier_id[:8]} was trained on cannot be looked through for "
                f"held-out texts: {describe_error(error)}"
            )
            continue
        for split, levels in repeated.items():
            found[split] = np.maximum(found.get(split, 0), levels)
    return found, unknown
