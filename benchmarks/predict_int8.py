"""Answers on a CPU: `REAL_DATA=FOLDER python -m benchmarks.predict_int8 [TEXTS [JUDGED [MIXED]]]`.

MiniLM, fine-tuned on SST-2 sentences and IMDb reviews, from strings to probabilities on one thread:
OpenVINO as `python -m src.predict` uses it, beside `transformers.pipeline` in fp32 at its best
batch size, beside static int8 of OpenVINO run the usual way, and beside `src.predict` on torch. The
same texts in turns, processor time. Exit code 1 where a gate is missed.

TEXTS   reviews that all contestants answer, and thrice as many mixed texts; all of SST-2's test
JUDGED  more reviews, on which int8 is compared with fp32 alone
MIXED   texts of the mixture after which the growth of memory is read
"""

import gzip
import json
import multiprocessing
import random
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import psutil
import torch

from benchmarks.material import PLACE, minilm, real
from benchmarks.setting import write
from src.pipeline.export import INFERENCE_CONFIG_NAME
from src.pipeline.prediction.predictor import MAX_TEXTS_PER_CALL, Predictor
from src.pipeline.runtimes.runtime_formats import Calibration, write_runtime_folder
from src.pipeline.runtimes.static_quantization import CALIBRATION_TEXTS

MAX_TOKENS = 256
SENTENCES, REVIEWS = 3000, 1000
# batch sizes tried of the pipeline, and of OpenVINO run the usual way
SIZES = (1, 8, 32)
TURNS = 4
PRECISIONS = ("fp32", "bf16", "int8")
LABELS = ("0", "1")
MOST_MEGABYTES = 150

Texts = Sequence[str]
# texts to the probability of the second label
Asked = Callable[[Texts], list[float]]


class Gate(NamedTuple):
    """What one number is to reach."""

    what: str
    found: float
    limit: float
    is_least: bool
    shown: str = ".2f"

    @property
    def reached(self) -> bool:
        return self.found >= self.limit if self.is_least else self.found <= self.limit

    def describe(self) -> str:
        bound = "at least" if self.is_least else "at most"
        verdict = "yes" if self.reached else "**no**"
        return (
            f"| {self.what} | {self.found:{self.shown}} | {bound} {self.limit:{self.shown}} | "
            f"{verdict} |"
        )


class Race(NamedTuple):
    """Texts a second and the probabilities of each contestant on one kind of texts."""

    name: str
    speeds: dict[str, float]
    answers: dict[str, np.ndarray]
    note: str

    def compare(self, one: str, other: str) -> float:
        return self.speeds[one] / self.speeds[other]

    def count_flips(self, name: str) -> float:
        """The share of answers other than the pipeline's."""
        return float(((self.answers[name] > 0.5) != (self.answers["pipeline"] > 0.5)).mean())

    def describe(self) -> list[str]:
        exact = self.answers["pipeline"]
        return [
            f"| {self.name} | {name} | {speed:.1f} | {self.compare(name, 'pipeline'):.2f} | "
            f"{self.count_flips(name):.2%} | {np.abs(self.answers[name] - exact).mean():.1e} | "
            f"{np.abs(self.answers[name] - exact).max():.1e} |"
            for name, speed in self.speeds.items()
        ]


def main(arguments: list[str]) -> int:
    texts, judged, mixed = [*map(int, arguments), *(300, 1000, 10_000)[len(arguments) :]]
    torch.set_num_threads(1)
    trained = fine_tune()
    with tempfile.TemporaryDirectory() as place:
        folders = export(trained, Path(place))
        reviews, labels = draw_reviews(texts + judged)
        sentences = [sentence for sentence, _ in read_sentences("test")]
        kinds = {
            f"{texts:,} IMDb reviews": reviews[:texts],
            f"{3 * texts:,} mixed texts": mix(sentences, reviews, 3 * texts),
            f"{len(sentences):,} SST-2 sentences": sentences,
        }
        races = [run_race(name, trained, folders, found) for name, found in kinds.items()]
        unlike = count_unlike_alone(folders["int8"], mix(sentences, reviews, 300))
        right, flips = judge(folders, reviews[texts:], labels[texts:])
        with multiprocessing.get_context("spawn").Pool(1) as pool:
            grown = pool.apply(measure_growth, (folders["int8"], mixed))
    gates = list_gates(races, right, flips, grown, unlike)
    lines = [
        f"One thread, processor time, {TURNS} turns. MiniLM-L6, at most {MAX_TOKENS} tokens, "
        f"fine-tuned on {SENTENCES:,} sentences and {REVIEWS:,} reviews; int8 calibrated on "
        f"{CALIBRATION_TEXTS} of these. The mixture is 70 % sentences of SST-2, 30 % reviews.",
        "Of few texts new shapes of batches are a larger share of the time than of 10,000.",
        "",
        "| texts | contestant | texts per second | times the pipeline | answers changed | mean "
        "change of a probability | largest |",
        "| --- | --- | ---: | ---: | ---: | ---: | ---: |",
        *(line for race in races for line in race.describe()),
        "",
        *(f"{race.name}: {race.note}." for race in races),
        "",
        f"Accuracy on {judged:,} other reviews of IMDb's test (of 25,000): fp32 {right[0]:.2%}, "
        f"int8 {right[1]:.2%}; {flips:.2%} of the answers changed.",
        "",
        "| gate | found | to reach | reached |",
        "| --- | ---: | ---: | --- |",
        *(gate.describe() for gate in gates),
    ]
    write(
        "predict_int8",
        "Answers on a CPU in fp32, bf16 and int8",
        f"REAL_DATA=FOLDER python -m benchmarks.predict_int8 {texts} {judged} {mixed}",
        lines,
    )
    return 0 if all(gate.reached for gate in gates) else 1


def list_gates(
    races: list[Race], right: tuple[float, float], flips: float, grown: float, unlike: int
) -> list[Gate]:
    reviews, mixture, sentences = races
    return [
        Gate("reviews, int8 : pipeline", reviews.compare("int8", "pipeline"), 3.5, True),
        Gate("reviews, int8 : src.predict on torch", reviews.compare("int8", "torch"), 1.5, True),
        Gate(
            "reviews, int8 : int8 the usual way", reviews.compare("int8", "usual int8"), 1.1, True
        ),
        Gate("reviews, answers changed by int8", flips, 0.01, False, ".2%"),
        Gate("reviews, accuracy lost by int8", abs(right[0] - right[1]), 0.003, False, ".2%"),
        Gate("mixture, int8 : pipeline", mixture.compare("int8", "pipeline"), 4.5, True),
        Gate("mixture, bf16 : pipeline", mixture.compare("bf16", "pipeline"), 3.0, True),
        Gate("mixture, answers changed by bf16", mixture.count_flips("bf16"), 0.002, False, ".2%"),
        Gate("mixture, fp32 : pipeline", mixture.compare("fp32", "pipeline"), 1.7, True),
        Gate("mixture, answers changed by fp32", mixture.count_flips("fp32"), 0, False, ".2%"),
        Gate("sentences, int8 : pipeline", sentences.compare("int8", "pipeline"), 5.0, True),
        Gate("mixture, int8 answers with other bits alone", unlike, 0, False, ".0f"),
        Gate("memory that mixed texts add, MB", grown, MOST_MEGABYTES, False, ".0f"),
    ]


def run_race(name: str, trained: Path, folders: dict[str, Path], texts: list[str]) -> Race:
    """All contestants answer the same quarter of the texts in turn."""
    tried = texts[:: max(1, len(texts) // 48)]
    pipeline_size, ask_pipeline = find_best_size(lambda size: ask_by_pipeline(trained, size), tried)
    usual_size, ask_usual = find_best_size(lambda size: ask_usually(folders["int8"], size), tried)
    contestants: dict[str, Asked] = {"pipeline": ask_pipeline, "torch": ask_ours(trained)}
    contestants["usual int8"] = ask_usual
    contestants |= {kind: ask_ours(folder) for kind, folder in folders.items()}
    for ask in contestants.values():
        # the first call is slower
        ask(texts[:2])
    seconds = dict.fromkeys(contestants, 0.0)
    answers = {kind: np.zeros(len(texts)) for kind in contestants}
    for turn in range(TURNS):
        for kind, ask in contestants.items():
            began = time.process_time()
            answers[kind][turn::TURNS] = ask(texts[turn::TURNS])
            seconds[kind] += time.process_time() - began
    return Race(
        name,
        {kind: len(texts) / spent for kind, spent in seconds.items()},
        answers,
        f"batches of {pipeline_size} in the pipeline, of {usual_size} in OpenVINO the usual way, "
        f"each the best of {', '.join(map(str, SIZES))}",
    )


def find_best_size(make: Callable[[int], Asked], texts: list[str]) -> tuple[int, Asked]:
    """The batch size with which some texts are answered fastest."""
    seconds = {}
    for size in SIZES:
        ask = make(size)
        ask(texts[:2])
        began = time.process_time()
        ask(texts)
        seconds[size] = time.process_time() - began
    best = min(seconds, key=seconds.__getitem__)
    return best, make(best)


def ask_by_pipeline(folder: Path, size: int) -> Asked:
    from transformers import pipeline

    # The package's types know none of the tasks' own arguments.
    pipe: Any = pipeline("text-classification", model=str(folder), device="cpu", dtype="float32")
    options = {"batch_size": size, "truncation": True, "max_length": MAX_TOKENS, "top_k": None}

    def ask(texts: Texts) -> list[float]:
        return [
            next(one["score"] for one in scores if one["label"] == LABELS[1])
            for scores in pipe(list(texts), **options)
        ]

    return ask


def ask_usually(folder: Path, size: int) -> Asked:
    """Sorted by length, padded to the longest; OpenVINO's own choice of everything but threads."""
    import openvino
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(folder)
    compiled = openvino.compile_model(
        folder / "openvino_model.xml", "CPU", {"INFERENCE_NUM_THREADS": 1}
    )

    def ask(texts: Texts) -> list[float]:
        order = sorted(range(len(texts)), key=lambda place: -len(texts[place]))
        answers = [0.0] * len(texts)
        for start in range(0, len(order), size):
            places = order[start : start + size]
            inputs = tokenizer(
                [texts[place] for place in places],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="np",
            )
            logits = torch.from_numpy(compiled(dict(inputs))["logits"]).float()
            for place, value in zip(places, logits.softmax(1)[:, 1].tolist(), strict=True):
                answers[place] = value
        return answers

    return ask


def ask_ours(folder: Path) -> Asked:
    predictor = Predictor(folder)
    return lambda texts: [
        answer.probabilities[LABELS[1]] for answer in predictor.predict_texts(texts) if answer
    ]


def judge(
    folders: dict[str, Path], texts: list[str], labels: list[int]
) -> tuple[tuple[float, float], float]:
    """The accuracies of fp32 and int8, and the share of answers that differ."""
    said = {
        kind: np.concatenate(
            [
                np.array(ask_ours(folders[kind])(texts[start : start + MAX_TEXTS_PER_CALL])) > 0.5
                for start in range(0, len(texts), MAX_TEXTS_PER_CALL)
            ]
        )
        for kind in ("fp32", "int8")
    }
    right = {kind: float((found == np.array(labels)).mean()) for kind, found in said.items()}
    return (right["fp32"], right["int8"]), float((said["fp32"] != said["int8"]).mean())


def count_unlike_alone(folder: Path, texts: list[str]) -> int:
    """How many texts have another answer, be it in the last bit, alone than among the others."""
    ask = ask_ours(folder)
    together = ask(texts)
    return sum(ask([text]) != [value] for text, value in zip(texts, together, strict=True))


def measure_growth(folder: Path, count: int) -> float:
    """Megabytes that a process has more of after so many mixed texts than after one."""
    torch.set_num_threads(1)
    texts = mix([one for one, _ in read_sentences("test")], draw_reviews(count // 3)[0], count)
    predictor = Predictor(folder)
    predictor.predict_texts(texts[:1])
    before = psutil.Process().memory_info().rss
    for start in range(0, count, MAX_TEXTS_PER_CALL):
        predictor.predict_texts(texts[start : start + MAX_TEXTS_PER_CALL])
    return (psutil.Process().memory_info().rss - before) / 1e6


def fine_tune() -> Path:
    """MiniLM that judges sentences and reviews, as a run leaves it; trained once."""
    folder = PLACE / "minilm-judge"
    if not (folder / "model.safetensors").is_file():
        _train(folder)
    reading = {
        "task": "classification",
        "label_names": list(LABELS),
        "cleaning": {"breaks": False, "whitespace": False},
        "max_tokens": MAX_TOKENS,
        "truncation": "head",
        "pairs": False,
    }
    (folder / INFERENCE_CONFIG_NAME).write_text(json.dumps(reading), encoding="utf-8")
    return folder


def _train(folder: Path, *, batch_size: int = 16, epochs: int = 2, lr: float = 5e-5) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    torch.manual_seed(0)
    draw = random.Random(0)
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    model = AutoModelForSequenceClassification.from_pretrained(
        minilm(), num_labels=2, id2label=dict(enumerate(LABELS))
    )
    rows = training_rows()
    optimizer = torch.optim.AdamW(model.parameters(), lr=lr, weight_decay=0.01)
    steps = epochs * -(-len(rows) // batch_size)
    schedule = torch.optim.lr_scheduler.LambdaLR(
        optimizer, lambda step: min(1, (step + 1) / 50) * max(0, 1 - step / steps)
    )
    for _ in range(epochs):
        draw.shuffle(rows)
        batches = []
        for start in range(0, len(rows), pool := 16 * batch_size):
            near = sorted(rows[start : start + pool], key=lambda row: len(row[0]))
            batches += [near[at : at + batch_size] for at in range(0, len(near), batch_size)]
        draw.shuffle(batches)
        for batch in batches:
            inputs = tokenizer(
                [text for text, _ in batch],
                padding=True,
                truncation=True,
                max_length=MAX_TOKENS,
                return_tensors="pt",
            )
            with torch.autocast("cpu", torch.bfloat16):
                loss = model(**inputs, labels=torch.tensor([label for _, label in batch])).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            schedule.step()
    model.eval().save_pretrained(folder)
    tokenizer.save_pretrained(folder)


def training_rows() -> list[tuple[str, int]]:
    draw = random.Random(0)
    sentences = draw.sample(read_sentences("train"), SENTENCES)
    return sentences + draw.sample(read_reviews("train"), REVIEWS)


def export(trained: Path, place: Path) -> dict[str, Path]:
    """The model for OpenVINO, by precision."""
    rows = [[text] for text, _ in training_rows()]
    scales = Calibration(rows[:: len(rows) // CALIBRATION_TEXTS][:CALIBRATION_TEXTS], "training")
    folders = {}
    for precision in PRECISIONS:
        (folder := place / precision).mkdir()
        calibration = scales if precision == "int8" else None
        write_runtime_folder(trained, folder, "openvino", rows[:2], precision, calibration)
        folders[precision] = folder
    return folders


def read_sentences(split: str) -> list[tuple[str, int]]:
    [file] = real("sst2").glob(f"*.{split}")
    lines = file.read_text(encoding="utf-8").splitlines()
    return [(line[2:], int(line[0])) for line in lines]


def read_reviews(split: str) -> list[tuple[str, int]]:
    [file] = real("imdb").glob(f"{split}*.gz")
    with gzip.open(file, "rt", encoding="utf-8") as lines:
        rows = [json.loads(line) for line in lines]
    return [(" ".join(row["text"].replace("<br />", " ").split()), row["label"]) for row in rows]


def draw_reviews(count: int) -> tuple[list[str], list[int]]:
    """Of the official test split, by a fixed seed; with their labels."""
    drawn = random.Random(1).sample(read_reviews("test"), count)
    return [text for text, _ in drawn], [label for _, label in drawn]


def mix(sentences: Texts, reviews: Texts, count: int) -> list[str]:
    """70 % sentences, some of them several times if there are not enough, and 30 % reviews."""
    draw = random.Random(2)
    long = round(0.3 * count)
    short = [sentences[place % len(sentences)] for place in range(count - long)]
    mixed = [*short, *reviews[:long]]
    draw.shuffle(mixed)
    return mixed


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
