"""Pretraining on a GPU: ours, the tuned Trainer of Hugging Face (P2), and a bare loop around our
own model (P3).

    python -m benchmarks.gpu [only=base128,small128] [minutes=8] [commit=abc1234] [tiny=true]

`make bench-gpu` writes docs/results/gpu.json after every contestant and gpu.md in the end; races
that were not run keep what stood there, and `minutes=0` makes gpu.md of it. Nothing is begun that
would end after `minutes`. `commit` names the commit where the tree travels without its history.
`tiny=true` runs all of it in small, on a CPU too, and files nothing. Without a GPU it says so and
exits with 2.

It needs torch, lightning and transformers (with accelerate for P2), and nothing else of this
project's packages. All train a BERT of the same measures with fused AdamW in bf16, without dropout,
on the same generated documents; P2 computes all logits, as its model does. Only real tokens count.
Times are between CUDA events; the share of the peak is in model operations
(`src/training/flops.py`).
"""

import gc
import json
import statistics
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import torch
from lightning.pytorch import Callback
from torch.utils.data import DataLoader

from benchmarks.gpu_peer import tuned_trainer
from benchmarks.gpu_race import LR, RACES, Race, Stopwatch, Timed, Words
from benchmarks.setting import RESULTS, setting, write
from src.config.command_line import parse_key_values
from src.core.user_errors import UserError, format_suggestion
from src.data.batches.batching import Masked
from src.data.batches.device_dataset import DeviceBatchDataset
from src.data.batches.loader import BatchDataset
from src.training.callbacks import Progress
from src.training.flops import count_forward_cost, measure_peak_flops
from src.training.torch_compile import CUDA_GRAPHS_MAX_WIDTH, CompiledForward
from src.training.trainer import Training
from src.training.training_metrics import Meter

WARM_UP, ROUNDS = 20, 2
# an epoch of everyone's: documents that are grouped by length come in all lengths
STEPS = 40
MINUTES = 8.0
# of two losses in bf16
AGREEMENT = 0.02
COMMAND = "make bench-gpu"


def batches(race: Race, device: torch.device) -> DataLoader[Any]:
    """Packed rows, made on the device where it is a GPU."""
    store, words = race.store(), Words(race.vocabulary)
    batching = Masked(row_tokens=race.row_tokens, batch_size=race.batch_size)
    source: Any
    if device.type == "cuda":
        source = DeviceBatchDataset(store, batching, words, seed=1, training=True, device=device)  # type: ignore[arg-type]
    else:
        source = BatchDataset(store, batching, words, seed=1, training=True)  # type: ignore[arg-type]
    return DataLoader(
        source, sampler=batching.build_batch_sampler(store, seed=1, training=True), batch_size=None
    )


def ours(
    race: Race, device: torch.device, warm_up: int, steps: int, *, compiled: bool = True
) -> Timed:
    """Lightning with the meter, as a run has it; but it fails where a run would go on
    uncompiled.
    """
    watch = Stopwatch(device, warm_up, steps)

    class Watching(Callback):
        def on_train_batch_end(
            self, trainer: Any, module: Any, outputs: Any, batch: Any, batch_idx: int
        ) -> None:
            watch.step(len(batch.tokens.ids))

    on_gpu = device.type == "cuda"
    accelerator: Any = "gpu" if on_gpu else "cpu"
    training = Training(
        accelerator=accelerator,
        precision="bf16",
        max_steps=warm_up + steps,
        compile=compiled and on_gpu,
    )
    with tempfile.TemporaryDirectory() as root:
        watching = [Meter(), Watching(), *Progress(style="off").build(Path(root))]
        trainer = training.build(
            callbacks=watching, logger=False, lightning_precision="bf16-mixed", root=root
        )
        trainer.fit(race.module(warm_up + steps), batches(race, device))
    return watch.read()


def uncompiled(race: Race, device: torch.device, warm_up: int, steps: int) -> Timed:
    """The same without torch.compile."""
    return ours(race, device, warm_up, steps, compiled=False)


def bare(race: Race, device: torch.device, warm_up: int, steps: int) -> Timed:
    """P3: our model, batches, compilation and clipping in a plain loop."""
    watch = Stopwatch(device, warm_up, steps)
    module = race.module(warm_up + steps).to(device).train()
    small = race.width <= CUDA_GRAPHS_MAX_WIDTH
    step = (
        CompiledForward(module.objective.forward, cuda_graphs=small, strict=True)
        if device.type == "cuda"
        else module.objective.forward
    )
    optimizer = torch.optim.AdamW(module.encoder.parameters(), lr=LR, fused=True)
    for batch in _endless(batches(race, device), warm_up + steps):
        with torch.autocast(device.type, torch.bfloat16, cache_enabled=False):
            loss = step(module.encoder, batch).loss
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(module.encoder.parameters(), 1.0)
        optimizer.step()
        watch.step(len(batch.tokens.ids))
    return watch.read()


def _endless(loader: DataLoader[Any], count: int) -> Iterator[Any]:
    done = 0
    while True:
        for batch in loader:
            if done == count:
                return
            yield batch
            done += 1


CONTESTANTS: dict[str, Callable[[Race, torch.device, int, int], Timed]] = {
    "ours": ours,
    "P2": tuned_trainer,
    "P3": bare,
    "uncompiled": uncompiled,
}


def losses(race: Race, device: torch.device) -> tuple[float, float]:
    """Of one batch and the same weights: ours, and Hugging Face's own over all logits, sequence by
    sequence in padded rows; both in bf16.
    """
    module = race.module(1).to(device).train()
    batch = next(iter(batches(race, device)))
    network = module.encoder.network
    labels = torch.full_like(batch.tokens.ids, -100).index_copy(
        0, batch.masked_positions, batch.targets
    )
    lengths = batch.tokens.cu_seqlens.diff().tolist()
    ids, labels = (
        torch.nn.utils.rnn.pad_sequence(each.split(lengths), batch_first=True, padding_value=fill)
        for each, fill in ((batch.tokens.ids, 0), (labels, -100))
    )
    seen = torch.arange(ids.shape[1], device=device) < torch.tensor(lengths, device=device)[:, None]
    total = 0.0
    with torch.no_grad(), torch.autocast(device.type, torch.bfloat16):
        mine = float(module.objective.forward(module.encoder, batch).loss)
        network.config._attn_implementation = "sdpa"
        # all logits of a whole batch would be many
        for part in torch.arange(len(ids), device=device).split(64):
            if count := int((labels[part] != -100).sum()):
                answer = network(
                    input_ids=ids[part], attention_mask=seen[part].long(), labels=labels[part]
                )
                total += count * float(answer.loss)
    return mine, total / len(batch.targets)


def flops_per_token(race: Race) -> float:
    """Model operations of training, for each real token of a batch."""
    encoder = race.module(1).encoder
    batch = next(iter(batches(race, torch.device("cpu"))))
    operations = count_forward_cost(encoder).count_step_flops(
        batch.tokens.cu_seqlens.diff(), len(batch.targets)
    )
    return operations / len(batch.tokens.ids)


# -- what is said

HEADER = [
    "| race | ours, tokens/s | of the peak | P2 | P3 | uncompiled | ours / P2 | ours / P3 | GiB "
    "(ours / P2 / P3) "
    "| losses agree | measured |",
    "| --- " * 11 + "|",
]


def rate(part: Mapping[str, Any], who: str) -> float | None:
    """Real tokens a second, the median of the rounds."""
    timed = part["timed"].get(who)
    return statistics.median(tokens / seconds for seconds, tokens, _ in timed) if timed else None


def line(part: Mapping[str, Any]) -> str:
    """A row of the table; what could not be measured stays empty."""
    rates = {who: rate(part, who) for who in ("ours", "P2", "P3", "uncompiled")}
    mine = rates["ours"]
    shown = {who: "" if each is None else f"{each:,.0f}" for who, each in rates.items()}
    share = f"{mine * part['flops_per_token'] / part['peak']:.0%}" if mine else ""
    ratios = [
        f"{mine / other:.2f}" if mine and (other := rates[who]) else "" for who in ("P2", "P3")
    ]
    memory = [
        f"{max(each[2] for each in part['timed'][who]) / 2**30:.1f}"
        if part["timed"].get(who)
        else "-"
        for who in ("ours", "P2", "P3")
    ]
    agree = ""
    if part["losses"]:
        ours_, theirs = part["losses"]
        verdict = "yes" if abs(ours_ - theirs) <= AGREEMENT else "**no**"
        agree = f"{verdict}: {ours_:.4f}, {theirs:.4f}"
    cells = (
        part["race"],
        shown["ours"],
        share,
        shown["P2"],
        shown["P3"],
        shown["uncompiled"],
        *ratios,
        " / ".join(memory),
        agree,
        part["setting"].partition(",")[0],
    )
    return f"| {' | '.join(cells)} |"


def report(parts: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """The result file's lines, from all that was ever measured."""
    known = [parts[name] for name in RACES if name in parts]
    lines = [
        f"Medians of up to {ROUNDS} rounds of {STEPS} steps after {WARM_UP}. P2 is the tuned "
        "Trainer of Hugging Face, "
        "P3 a bare loop around our model; only real tokens count. The peak is a bf16 product of "
        "two matrices of 8192 x "
        "8192.",
        "",
        *HEADER,
        *map(line, known),
        "",
    ]
    packed, full = (
        rate(parts[name], "ours") if name in parts else None for name in ("base512_real", "base512")
    )
    if packed and full:
        lines.append(
            f"Packed real lengths run at {packed / full:.2f} of the rate of full rows of 512."
        )
    for each in known:
        lines.append(
            f"- {each['race']}: {each['device']}, peak {each['peak'] / 1e12:.0f} TFLOP/s; "
            f"{each['setting']}"
        )
        lines += [
            f"- {each['race']}: {who} failed: {reason}" for who, reason in each["failed"].items()
        ]
    return lines


# -- the races themselves


class Allowance:
    """Time that is left: nothing is begun that would end too late, if it took as long as the
    slowest so far.
    """

    def __init__(self, minutes: float) -> None:
        self._end = time.monotonic() + 60 * minutes
        self._slowest = 0.0

    def spent(self, call: Callable[[], Any]) -> Any:
        """What a call gives, its time noted."""
        begin = time.monotonic()
        found = call()
        self._slowest = max(self._slowest, time.monotonic() - begin)
        return found

    @property
    def is_over(self) -> bool:
        return time.monotonic() + self._slowest > self._end


def attempt(part: dict[str, Any], what: str, call: Callable[[], Any]) -> Any:
    """What a call gives; where it fails, None, and the reason among the results: the others still
    run.
    """
    begin = time.monotonic()
    try:
        found = call()
    except Exception as error:
        traceback.print_exc()
        part["failed"][what] = (
            f"{type(error).__name__}: {str(error).strip().partition(chr(10))[0][:200]}"
        )
        found = None
    print(f"{part['race']}: {what} took {time.monotonic() - begin:.0f} s: {found}", flush=True)
    # Lightning's objects know each other
    gc.collect()
    if torch.cuda.is_available():
        freed()
    return found


def freed() -> None:
    """What is compiled, and the memory that nobody holds, are let go: the next one begins as the
    first did.
    """
    torch._dynamo.reset()
    torch.cuda.empty_cache()


def opened(race: Race, device: torch.device, peak: float, at_start: str) -> dict[str, Any]:
    """The results of a race before it is run."""
    name = (
        f"{torch.cuda.get_device_name(device)}, CUDA {torch.version.cuda}"
        if device.type == "cuda"
        else "CPU"
    )
    part: dict[str, Any] = {
        "race": race.name,
        "setting": at_start,
        "device": name,
        "peak": peak,
        "flops_per_token": flops_per_token(race),
        "timed": {},
        "failed": {},
    }
    part["losses"] = attempt(part, "losses", lambda: losses(race, device))
    return part


def main(arguments: Sequence[str]) -> int:
    """The exit status: 0 all ran, 1 something failed or was left out, 2 nothing could be run."""
    try:
        defaults = {"only": ",".join(RACES), "minutes": str(MINUTES), "commit": "", "tiny": "false"}
        asked = parse_key_values(arguments, defaults)
        chosen, minutes, tiny = (
            asked["only"].split(","),
            float(asked["minutes"]),
            asked["tiny"] == "true",
        )
        for name in chosen:
            if name not in RACES:
                raise UserError(
                    f"only={name}: there is no such race; {format_suggestion(name, RACES)}"
                )
    except (UserError, ValueError) as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    if not torch.cuda.is_available() and not tiny:
        print(
            "no GPU: torch sees none here, so nothing was measured and docs/results/gpu.md was "
            "not touched"
        )
        return 2
    allowance = Allowance(minutes)
    device = torch.device("cuda", 0) if torch.cuda.is_available() else torch.device("cpu")
    warm_up, steps, rounds = (2, 3, 1) if tiny else (WARM_UP, STEPS, ROUNDS)
    at_start, kept = setting(asked["commit"]), RESULTS / "gpu.json"
    peak = measure_peak_flops(device, torch.bfloat16)
    parts: dict[str, Any] = json.loads(kept.read_text()) if kept.exists() and not tiny else {}
    left_out = False
    # each race once before any of them twice
    for turn in range(rounds):
        for name in chosen:
            race = RACES[name].tiny() if tiny else RACES[name]
            if turn == 0 and not allowance.is_over:
                parts[name] = opened(race, device, peak, at_start)
            for who, train in CONTESTANTS.items():
                if allowance.is_over:
                    left_out |= turn == 0
                    print(
                        f"{race.name}: {who} left out in round {turn + 1}, {minutes:g} minutes "
                        "are over",
                        flush=True,
                    )
                elif who not in parts[name]["failed"]:
                    run = partial(train, race, device, warm_up, steps)
                    found = allowance.spent(partial(attempt, parts[name], who, run))
                    if found is not None:
                        parts[name]["timed"].setdefault(who, []).append(list(found))
                    if not tiny:
                        kept.parent.mkdir(parents=True, exist_ok=True)
                        kept.write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    if tiny:
        print("\n".join(["Too small to say anything of speed.", "", *report(parts)]))
    elif parts:
        write("gpu", "Pretraining on a GPU", COMMAND, report(parts), RESULTS, at_start)
    return 1 if left_out or any(parts[name]["failed"] for name in chosen if name in parts) else 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
