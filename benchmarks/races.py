"""Training steps against P1, P2 and P3: pretraining at three sizes, and fine-tuning on short and on
long texts.
"""

from collections.abc import Callable
from typing import Any, NamedTuple

from benchmarks import material
from benchmarks.agreement import Agreement, agreement
from benchmarks.material import PLACE, Size
from benchmarks.race import Result, race

NAMES = ("ours", "P1", "P2", "P3")
# of all contestants, at a constant rate
OPTIM = {"lr": 1e-4, "weight_decay": 0.01, "beta2": 0.98}
ROW_TOKENS = 128


class Task(NamedTuple):
    """A race: what is trained, how often, and what ours should reach.

    `specs` by contestant; `steps` of a turn and `warmup` before the first, in steps; `units`
    (tokens or texts that carry information) of a step; `mixed` where steps differ in what they
    cost. Gates are ratios of one-thread processor time a unit.
    """

    title: str
    unit: str
    units: float
    specs: dict[str, dict[str, Any]]
    steps: dict[str, int]
    warmup: dict[str, int]
    gates: dict[str, float]
    note: str
    mixed: bool


class Outcome(NamedTuple):
    """What came of a race: seconds a step with one thread, the same with two (wall), and whether
    losses agree.
    """

    task: Task
    one: dict[str, Result]
    two: dict[str, Result]
    agreement: Agreement

    def rate(self, name: str) -> float:
        """Units per processor second."""
        return self.task.units / self.one[name].cpu_seconds

    def ratio(self, name: str) -> float:
        return self.one[name].cpu_seconds / self.one["ours"].cpu_seconds

    @property
    def reached(self) -> bool:
        return all(self.ratio(name) >= least for name, least in self.task.gates.items())


def mlm(size: Size, batch_size: int, gates: dict[str, float], *, steps: int) -> Task:
    """Masked language modelling on full rows; `steps` of ours and P3 for one of the peers'."""
    folder = material.encoder(size)
    overrides = [
        "+experiment=mlm_files",
        f"data.source.path={material.text()}",
        "data/tokenizer=pretrained",
        "model/encoder=pretrained",
        f"model.encoder.name_or_path={folder}",
        "model.encoder.dropout=0.0",
        f"data.batching.row_tokens={ROW_TOKENS}",
        f"data.batching.batch_size={batch_size}",
        *fix_optim(),
    ]
    shared = {
        "task": "masked_lm",
        "folder": str(folder),
        "batch_size": batch_size,
        "overrides": overrides,
    }
    modern = size.form == "ModernBERT"
    # P1's: what the family comes with
    dropout = 0.0 if modern else 0.1
    return Task(
        title=f"MLM step, {size.form} {size}, vocabulary 30,522, {batch_size} x {ROW_TOKENS}",
        unit="tokens/s",
        units=batch_size * ROW_TOKENS,
        specs=_specs(
            shared,
            P1={"dropout": dropout, "attention": "sdpa", "bf16": False},
            P2={"dropout": 0.0, "attention": "eager", "bf16": True, "sparse": modern},
        ),
        steps={"ours": steps, "P3": steps, "P1": 1, "P2": 1},
        warmup={"ours": 3, "P3": 3, "P1": 1, "P2": 1},
        gates=gates,
        note=f"{size.heads} heads; dropout {dropout} in P1, else 0; P2 with eager attention, "
        "faster here than SDPA" + (", and with `sparse_prediction`" if modern else ""),
        mixed=False,
    )


def texts(
    name: str,
    *,
    max_tokens: int,
    batch_size: int,
    batches: int,
    p1_bf16: bool,
    dropout: float,
    gates: dict[str, float],
) -> Task:
    """Fine-tuning MiniLM on real texts: each contestant's turns add up to one pass over the same
    rows.
    """
    folder = material.minilm()
    rows = material.rows(name, max_tokens=max_tokens, batch_size=batch_size, batches=batches)
    overrides = [
        "+experiment=files",
        f"data.source.path={rows}",
        f"model.encoder.name_or_path={folder}",
        f"data.batching.max_tokens={max_tokens}",
        f"data.batching.batch_size={batch_size}",
        "data.cleaning.overlap=keep",
        f"model.encoder.dropout={dropout}",
        *fix_optim(),
    ]
    shared = {
        "task": "classification",
        "folder": str(folder),
        "batch_size": batch_size,
        "overrides": overrides,
        "max_tokens": max_tokens,
    }
    third = batches // 3
    return Task(
        title=f"fine-tuning on {name}, MiniLM 6 x 384, at most {max_tokens} tokens, {batch_size} "
        "texts",
        unit="texts/s",
        units=batch_size,
        specs=_specs(
            shared,
            P1={"dropout": 0.1, "attention": "sdpa", "bf16": p1_bf16, "padded": True},
            P2={"dropout": dropout, "attention": "eager", "bf16": True, "padded": False},
        ),
        steps={"ours": third, "P3": third, "P1": 1, "P2": third},
        warmup={"ours": 3, "P3": 3, "P1": 1, "P2": third},
        gates=gates,
        note=f"P1 padded to {max_tokens}{' in bf16' if p1_bf16 else ''}, dropout 0.1; P2 grouped "
        "by length, "
        f"dropout {dropout} as ours; ours in random order",
        mixed=True,
    )


def fix_optim() -> tuple[str, ...]:
    """The overrides by which ours has the optimizer of all."""
    fixed = {**OPTIM, "schedule": "constant", "warmup_fraction": 0.0}
    return tuple(f"model.optim.{key}={value}" for key, value in fixed.items())


def _specs(shared: dict[str, Any], **peers: dict[str, Any]) -> dict[str, dict[str, Any]]:
    shared = {**shared, "place": str(PLACE), "optim": OPTIM}
    return {name: {**shared, "who": name, **peers.get(name, {})} for name in NAMES}


def run(task: Task, key: str, *, turns: int = 3, quick: bool = False) -> Outcome:
    """One thread for the gates, then two threads for the wall time of ours, P1 and P2."""
    logs = PLACE / "logs" / key
    agreed = agreement(task.specs["ours"])
    how: dict[str, Any] = {
        "steps": task.steps,
        "warmup": task.warmup,
        "mixed": task.mixed,
        "logs": logs,
    }
    one = race(task.specs, turns=1 if quick else turns, threads=1, **how)
    pair = {name: spec for name, spec in task.specs.items() if name != "P3"}
    two = {} if quick else race(pair, turns=1, threads=2, **how)
    return Outcome(task, one, two, agreed)


TASKS: dict[str, Callable[[], Task]] = {
    "mlm_small": lambda: mlm(Size(4, 256, 4), 16, {"P1": 6, "P2": 4}, steps=4),
    "mlm_medium": lambda: mlm(Size(6, 384, 12), 16, {"P1": 5, "P2": 3}, steps=3),
    "mlm_modern": lambda: mlm(Size(4, 256, 4, "ModernBERT"), 16, {}, steps=4),
    "mlm_base": lambda: mlm(Size(12, 768, 12), 8, {"P1": 4, "P2": 1.5}, steps=1),
    "sst2": lambda: texts(
        "sst2",
        max_tokens=128,
        batch_size=32,
        batches=24,
        p1_bf16=False,
        dropout=0.1,
        gates={"P1": 7, "P2": 1.5},
    ),
    "imdb": lambda: texts(
        "imdb",
        max_tokens=512,
        batch_size=8,
        batches=9,
        p1_bf16=True,
        dropout=0.0,
        gates={"P1": 2.5, "P2": 1.3},
    ),
}
HEADER = [
    "| benchmark | unit | ours | P1 | P2 | P3 | of P1 | of P2 | of P3 | gate | reached | 2 "
    "threads, wall: of P1, P2 "
    "| losses agree |",
    "| --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- | --- |",
]


def line(outcome: Outcome) -> str:
    """A row of the table."""
    task, two = outcome.task, outcome.two
    rates = " | ".join(
        f"{outcome.rate(name):,.0f}" if outcome.rate(name) > 30 else f"{outcome.rate(name):.2f}"
        for name in NAMES
    )
    ratios = " | ".join(f"{outcome.ratio(name):.2f}" for name in NAMES[1:])
    gate = ", ".join(f"{least:g} x {name}" for name, least in task.gates.items())
    wall = ", ".join(
        f"{two[name].wall_seconds / two['ours'].wall_seconds:.2f}" for name in ("P1", "P2") if two
    )
    reached = "" if not task.gates else "yes" if outcome.reached else "**no**"
    return (
        f"| {task.title} | {task.unit} | {rates} | {ratios} | {gate} | {reached} | {wall} "
        f"| {outcome.agreement} |"
    )


def notes(outcome: Outcome) -> str:
    return f"- {outcome.task.title}: {outcome.task.note}."


def figures(outcome: Outcome) -> dict[str, Any]:
    """For machines: every turn as it was."""
    return {
        "title": outcome.task.title,
        "units_per_step": outcome.task.units,
        "unit": outcome.task.unit,
        "gates": outcome.task.gates,
        "ratios": {name: outcome.ratio(name) for name in NAMES[1:]},
        "agreement": outcome.agreement._asdict(),
        "one_thread": {
            name: [turn._asdict() for turn in result.turns] for name, result in outcome.one.items()
        },
        "two_threads": {
            name: [turn._asdict() for turn in result.turns] for name, result in outcome.two.items()
        },
    }
