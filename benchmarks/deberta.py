"""`python -m benchmarks.deberta`: a training step of DeBERTa-v2's form, 6 x 384, on sentences of
SST-2, beside transformers tuned and beside the same body on padded rows (`model.lean=false`).

REAL_DATA=FOLDER   in the environment: sst2/
"""

import sys

from benchmarks import material, races
from benchmarks.agreement import agreement
from benchmarks.material import PLACE, Size
from benchmarks.race import race
from benchmarks.setting import write

# of DeBERTa-v3's smallest, with half its layers
SIZE = Size(6, 384, 6, "DeBERTa-v2")
MAX_TOKENS, BATCH_SIZE, BATCHES, TURNS = 128, 32, 24, 3
DROPOUT = 0.1
GATE = 2.0
PEER = "transformers"
WORDS = {
    "ours": "ours, texts end to end",
    "padded": "ours, `model.lean=false`",
    PEER: "transformers, grouped by length, padded to the longest",
}


def main() -> int:
    """The exit code: 1 where the gate is missed."""
    specs = build_specs()
    agreed = agreement({**specs["ours"], "attention": "eager"})
    # the turns of all add up to one pass over the same rows
    steps = dict.fromkeys(specs, BATCHES // TURNS)
    found = race(
        specs,
        steps=steps,
        warmup=dict.fromkeys(specs, 4),
        turns=TURNS,
        threads=1,
        logs=PLACE / "logs" / "deberta",
        mixed=True,
    )
    ours = found["ours"].cpu_seconds
    lines = [
        f"{SIZE.form} {SIZE}, {SIZE.heads} heads, 256 buckets of distances, c2p and p2c with the "
        f"projections of tokens, vocabulary 30,522; {BATCH_SIZE} sentences a step, bf16, dropout "
        f"{DROPOUT}, AdamW. Processor seconds of one thread for a whole step, the mean over "
        f"{BATCHES} batches; other work ran on the machine.",
        "",
        "| who | ms of a step | texts/s | times ours | to reach | reached |",
        "| --- | ---: | ---: | ---: | ---: | --- |",
    ]
    for name, result in found.items():
        faster = result.cpu_seconds / ours
        verdict = (GATE, "yes" if faster >= GATE else "**no**") if name == PEER else ("", "")
        lines.append(
            f"| {WORDS[name]} | {1000 * result.cpu_seconds:.0f} | "
            f"{BATCH_SIZE / result.cpu_seconds:.0f} | {faster:.2f} | {verdict[0]} | {verdict[1]} |"
        )
    lines += ["", f"Losses of a batch agree with those of transformers: {agreed}."]
    write(
        "deberta",
        "DeBERTa, texts end to end",
        "REAL_DATA=FOLDER python -m benchmarks.deberta",
        lines,
    )
    return 0 if found[PEER].cpu_seconds >= GATE * ours and agreed.holds else 1


def build_specs() -> dict[str, dict[str, object]]:
    """What each trains: the same weights and rows."""
    folder = material.encoder(SIZE)
    rows = material.rows("sst2", max_tokens=MAX_TOKENS, batch_size=BATCH_SIZE, batches=BATCHES)
    overrides = [
        "+experiment=files",
        f"data.source.path={rows}",
        f"model.encoder.name_or_path={folder}",
        f"data.batching.max_tokens={MAX_TOKENS}",
        f"data.batching.batch_size={BATCH_SIZE}",
        "data.cleaning.overlap=keep",
        f"model.encoder.dropout={DROPOUT}",
        "trainer.precision=bf16",
        *races.fix_optim(),
    ]
    shared = {
        "who": "ours",
        "task": "classification",
        "folder": str(folder),
        "batch_size": BATCH_SIZE,
        "overrides": overrides,
        "max_tokens": MAX_TOKENS,
        "place": str(PLACE),
        "optim": races.OPTIM,
    }
    tuned = {"dropout": DROPOUT, "attention": "eager", "bf16": True, "padded": False}
    return {
        "ours": shared,
        "padded": {
            **shared,
            "overrides": [*overrides, "model.lean=false"],
            "place": str(PLACE / "padded"),
        },
        PEER: {**shared, "who": "P2", **tuned},
    }


if __name__ == "__main__":
    sys.exit(main())
