"""A model of cost from 1 to 1,000 GPUs and 10^12 tokens: the constants, those measured here and
those that others have published, and the formulas of docs/scale.md.
"""

import math
import re
from pathlib import Path
from typing import NamedTuple

from benchmarks.setting import ROOT

TOKENS = 1e12
GPU_COUNTS = (1, 8, 64, 1000)
ROW_TOKENS = 1024
GPUS_PER_NODE = 8
DAY, HOUR = 86_400.0, 3600.0

CORPUS_BYTES, CORPUS_DOCUMENTS = 5e9, 5e6

# where in docs a constant stands, its unit, and what it is
MEASURED = {
    "core_rate": (
        ("results/speed.md", r"MLM step, BERT 12 x 768[^|]*\| tokens/s \| ([\d,.]+)"),
        "tokens/s",
        "an MLM step of BERT 12 x 768 on one core",
    ),
    "step_memory": (
        ("results/speed.md", r"peak memory beyond weights[^|]*\| MiB \| ([\d,.]+)"),
        "MiB",
        "of a step of 4,096 tokens beyond weights and optimizer state, BERT 12 x 768 with a "
        "vocabulary of 30,522, on a CPU",
    ),
    "tokenise_rate": (
        ("results/speed.md", r"tokenise to disk[^|]*\| million tokens/s \| ([\d,.]+)"),
        "million tokens/s",
        "tokenising to disk, one core",
    ),
    "loader_rate": (
        ("results/speed.md", r"batches ready for the model[^|]*\| million tokens/s \| ([\d,.]+)"),
        "million tokens/s",
        "batches ready for the model, one core, tokens in the page cache",
    ),
    "corpus_tokens": (
        ("lab-log.md", r"5,000,000 documents, ([\d,]+) tokens"),
        "tokens",
        "in 5 GB of text, five million documents",
    ),
    "corpus_seconds": (
        ("lab-log.md", r"1,060,767,742 tokens, (\d+)\s+seconds of processor time"),
        "s",
        "of a core to read, clean, survey for repeats and tokenise them",
    ),
    "survey_megabytes": (
        ("lab-log.md", r"the survey held (\d+) MB, tokenising \d+ MB, each"),
        "MB",
        "of memory that grew with them, the survey",
    ),
    "tokenising_megabytes": (
        ("lab-log.md", r"the survey held \d+ MB, tokenising (\d+) MB, each"),
        "MB",
        "of memory that grew with them, tokenising",
    ),
    "checkpoint_megabytes": (
        ("results/plan.md", r"sst2[^|]*\| MB of a checkpoint \| [\d.]+ \| ([\d.]+)"),
        "MB",
        "a checkpoint of MiniLM-L6, 22.7 million parameters",
    ),
    "server_points": (
        ("results/server_writers.md", r"\| 100 \| 100 \| ([\d,]+)"),
        "points",
        "written by 100 runs at once to an MLflow server on PostgreSQL",
    ),
    "server_seconds": (
        ("results/server_writers.md", r"\| 100 \| 100 \| [\d,]+ \| [\d,]+ \| (\d+)"),
        "s",
        "for that, server, database and runs on the same two cores",
    ),
    "run_points": (
        ("results/slurm.md", r"MLflow run, ([\d,]+) points"),
        "points",
        "of a run of 300 logged steps, validations and test included",
    ),
    "begin_seconds": (
        ("results/large_store.md", r"\| a run begins \| ([\d.]+)"),
        "s",
        "to begin a run in a store of 10,000",
    ),
    "list_seconds": (
        ("results/large_store.md", r"\| `src.runs` \| ([\d.]+)"),
        "s",
        "to list the newest runs of 10,000",
    ),
    "first_step": (
        ("results/speed.md", r"first training step, quickstart, MiniLM \| s \| ([\d.]+)"),
        "s",
        "from the command to the first step",
    ),
    "order_seconds": (
        ("results/scale.md", r"\| order of an epoch, seconds \| ([\d.]+)"),
        "s",
        "to put ten million rows in an epoch's order",
    ),
    "order_bytes": (
        ("results/scale.md", r"\| order of an epoch, bytes a row \| ([\d.]+)"),
        "bytes",
        "of memory for each row while that is done",
    ),
    "write_rate": (
        ("results/scale.md", r"\| checkpoint written, MB/s \| ([\d.]+)"),
        "MB/s",
        "a checkpoint of 1 GB written to this disk, with checksum and fsync",
    ),
}
MINILM_PARAMETERS = 22_713_986
LOGGED_STEPS = 300
MEASURED_STEP_TOKENS = 4096

# value, unit, what it is and who says so
ASSUMED = {
    "peak_flops": (989e12, "FLOP/s", "H100 SXM, dense bf16 (NVIDIA's data sheet)"),
    "gpu_memory": (80e9, "bytes", "H100 SXM (the same)"),
    "nvlink": (450e9, "bytes/s", "a GPU to others of its node, one direction (the same)"),
    "fast_link": (50e9, "bytes/s", "a GPU to other nodes, 400 Gb/s each (NVIDIA's DGX H100 guide)"),
    "slow_link": (12.5e9, "bytes/s", "a whole node to others, 100 Gb/s: an ordinary cloud"),
    "link_share": (0.8, "", "of a link that an all-reduce gets (our guess)"),
    "backward_share": (2 / 3, "", "of a step, behind which DDP hides the all-reduce at best"),
    "batch_tokens": (4608 * 1024.0, "tokens", "a step of ModernBERT (Warner et al., 2024)"),
    "gpu_failure_hours": (
        16_384 * 54 * 24 / 419,
        "h",
        "between failures of a GPU and its part of the machine: 419 in 54 days of 16,384 "
        "(Llama 3, 2024)",
    ),
    "spot_hours": (24.0, "h", "until a spot machine of 8 GPUs is taken away (a guess)"),
    "price": (2.5, "$", "an hour of an H100, rented (a guess from offers of $1.9 to $2.9)"),
    "queue_seconds": (120.0, "s", "a requeued job waits, SLURM as it comes"),
    "silence_seconds": (300.0, "s", "until a run whose machine was lost is known to be dead"),
    "logged_every": (10.0, "steps", "`trainer.log_every_n_steps` as it comes"),
}


class Shape(NamedTuple):
    """An encoder.

    Args:
        utilisation: share of the peak that training such a model has reached; who says so.
    """

    name: str
    layers: int
    width: int
    utilisation: float
    source: str
    vocabulary: int = 50_368

    @property
    def parameters(self) -> float:
        return 12.0 * self.layers * self.width**2 + self.vocabulary * self.width

    @property
    def token_flops(self) -> float:
        """Model operations of training on one token, forward and backward, 30 % of them masked."""
        body = 12.0 * self.layers * self.width**2
        attention = 2.0 * self.layers * self.width * ROW_TOKENS
        head = 0.3 * (self.vocabulary * self.width + self.width**2)
        return 6 * (body + attention + head)


# ModernBERT's own hours on 8 H100 for 1.719 * 10^12 tokens (Warner et al., 2024, appendix A), and
# multiply-adds of a token in millions by their shapes: GLU, every third layer global, 30 % masked
_PUBLISHED_TOKENS, _BASE_HOURS, _LARGE_HOURS = 1.719e12, 194.2, 425.3
_BASE_MULTIPLY_ADDS, _LARGE_MULTIPLY_ADDS = 137.5e6, 384.6e6


def _derive_utilisation(hours: float, multiply_adds: float) -> float:
    rate = _PUBLISHED_TOKENS / (hours * HOUR * 8)
    return rate * 6 * multiply_adds / ASSUMED["peak_flops"][0]


SHAPES = (
    Shape(
        "base, 12 x 768",
        12,
        768,
        _derive_utilisation(_BASE_HOURS, _BASE_MULTIPLY_ADDS),
        "ModernBERT-base: 194 h on 8 H100",
    ),
    Shape(
        "large, 24 x 1,024",
        24,
        1024,
        _derive_utilisation(_LARGE_HOURS, _LARGE_MULTIPLY_ADDS),
        "ModernBERT-large: 425 h on 8 H100",
    ),
    Shape("1.2 G, 24 x 2,048", 24, 2048, 0.40, "Llama 3: 0.38 to 0.43"),
    Shape("6.6 G, 32 x 4,096", 32, 4096, 0.40, "Llama 3: 0.38 to 0.43"),
)


class Constants:
    """The measured constants, as they stand in docs, and the assumed ones."""

    def __init__(self, folder: Path = ROOT / "docs") -> None:
        self.measured = {}
        for name, ((file, pattern), _, _) in MEASURED.items():
            found = re.search(pattern, (folder / file).read_text(encoding="utf-8"))
            if found is None:
                raise ValueError(f"docs/{file} has no {name}: {pattern}")
            self.measured[name] = float(found[1].replace(",", ""))
        self.assumed = {name: value for name, (value, _, _) in ASSUMED.items()}

    def __getitem__(self, name: str) -> float:
        return self.measured[name] if name in self.measured else self.assumed[name]

    # training

    def gpu_rate(self, shape: Shape) -> float:
        """Tokens a second of one GPU."""
        return self["peak_flops"] * shape.utilisation / shape.token_flops

    def train_seconds(self, shape: Shape, gpus: int) -> float:
        """For all tokens, with nothing lost to anything."""
        return TOKENS / self.gpu_rate(shape) / gpus

    def core_years(self) -> float:
        return TOKENS / self["core_rate"] / (365 * DAY)

    # memory

    @property
    def checkpoint_bytes(self) -> float:
        """Of a parameter: weights and two moments of AdamW, in fp32."""
        return self["checkpoint_megabytes"] * 1e6 / MINILM_PARAMETERS

    @property
    def activation_bytes(self) -> float:
        """For each token, layer and unit of width, from the measured step less its gradients."""
        shape = Shape("", 12, 768, 1.0, "", 30_522)
        step = self["step_memory"] * 2**20 - 4 * shape.parameters
        return step / MEASURED_STEP_TOKENS / shape.layers / shape.width

    def gpu_bytes(self, shape: Shape, gpus: int, tokens: float, *, sharded: bool) -> float:
        """What a GPU holds: weights, gradients, moments, activations. Sharded, the embeddings and
        one layer are whole while they are needed.
        """
        state = 16 * shape.parameters
        if sharded:
            whole = shape.vocabulary * shape.width + 12 * shape.width**2
            state = state / gpus + 8 * whole
        return state + self.activation_bytes * tokens * shape.layers * shape.width

    # network

    def exchange_seconds(self, shape: Shape, gpus: int, *, fast: bool) -> float:
        """The all-reduce of fp32 gradients, as rings over all links at once."""
        if gpus == 1:
            return 0.0
        volume = 2 * (gpus - 1) / gpus * 4 * shape.parameters
        seconds = volume / (self["nvlink"] * self["link_share"])
        if gpus > GPUS_PER_NODE:
            node = self["fast_link"] * GPUS_PER_NODE if fast else self["slow_link"]
            seconds = max(seconds, volume / (node * self["link_share"]))
        return seconds

    def step_seconds(self, shape: Shape, gpus: int) -> float:
        """Arithmetic alone, of a step of the same global batch."""
        return self["batch_tokens"] / gpus / self.gpu_rate(shape)

    def efficiency(self, shape: Shape, gpus: int, *, fast: bool) -> float:
        """Share of the time in which GPUs compute."""
        step = self.step_seconds(shape, gpus)
        hidden = self["backward_share"] * step
        exposed = max(0.0, self.exchange_seconds(shape, gpus, fast=fast) - hidden)
        return step / (step + exposed)

    # text

    def text_bytes(self, tokens: float) -> float:
        return tokens / self["corpus_tokens"] * CORPUS_BYTES

    def documents(self, tokens: float) -> float:
        return tokens / self["corpus_tokens"] * CORPUS_DOCUMENTS

    def prepare_hours(self, tokens: float) -> float:
        """Of one core, from text to tokens on disk."""
        return tokens / self["corpus_tokens"] * self["corpus_seconds"] / HOUR

    def prepare_bytes(self, tokens: float, part: str) -> float:
        """Memory of a process, for `survey` or `tokenising`."""
        return tokens / self["corpus_tokens"] * self[f"{part}_megabytes"] * 1e6

    def store_bytes(self, tokens: float) -> float:
        """Ids of two bytes; for each document where it begins, and its identity."""
        return 2 * tokens + 16 * self.documents(tokens)

    # tracking

    def run_points_per_second(self, step_seconds: float) -> float:
        a_step = self["run_points"] / LOGGED_STEPS
        return a_step / (self["logged_every"] * step_seconds)

    @property
    def server_rate(self) -> float:
        return self["server_points"] / self["server_seconds"]

    # failures

    def failure_seconds(self, gpus: int, *, spot: bool) -> float:
        """Between two that end the run."""
        if spot:
            return self["spot_hours"] * HOUR / math.ceil(gpus / GPUS_PER_NODE)
        return self["gpu_failure_hours"] * HOUR / gpus

    def failures(self, shape: Shape) -> float:
        """Of the whole run, and the same on any number of GPUs."""
        return self.train_seconds(shape, 1) / self.failure_seconds(1, spot=False)

    def write_seconds(self, shape: Shape) -> float:
        return self.checkpoint_bytes * shape.parameters / (self["write_rate"] * 1e6)

    def checkpoint_interval(self, shape: Shape, gpus: int, *, spot: bool) -> float:
        """Seconds between checkpoints at which least is lost (Young, 1974; Daly, 2006)."""
        return math.sqrt(2 * self.write_seconds(shape) * self.failure_seconds(gpus, spot=spot))

    @property
    def restart_seconds(self) -> float:
        """From a lost machine to the next step."""
        return max(self["queue_seconds"], self["silence_seconds"]) + self["first_step"]

    def lost_share(self, shape: Shape, gpus: int, *, spot: bool) -> float:
        """Of the time: writing, training again what was lost, and starting again. From some 0.5 on
        the formula, which takes failures for rare, says no more than that it does not work.
        """
        interval = self.checkpoint_interval(shape, gpus, spot=spot)
        again = interval / 2 + self.restart_seconds
        return self.write_seconds(shape) / interval + again / self.failure_seconds(gpus, spot=spot)
