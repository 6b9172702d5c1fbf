"""The model artifact of a run: a Hugging Face folder, and how texts are prepared for it."""

import json
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.dataset_info import TEXT_TASKS
from src.tracking.mlflow_model import describe_list, write_mlflow_model

if TYPE_CHECKING:
    from src.data.tokenization.tokenizer import TextTokenizer
    from src.model.decision_rule import DecisionRule
    from src.model.encoder import Encoder

# Beside Hugging Face's files; holds cleaning, length and truncation of texts for `src.predict`.
INFERENCE_CONFIG_NAME = "palimpsest.json"
# temperature and thresholds, if the run has fitted some
DECISION_NAME = "decision.json"
# answers with torch and transformers alone, and how MLflow loads the folder
READER_NAME = "palimpsest_model.py"
# what it needs beside it where the network is in the format of another runtime
RUNTIME_READER_NAME = "palimpsest_runtime.py"
# whose models judge whole texts, by a network that other runtimes have too
JUDGING_TASKS = ("classification", "multi_label", "regression")
# What the reader answers with where a text has a list of answers, and of what each of them is made.
LIST_ANSWERS = {
    "token_classification": (
        "entities",
        {"start": "long", "end": "long", "text": "string", "type": "string", "score": "double"},
    ),
    **dict.fromkeys(
        ("masked_lm", "masked_lm_with_next_sentence"),
        ("fillings", {"mask": "long", "token": "string", "probability": "double"}),
    ),
}


@contextmanager
def save_model(
    encoder: "Encoder",
    tokenizer: "TextTokenizer",
    inference_config: Mapping[str, Any],
    decision_rule: "DecisionRule | None" = None,
) -> Iterator[Path]:
    """Yield a temporary folder with weights, config and tokenizer for `from_pretrained`. Adapters
    are added into the weights for good. A README.md says so where transformers' own model gives
    other answers. MLflow loads and serves the folder of a model that answers texts.

    Args:
        inference_config: how texts are prepared (`describe_preprocessing` of the data), written as
            `palimpsest.json` with the kind of the head.
        decision_rule: temperature and thresholds, if the run has fitted any.
    """
    from src.model.adapters import merge_adapters
    from src.model.text_pooling import describe_pooling

    with tempfile.TemporaryDirectory() as temporary_folder:
        folder = Path(temporary_folder)
        merge_adapters(encoder.network)
        encoder.save_pretrained(folder)
        # where texts are cut as in training the answers are the same; an encoder without a task
        # may be trained on longer texts later
        is_judge = inference_config["task"] not in TEXT_TASKS
        limits = [encoder.max_tokens, inference_config["max_tokens"] if is_judge else None]
        tokenizer.save(
            folder,
            max_tokens=min((limit for limit in limits if limit is not None), default=None),
            has_token_types=encoder.has_token_types,
            padding_side=encoder.padding_side,
            truncation=inference_config["truncation"],
        )
        (folder / INFERENCE_CONFIG_NAME).write_text(
            json.dumps({**inference_config, "head": encoder.head}, ensure_ascii=False, indent=2),
            encoding="utf-8",
        )
        if decision_rule is not None:
            decision_rule.write(folder)
        if lines := describe_pooling(encoder.network).lines:
            (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        add_reader(folder)
        _apply_umask(folder)
        yield folder


def find_program(name: str) -> Path:
    """A program that is copied into model folders."""
    return Path(__file__).with_name(name)


def add_reader(folder: Path) -> bool:
    """Have a model folder hold a program that answers without this one, and be a model of MLflow;
    False if the model gives no answers to texts.
    """
    reading = read_inference_config(folder)
    if not is_readable(reading):
        return False
    shutil.copyfile(find_program(READER_NAME), folder / READER_NAME)
    # that of a pretraining run of earlier versions has no names
    label_names, pairs = reading.get("label_names", []), reading.get("pairs")
    decision = folder / DECISION_NAME
    rule = json.loads(decision.read_text(encoding="utf-8")) if decision.is_file() else {}
    has_openvino = (folder / "openvino_model.xml").is_file()
    example = "an example of a"
    if reading["task"] in LIST_ANSWERS:
        name, parts = LIST_ANSWERS[reading["task"]]
        inputs, outputs = {"text": True}, {name: describe_list(parts)}
        words = {"text": "[MASK]" if name == "fillings" else "text"}
    else:
        # None: nobody knows
        inputs = {"text": True} if pairs is False else {"text": True, "pair": bool(pairs)}
        outputs = {"prediction": {"type": "string" if label_names else "double"}}
        outputs |= {name: {"type": "double"} for name in label_names}
        words = {name: name for name in inputs}
    write_mlflow_model(
        folder,
        loader_module=READER_NAME.removesuffix(".py"),
        inputs=inputs,
        outputs=outputs,
        example={name: f"{example} {word}" for name, word in words.items()},
        packages=("torch", "transformers", *(["openvino"] if has_openvino else [])),
        metadata={"task": reading["task"], "label_names": label_names, **rule},
    )
    return True


def read_inference_config(folder: Path) -> dict[str, Any]:
    """How texts are prepared for the model of a folder."""
    reading: dict[str, Any] = json.loads((folder / INFERENCE_CONFIG_NAME).read_text("utf-8"))
    return reading


def is_readable(reading: Mapping[str, Any]) -> bool:
    """Whether a model folder can hold the program that answers.

    Args:
        reading: its inference config.
    """
    tasks = (*JUDGING_TASKS, *LIST_ANSWERS)
    return reading["task"] in tasks and reading.get("head") != "replaced_tokens"


def _apply_umask(folder: Path) -> None:
    """Give a folder the rights that the user's other new files have. A temporary folder, and the
    file that the library of the weights writes, are open to their owner alone.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
