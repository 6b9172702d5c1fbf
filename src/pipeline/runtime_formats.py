"""A model that judges texts in the formats of other runtimes: ONNX and OpenVINO, in fp32.

The folder has the tokenizer and the program that prepares texts and answers (`palimpsest_model.py`)
beside the network, and a card, README.md. The export is compared with the model that it was made of
before it is kept.
"""

import contextlib
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from src.core.formatting import format_quantity
from src.core.user_errors import UserError
from src.pipeline.export import (
    DECISION_NAME,
    INFERENCE_CONFIG_NAME,
    JUDGING_TASKS,
    READER_NAME,
    read_inference_config,
)

if TYPE_CHECKING:
    from src.pipeline.palimpsest_model import TextModel

# the file of the network in each format, and the packages that write and run it, by their extra
FILES = {"onnx": "model.onnx", "openvino": "openvino_model.xml"}
_PACKAGES = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("onnx", "onnxscript", "openvino"),
}
# A file of ONNX holds no more; weights then lie beside it.
_MOST_BYTES = 1_800_000_000
_OPSET = 20
_TITLES = {"onnx": "ONNX", "openvino": "OpenVINO"}


class Parity(NamedTuple):
    """How far the answers of an export are from those of its model.

    Args:
        rows: how many texts, or pairs, were judged by both.
        split: of what split they are.
        difference: the largest difference of a probability; of a value v, divided by |v| where that
            is more than 1.
        flips: how many predictions differ.
    """

    rows: int
    split: str
    difference: float
    flips: int

    def describe(self) -> str:
        """The numbers in words."""
        return (
            f"{format_quantity(self.rows, f'{self.split} row')}: largest difference "
            f"{self.difference:.2g}, {format_quantity(self.flips, 'prediction')} changed"
        )


def check_format(format: str, task: str) -> None:
    """Raise UserError if a package is missing that the format needs, or the model has no such
    form.
    """
    if task not in JUDGING_TASKS:
        raise UserError(
            f"a model for {task} is not exported to {_TITLES[format]}",
            key="format",
            value=format,
            expected="a run that judges whole texts: classification, several labels or regression",
        )
    for package in _PACKAGES[format]:
        if find_spec(package) is None:
            raise UserError(
                f"needs the package {package}: pip install -e '.[{format}]'",
                key="format",
                value=format,
                colon=False,
            )


def write_runtime_folder(
    source: Path, folder: Path, format: str, texts: Sequence[Sequence[str]]
) -> None:
    """Write the network of a model folder in another format, with what is needed to ask it.

    Args:
        texts: a few texts, or pairs, by which the network is traced.
    """
    from src.pipeline.palimpsest_model import TextModel

    for path in source.iterdir():
        is_ours = path.name in (INFERENCE_CONFIG_NAME, DECISION_NAME, "config.json")
        if is_ours or "token" in path.name or path.suffix in (".txt", ".model"):
            shutil.copyfile(path, folder / path.name)
    (folder / "requirements.txt").unlink(missing_ok=True)
    shutil.copyfile(Path(__file__).with_name(READER_NAME), folder / READER_NAME)
    onnx_file = folder / FILES["onnx"]
    _write_onnx(TextModel(source), onnx_file, texts)
    if format == "openvino":
        import openvino

        converted = openvino.convert_model(onnx_file)
        # by itself it would halve the precision
        openvino.save_model(converted, folder / FILES["openvino"], compress_to_fp16=False)
        for path in folder.glob(f"{onnx_file.name}*"):
            path.unlink()


def _write_onnx(model: "TextModel", path: Path, texts: Sequence[Sequence[str]]) -> None:
    import torch

    inputs = dict(model.encode(list(texts)))

    class Logits(torch.nn.Module):
        """The network with tensors in and one tensor out."""

        def __init__(self) -> None:
            super().__init__()
            self.network = model.network

        def forward(self, *tensors: torch.Tensor) -> torch.Tensor:
            logits: torch.Tensor = self.network(**dict(zip(inputs, tensors, strict=True))).logits
            return logits

    size = sum(weight.numel() * weight.element_size() for weight in model.network.parameters())
    axes = {0: torch.export.Dim("batch"), 1: torch.export.Dim("tokens")}
    with _quiet_exporter():
        torch.onnx.export(
            Logits().eval(),
            tuple(inputs.values()),
            path,
            input_names=list(inputs),
            output_names=["logits"],
            dynamic_shapes=(tuple(axes for _ in inputs),),
            opset_version=_OPSET,
            dynamo=True,
            external_data=size > _MOST_BYTES,
            verbose=False,
        )


@contextlib.contextmanager
def _quiet_exporter() -> Iterator[None]:
    """Without what the exporter says of torchvision, of its own future and of equal axes."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def compare_with_model(
    source: Path, folder: Path, texts: Sequence[Sequence[str]], split: str
) -> Parity:
    """Ask a model, as `src.predict` does in fp32, and its export for the same texts or pairs."""
    from src.pipeline.palimpsest_model import TextModel
    from src.pipeline.predictor import Predictor

    columns = [list(column) for column in zip(*texts, strict=True)]
    pairs = columns[1] if len(columns) > 1 else None
    expected = Predictor(source, precision="fp32").predict_texts(columns[0], pairs)
    found = TextModel(folder).predict(columns[0], pairs)
    rows, flips, difference = 0, 0, 0.0
    for one, other in zip(expected, found, strict=True):
        if one is None:
            continue
        rows += 1
        if one.probabilities:
            flips += one.predicted != other["prediction"]
            gaps = [abs(value - other[name]) for name, value in one.probabilities.items()]
        else:
            value = float(one.predicted)
            gaps = [abs(value - other["prediction"]) / max(1.0, abs(value))]
        # what is no number is as far away as can be
        difference = max([difference, *(gap if gap == gap else float("inf") for gap in gaps)])
    return Parity(rows, split, difference, flips)


def write_card(folder: Path, format: str, run: str, parity: Parity, tolerance: float) -> None:
    """Write README.md: what the folder holds, how it is asked, and how exact it is."""
    reading = read_inference_config(folder)
    packages = ", ".join(f"{name} {version(name)}" for name in ("torch", *_PACKAGES[format]))
    names = ", ".join(reading["label_names"])
    outputs = f"one for each of: {names}" if names else "the value"
    if (head := reading.get("head", "sequence")) != "sequence":
        outputs = f"those of the head `{head}` (see {READER_NAME}), for the labels {names}"
    text = f"""# {_TITLES[format]} of the model of {run}

`{FILES[format]}`: fp32; tensors `input_ids`, `attention_mask` (and `token_type_ids` where the
tokenizer gives them) of any batch and length, int64; out comes `logits`, {outputs}.

    python {READER_NAME} "A text."

cleans and cuts texts as in training, and needs torch, transformers and the runtime. Texts have at
most {reading["max_tokens"]} tokens.

Compared with the model that it was made of, in fp32, on {parity.describe()}; at most {tolerance:g}
was allowed. Made with {packages}.
"""
    (folder / "README.md").write_text(text, encoding="utf-8")
