"""Held-out MLM loss against processor time: how soon ours has P2's final loss, a small encoder on
WikiText-2.

P2 trains for a budget of one-thread processor seconds; ours has a quarter of that. Both know the
length of their run and bring their rate down over it. The tokenizer, the training text, the
held-out rows and their masks are the same; the rest is each one's own: ours what
`+experiment=mlm_wikitext` says (encoder in ModernBERT's form, 16 rows of 128 tokens, a fifth of
them masked), P2 BERT's form of the same size with 0.15 masked, 16 rows of 128, at a rate of 1e-3
(not searched; the scripts' own is 5e-5).
"""

from pathlib import Path
from typing import Any

from benchmarks import material
from benchmarks.material import PLACE
from benchmarks.race import Contestant, Turn
from benchmarks.setting import Row

# of P2
SECONDS = 120.0
SHARE = 0.25
HELD_OUT_CHARACTERS = 60_000
PILOT_STEPS = 6
PEER_RATE = 1e-3


def rows(*, quick: bool = False) -> list[Row]:
    seconds = 12.0 if quick else SECONDS
    folder = _peer()
    shared = {"task": "masked_lm", "place": str(PLACE), "overrides": _overrides()}
    optim = {"lr": PEER_RATE, "weight_decay": 0.01, "beta2": 0.98, "schedule": "linear"}
    p2 = {
        **shared,
        "who": "P2",
        "folder": str(folder),
        "batch_size": 16,
        "optim": optim,
        "dropout": 0.0,
        "attention": "eager",
        "bf16": True,
    }
    theirs, their_seconds = _trained(p2, seconds, parts=1)
    ours, course = _trained({**shared, "who": "ours"}, SHARE * seconds, parts=5)
    goal, spent = theirs[-1][1], their_seconds
    needed = next((at for at, loss in ours if loss <= goal), None)
    shown = ", ".join(f"{loss:.2f} at {at:.0f} s" for at, loss in ours)
    return [
        Row(
            "processor seconds to P2's final held-out MLM loss, 4 x 256, WikiText-2",
            needed if needed is not None else course,
            spent,
            "s",
            spent / needed if needed is not None else 0.0,
            "a quarter of P2's time",
            f"P2: {goal:.3f} nats; ours "
            f"{'reached it' if needed is not None else 'did not reach it'}: {shown}",
            needed is not None and needed <= 1.02 * SHARE * spent,
        )
    ]


def _trained(
    spec: dict[str, Any], seconds: float, *, parts: int
) -> tuple[list[tuple[float, float]], float]:
    """Held-out losses with the processor seconds of training before them, evaluated `parts` times;
    seconds in all.

    A short pilot says how many steps fit into `seconds`.
    """
    pilot = _turns({**spec, "max_steps": 1000}, [3, PILOT_STEPS], f"budget-pilot-{spec['who']}")[-1]
    steps = max(parts, round(seconds / (pilot.cpu_seconds / pilot.steps)))
    every = max(1, steps // parts)
    steps = every * parts
    if spec["who"] == "P2":
        spec = {**spec, "optim": {**spec["optim"], "warmup_steps": round(0.06 * steps)}}
    spent, course = 0.0, []
    for turn in _turns(
        {**spec, "max_steps": steps, "evaluate_every": every},
        [every] * parts,
        f"budget-{spec['who']}",
    ):
        spent += turn.cpu_seconds
        course.append((spent, turn.noted["loss"]))
    return course, spent


def _turns(spec: dict[str, Any], steps: list[int], name: str) -> list[Turn]:
    contestant = Contestant(spec, threads=1, log=PLACE / "logs" / f"{name}.log")
    try:
        return [contestant.turn(each) for each in steps]
    finally:
        contestant.close()


def _overrides() -> list[str]:
    return ["+experiment=mlm_wikitext", f"data.source.path={_text()}"]


def _text() -> Path:
    """WikiText-2 with a held-out split of a few articles: an evaluation takes seconds."""
    folder = PLACE / "text-budget"
    if not (folder / "validation.txt").is_file():
        source = material.real("wikitext2")
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "train.txt").write_bytes((source / "train.txt").read_bytes())
        held_out = (source / "valid.txt").read_text(encoding="utf-8")[:HELD_OUT_CHARACTERS]
        (folder / "validation.txt").write_text(held_out, encoding="utf-8")
    return folder


def _peer() -> Path:
    """A BERT of 4 x 256 with random weights, for the vocabulary that ours learns from the training
    text.
    """
    folder = PLACE / "budget-bert"
    if not (folder / "model.safetensors").is_file():
        import torch
        from transformers import BertConfig, BertForMaskedLM

        from benchmarks import ours
        from src.config.build_nodes import build_node

        composed = ours.config({"overrides": _overrides(), "place": str(PLACE)})
        data = build_node(composed["data"]).build()
        data.prepare_data()
        data.tokenizer.save(folder)
        torch.manual_seed(1)
        config = BertConfig(
            vocab_size=data.dataset_info.vocab_size,
            hidden_size=256,
            num_hidden_layers=4,
            num_attention_heads=4,
            intermediate_size=1024,
        )
        BertForMaskedLM(config).save_pretrained(folder)
    return folder
