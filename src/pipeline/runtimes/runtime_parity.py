"""How far the answers of an exported model are from those of its own, what is allowed, and the card
of the export, which says both.
"""

import json
from importlib.metadata import version
from pathlib import Path
from typing import NamedTuple

from src.core.formatting import format_quantity
from src.core.user_errors import UserError
from src.pipeline.export import READER_NAME, read_inference_config
from src.pipeline.palimpsest_runtime import RUNTIME_CONFIG_NAME
from src.pipeline.runtimes.parity_rows import ParityRows

# what a rounded network may differ, and the rows by which that is judged; where answers are exact a
# few show it
_DEFAULT_BOUNDS = {
    "fp32": {"tolerance": 1e-4, "rows": 200},
    "bf16": {"tolerance": 0.005, "max_flips": 0.01, "rows": 1000},
    "int8": {"tolerance": 0.03, "max_flips": 0.02, "rows": 1000},
}
_PACKAGES = {
    "onnx": ("torch", "onnx", "onnxscript", "onnxruntime"),
    "openvino": ("torch", "openvino"),
}
TITLES = {"onnx": "ONNX", "openvino": "OpenVINO"}


class Parity(NamedTuple):
    """How far the answers of an export are from those of its model.

    Args:
        rows: how many texts, or pairs, were judged by both.
        split: of what split they are, or of what file.
        difference: the largest difference of a probability; of a value v, divided by |v| where that
            is more than 1.
        flips: how many predictions differ.
        mean_difference: the mean over rows of the largest difference in a row.
        accuracies: the share of right predictions of the model, and of its export, where rows have
            one label each.
    """

    rows: int
    split: str
    difference: float
    flips: int
    mean_difference: float = 0.0
    accuracies: tuple[float, float] | None = None

    def describe(self) -> str:
        """The numbers in words."""
        lines = (
            f"{format_quantity(self.rows, f'{self.split} row')}: largest difference "
            f"{self.difference:.2g}, mean {self.mean_difference:.2g}, "
            f"{format_quantity(self.flips, 'prediction')} changed"
        )
        if self.accuracies is not None:
            lines += ", accuracy {:.4f} instead of {:.4f}".format(*self.accuracies[::-1])
        return lines


class Bounds(NamedTuple):
    """What an export may differ from its model, by precision.

    Args:
        tolerance: in fp32 the largest difference of a probability, else the mean one.
        max_flips: the largest share of changed predictions; None where `tolerance` decides.
        rows: by how many rows that is judged.
    """

    tolerance: float
    max_flips: float | None
    rows: int

    def find_excess(self, parity: Parity) -> str | None:
        """What is more than allowed, in words; None if nothing is."""
        is_exact = self.max_flips is None
        found = parity.difference if is_exact else parity.mean_difference
        if not found <= self.tolerance:
            return f"at most tolerance={self.tolerance:g} is allowed" + (
                "" if is_exact else " in the mean"
            )
        if self.max_flips is not None and parity.flips > self.max_flips * parity.rows:
            return f"at most max_flips={self.max_flips:g} of the predictions may change"
        return None

    def describe(self) -> str:
        """The bounds in words that follow "was allowed"."""
        if self.max_flips is None:
            return f"a largest difference of {self.tolerance:g}"
        return f"a mean difference of {self.tolerance:g}, and {self.max_flips:.2%} of changes"


def read_bounds(precision: str, typed: dict[str, str]) -> Bounds:
    """The bounds of a precision; what was typed goes before its defaults, "" is nothing.

    Raises:
        UserError: something is no number, or does not belong to the precision.
    """
    known = _DEFAULT_BOUNDS[precision]
    if typed["max_flips"] and "max_flips" not in known:
        raise UserError(
            f"goes with {_join_rounded()}; in {precision} no prediction may change that "
            "tolerance= does not allow",
            key="max_flips",
            value=typed["max_flips"],
            colon=False,
        )
    rows = typed["rows"] or str(known["rows"])
    if not rows.isdecimal() or int(rows) < 1:
        raise UserError(key="rows", value=rows, expected="a whole number at least 1")
    flips = _read_share("max_flips", typed) if typed["max_flips"] else known.get("max_flips")
    tolerance = _read_share("tolerance", typed) if typed["tolerance"] else known["tolerance"]
    return Bounds(tolerance, flips, int(rows))


def _join_rounded() -> str:
    return " or ".join(
        f"precision={name}" for name, known in _DEFAULT_BOUNDS.items() if "max_flips" in known
    )


def _read_share(key: str, typed: dict[str, str]) -> float:
    try:
        found = float(typed[key])
    except ValueError:
        found = -1.0
    if not 0 <= found < 1:
        raise UserError(key=key, value=typed[key], expected="a number from 0, and below 1")
    return found


def compare_with_model(source: Path, folder: Path, rows: ParityRows) -> Parity:
    """Ask a model, as `src.predict` does in fp32, and its export for the same texts or pairs."""
    from src.pipeline.palimpsest_model import TextModel
    from src.pipeline.prediction.predictor import Predictor

    columns = [list(column) for column in zip(*rows.texts, strict=True)]
    pairs = columns[1] if len(columns) > 1 else None
    expected = Predictor(source, precision="fp32").predict_texts(columns[0], pairs)
    found = TextModel(folder).predict(columns[0], pairs)
    count, flips, difference, total = 0, 0, 0.0, 0.0
    labelled, right, right_found = 0, 0, 0
    for one, other, label in zip(expected, found, rows.labels, strict=True):
        if one is None:
            continue
        count += 1
        if one.probabilities:
            flips += one.predicted != other["prediction"]
            gaps = [abs(value - other[name]) for name, value in one.probabilities.items()]
        else:
            value = float(one.predicted)
            gaps = [abs(value - other["prediction"]) / max(1.0, abs(value))]
        # what is no number is as far away as can be
        largest = max(gap if gap == gap else float("inf") for gap in gaps)
        difference, total = max(difference, largest), total + largest
        if label is not None:
            labelled += 1
            right += one.predicted == label
            right_found += other["prediction"] == label
    return Parity(
        count,
        rows.split,
        difference,
        flips,
        total / max(1, count),
        (right / labelled, right_found / labelled) if labelled else None,
    )


def write_card(
    folder: Path, format: str, run: str, precision: str, parity: Parity, bounds: Bounds
) -> None:
    """Write README.md: what the folder holds, how it is asked, and how exact it is; and the same
    numbers for programs.
    """
    reading = read_inference_config(folder)
    known = json.loads((folder / RUNTIME_CONFIG_NAME).read_text("utf-8"))
    names = ", ".join(reading["label_names"])
    outputs = f"one for each of: {names}" if names else "the value"
    if (head := reading.get("head", "sequence")) != "sequence":
        outputs = f"those of the head `{head}` (see {READER_NAME}), for the labels {names}"
    used = _PACKAGES[format] if precision != "int8" else (*_PACKAGES[format], "nncf")
    packages = {name: version(name) for name in used}
    how = {
        "fp32": "fp32",
        "bf16": "weights in fp32, to be computed in bf16 (`INFERENCE_PRECISION_HINT=bf16`)",
        "int8": f"int8 by static quantisation, its scales fixed by "
        f"{format_quantity(known.get('calibration_texts', 0), 'text')} of "
        f"{known.get('calibration_source')}; the rest in fp32 (`INFERENCE_PRECISION_HINT=f32`)",
    }[precision]
    text = f"""# {TITLES[format]} of the model of {run}

`{known["file"]}`: {how}; tensors `input_ids`, `attention_mask` (and `token_type_ids` where the
tokenizer gives them) of any batch and length, int64; out comes `logits`, {outputs}.

    python {READER_NAME} "A text."

cleans and cuts texts as in training, and needs torch, transformers and the runtime. Texts have at
most {reading["max_tokens"]} tokens.

Compared with the model that it was made of, in fp32, on {parity.describe()}. Allowed was
{bounds.describe()}. Made with {", ".join(f"{name} {number}" for name, number in packages.items())}.
"""
    (folder / "README.md").write_text(text, encoding="utf-8")
    known |= {"parity": parity._asdict(), "bounds": bounds._asdict(), "packages": packages}
    (folder / RUNTIME_CONFIG_NAME).write_text(json.dumps(known, indent=2), encoding="utf-8")
