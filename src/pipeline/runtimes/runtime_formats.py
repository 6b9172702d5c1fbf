"""A model that judges texts in the formats of other runtimes: ONNX in fp32, OpenVINO in fp32, bf16
and int8.

The folder has the tokenizer and the program that prepares texts and answers (`palimpsest_model.py`)
beside the network, and a card, README.md. The export is compared with the model that it was made of
before it is kept.
"""

import contextlib
import json
import logging
import shutil
import warnings
from collections.abc import Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from src.core.user_errors import UserError
from src.pipeline.export import (
    DECISION_NAME,
    INFERENCE_CONFIG_NAME,
    JUDGING_TASKS,
    READER_NAME,
    RUNTIME_READER_NAME,
    find_program,
)
from src.pipeline.palimpsest_runtime import (
    RUNTIME_CONFIG_NAME,
    import_openvino,
    without_reports,
)
from src.pipeline.runtimes.parity_rows import (
    ParityRows,
    read_file_rows,
    read_validation_rows,
    sample_training_texts,
)
from src.pipeline.runtimes.runtime_parity import (
    TITLES,
    Bounds,
    Parity,
    compare_with_model,
    write_card,
)
from src.pipeline.runtimes.static_quantization import (
    CALIBRATION_TEXTS,
    quantize_statically,
)

if TYPE_CHECKING:
    from src.pipeline.earlier_model import EarlierModel
    from src.pipeline.palimpsest_model import TextModel

# the file of the network in each format, the packages that write and run it, and in what precisions
FILES = {"onnx": "model.onnx", "openvino": "openvino_model.xml"}
_PACKAGES = {
    "onnx": ("onnx", "onnxscript", "onnxruntime"),
    "openvino": ("openvino",),
}
PRECISIONS = {"onnx": ("fp32",), "openvino": ("fp32", "bf16", "int8")}
_NO_ONNX = {
    "bf16": "onnxruntime computes nothing in bf16 on a CPU",
    "int8": "onnxruntime's dynamic int8 makes an answer depend on the texts beside it, and its "
    "static int8 changes one answer in twenty",
}
# A file of ONNX holds no more; weights then lie beside it.
_MOST_BYTES = 1_800_000_000
_OPSET = 20
# texts by which a network is traced
_TRACED_ROWS = 2


class Calibration(NamedTuple):
    """Texts, or pairs, that fix the scales of a network in int8; and where they are from."""

    texts: Sequence[Sequence[str]]
    source: str


class InexactExport(Exception):
    """The answers of an export are too far from those of its model."""


def check_precision(format: str, precision: str, key: str = "precision") -> None:
    """Raise UserError if a format has no such precision."""
    if precision in PRECISIONS[format]:
        return
    offered = ", ".join(PRECISIONS[format])
    if format == "onnx" and precision in _NO_ONNX:
        raise UserError(
            _NO_ONNX[precision],
            key=key,
            value=precision,
            hint=f"format=openvino precision={precision}, or precision=fp32",
        )
    raise UserError(key=key, value=precision, expected=f"one of {offered}")


def check_format(format: str, task: str, precision: str = "fp32", key: str = "format") -> None:
    """Raise UserError if a package is missing that the format needs, or the model has no such
    form.

    Args:
        key: the option that names the format.
    """
    if task not in JUDGING_TASKS:
        raise UserError(
            f"a model for {task} is not exported to {TITLES[format]}",
            key=key,
            value=format,
            expected="a run that judges whole texts: classification, several labels or regression",
        )
    for package in (*_PACKAGES[format], *(["nncf"] if precision == "int8" else [])):
        check_package(package, format, key, format)


def check_package(package: str, extra: str, key: str, value: str) -> None:
    """Raise UserError if a package is not installed, with the extra that brings it."""
    if find_spec(package) is None:
        raise UserError(
            f"needs the package {package}: pip install -e '.[{extra}]'",
            key=key,
            value=value,
            colon=False,
        )


def fill_runtime_folder(
    model: "EarlierModel",
    folder: Path,
    format: str,
    precision: str,
    *,
    run: str,
    bounds: Bounds,
    calibration: Path | None = None,
) -> Parity:
    """Write a model in another format, with a card that says how far its answers are from those of
    the model; returns that.

    Args:
        run: the name of the run on the card.
        calibration: for int8, a file of texts that fix its scales, instead of the run's training
            rows. Where the run's data are gone, its other rows are compared.

    Raises:
        InexactExport: they are farther away than is allowed.
        UserError: the data of the run are not there.
    """
    scales, rows = _read_rows(model, precision, bounds.rows, calibration)
    traced = rows.texts[:_TRACED_ROWS]
    write_runtime_folder(model.folder, folder, format, traced, precision, scales)
    parity = compare_with_model(model.folder, folder, rows)
    if (excess := bounds.find_excess(parity)) is not None:
        raise InexactExport(f"{parity.describe()}; {excess}")
    write_card(folder, format, run, precision, parity, bounds)
    return parity


def _read_rows(
    model: "EarlierModel", precision: str, count: int, file: Path | None
) -> tuple[Calibration | None, ParityRows]:
    """The texts for int8's scales, and the rows that are compared."""
    if precision != "int8":
        return None, read_validation_rows(model, count)
    if file is None:
        try:
            texts = sample_training_texts(model, CALIBRATION_TEXTS)
            return Calibration(texts, "the run's training rows"), read_validation_rows(model, count)
        except UserError as error:
            error.hint = error.hint or "calibration=FILE takes texts of a file instead of the run's"
            raise
    texts, others = read_file_rows(model, file, CALIBRATION_TEXTS, count)
    calibration = Calibration(texts, file.name)
    try:
        return calibration, read_validation_rows(model, count)
    except UserError:
        if not others.texts:
            raise UserError(
                f"has {len(texts)} rows, which fix the scales of int8; the run's own data are not "
                "there, so others are needed to compare the export with its model",
                key="calibration",
                value=file,
                colon=False,
            ) from None
        return calibration, others


def write_runtime_folder(
    source: Path,
    folder: Path,
    format: str,
    texts: Sequence[Sequence[str]],
    precision: str = "fp32",
    calibration: Calibration | None = None,
) -> None:
    """Write the network of a model folder in another format, with what is needed to ask it.

    Args:
        texts: a few texts, or pairs, by which the network is traced.
        calibration: what fixes the scales of int8.
    """
    from src.pipeline.palimpsest_model import TextModel

    for path in source.iterdir():
        is_ours = path.name in (INFERENCE_CONFIG_NAME, DECISION_NAME, "config.json")
        if is_ours or "token" in path.name or path.suffix in (".txt", ".model"):
            shutil.copyfile(path, folder / path.name)
    (folder / "requirements.txt").unlink(missing_ok=True)
    for name in (READER_NAME, RUNTIME_READER_NAME):
        shutil.copyfile(find_program(name), folder / name)
    model = TextModel(source)
    if format == "openvino":
        _write_openvino(model, folder / FILES[format], texts, precision, calibration)
    else:
        _write_onnx(model, folder / FILES[format], texts)
    known: dict[str, Any] = {"format": format, "file": FILES[format], "precision": precision}
    if calibration is not None:
        known["calibration_texts"] = len(calibration.texts)
        known["calibration_source"] = calibration.source
    (folder / RUNTIME_CONFIG_NAME).write_text(json.dumps(known, indent=2), encoding="utf-8")


def _write_openvino(
    model: "TextModel",
    path: Path,
    texts: Sequence[Sequence[str]],
    precision: str,
    calibration: Calibration | None,
) -> None:
    openvino = import_openvino()
    traced = dict(model.tokenizer.pad(model.encode(texts), return_tensors="pt"))
    if "sliding_attention" in (getattr(model.network.config, "layer_types", None) or ()):
        # OpenVINO's own attention gives NaN for padding whose window holds no token of the text
        model.network.set_attn_implementation("eager")
    with _quiet_exporter(), without_reports():
        # not by way of ONNX, which takes attention to pieces: slower, and worse in int8
        whole = openvino.convert_model(model.network, example_input=traced)
    network = openvino.Model([whole.output("logits")], whole.get_parameters())
    if precision == "int8":
        assert calibration is not None
        cleaned = [[model.clean(text) for text in row] for row in calibration.texts]
        names = [one.any_name for one in network.inputs]
        rows = []
        for encoded in model.encode([row for row in cleaned if all(map(str.strip, row))]):
            encoded.setdefault("attention_mask", [1] * len(encoded["input_ids"]))
            rows.append({name: np.array([encoded[name]]) for name in names})
        network = quantize_statically(network, rows)
    # by itself it would halve the precision
    openvino.save_model(network, path, compress_to_fp16=False)


def _write_onnx(model: "TextModel", path: Path, texts: Sequence[Sequence[str]]) -> None:
    import torch

    inputs = dict(model.tokenizer.pad(model.encode(texts), return_tensors="pt"))

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
    """Without what exporters say of torchvision, of their own future, of equal axes and of values
    that a trace takes for constants.
    """
    loggers = [logging.getLogger(name) for name in ("torch.onnx", "transformers")]
    levels = [logger.level for logger in loggers]
    for logger in loggers:
        logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        for logger, level in zip(loggers, levels, strict=True):
            logger.setLevel(level)
