"""Batches a second with masks of whole words and of spans, against token masks: `python -m
benchmarks.masks`.

Twice: the loader alone, and a training whose encoder is the smallest that ships, so that its steps
take as little as any. Real text and the tokenizer come from REAL_DATA (IMDb reviews, that of
bert-base-uncased).
"""

import os
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.data import _reviews, _store, _tokenizer
from benchmarks.setting import ROOT, Row, write

TEXTS, TURNS = 2000, 9
ROW_TOKENS, ROWS = 128, 16
UNITS = ("token", "word", "span")
GATE = 0.9
# of a turn of training
STEPS = 40


def rows() -> list[Row]:
    """Each unit by each measure."""
    from src.data.tokenization.text_encoder import TextEncoder
    from src.data.tokenization.tokenizer import TextTokenizer
    from src.training.cpu_allocators import retain_freed_memory

    tokenizer = TextTokenizer(_tokenizer())
    with tempfile.TemporaryDirectory() as root, retain_freed_memory(True):
        store = _store(Path(root), list(_reviews(TEXTS)), TextEncoder(tokenizer.backend))
        loaders = {unit: _build_loader(store, tokenizer, unit) for unit in UNITS}
        step = _build_step(tokenizer)
        measures: dict[str, Callable[[Any], int]] = {
            "the loader alone": lambda loader: sum(1 for _ in loader),
            "training of the smallest encoder": lambda loader: sum(
                step(batch) for _, batch in zip(range(STEPS), loader, strict=False)
            ),
        }
        return [
            row
            for name, measure in measures.items()
            for row in _compare(name, {unit: (loaders[unit], measure) for unit in UNITS})
        ]


def _compare(name: str, works: dict[str, tuple[Any, Callable[[Any], int]]]) -> list[Row]:
    rates: dict[str, list[float]] = {unit: [] for unit in works}
    for turn in range(TURNS + 1):
        for unit, (loader, measure) in works.items():
            began = time.process_time()
            count = measure(loader)
            if turn:
                rates[unit].append(count / (time.process_time() - began))
    found = []
    for unit in UNITS[1:]:
        pairs = zip(rates[unit], rates["token"], strict=True)
        ratio = median(ours / theirs for ours, theirs in pairs)
        found.append(
            Row(
                f"masks of a {unit}, {name}",
                median(rates[unit]),
                median(rates["token"]),
                "batches/s",
                ratio,
                f"{GATE:g} x token masks",
                f"processor seconds, {ROWS} rows of {ROW_TOKENS}, medians of {TURNS} turns",
                ratio >= GATE,
            )
        )
    return found


def _build_loader(store: Any, tokenizer: Any, unit: Any) -> Any:
    from src.data.batches.batching import Masked
    from src.data.batches.loader import BatchDataset, PrefetchSampler, ResumableDataLoader

    batching = Masked(row_tokens=ROW_TOKENS, batch_size=ROWS, mask_unit=unit)
    plan = batching.build_batch_sampler(store, seed=0, training=True)
    source = BatchDataset(store, batching, tokenizer, seed=0, training=True)
    return ResumableDataLoader(source, plan, sampler=PrefetchSampler(plan, source), workers=0)


def _build_step(tokenizer: Any) -> Callable[[Any], int]:
    """Forward and backward of `model/encoder=tiny` on a batch; gives 1."""
    import torch
    from hydra import compose, initialize_config_dir

    from src.config.build_nodes import build_node
    from src.config.compose import register_resolvers, to_plain_config
    from src.core.dataset_info import DatasetInfo

    torch.set_num_threads(1)
    register_resolvers()
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        overrides = ["data=generated_text", "model=masked_lm", "model/encoder=tiny"]
        module = build_node(to_plain_config(compose("config", overrides))["model"]).build()
    facts = DatasetInfo(
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        max_tokens=ROW_TOKENS,
        label_names=(),
        batches_per_epoch=1,
        sample_tokens={},
        unigram_entropy=None,
        own_vocab_size=tokenizer.vocab_size,
    )
    module.set_dataset_info(facts, total_steps=1)
    module.configure_model()

    def step(batch: Any) -> int:
        module.zero_grad()
        module.objective.forward(module.encoder, batch).loss.backward()
        return 1

    return step


def _line(row: Row) -> str:
    return (
        f"- {row.name}: {row.ours:,.0f} against {row.theirs:,.0f} {row.unit}, {row.ratio:.2f} x "
        f"(gate: {row.gate}; reached: {row.verdict}; {row.note})"
    )


def main(arguments: Sequence[str]) -> int:
    """Everything, into a result file."""
    command = "REAL_DATA=FOLDER python -m benchmarks.masks"
    write("masks", "Masks of words and spans", command, [_line(row) for row in rows()])
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main(sys.argv[1:]))
