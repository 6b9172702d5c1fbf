"""The network of an export: in int8 an answer has the same bits whatever is beside it, and batches
have few shapes.
"""

import gc
import json
import os
import shutil
import subprocess
import sys
import threading
from ctypes import CDLL, create_string_buffer
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from src.core.files import PROJECT_ROOT
from src.core.user_errors import UserError
from src.model.decision_rule import DecisionRule
from src.pipeline.palimpsest_model import TextModel
from src.pipeline.palimpsest_runtime import RuntimeNetwork
from src.pipeline.prediction.predictor import Predictor
from src.pipeline.runtimes.runtime_formats import Calibration, write_runtime_folder
from tests.test_predict import make_model

TEXTS = [
    " ".join(["good", "bad", "film", "a"][place % 4 :] * (1 + place % 5)) for place in range(40)
]
SCALES = Calibration([[text] for text in TEXTS[:12]], "some texts")


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("source"), names=("bad", "ok", "good"))


@pytest.fixture(scope="module")
def folder(source: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """In int8."""
    pytest.importorskip("nncf")
    folder = tmp_path_factory.mktemp("int8")
    write_runtime_folder(source, folder, "openvino", SCALES.texts[:2], "int8", SCALES)
    return folder


def open_network(folder: Path) -> RuntimeNetwork:
    network: RuntimeNetwork = TextModel(folder).network
    return network


def test_an_answer_in_int8_has_the_same_bits_alone_and_in_any_batch(folder: Path) -> None:
    """Padded to lengths that the others have no say in, where these are longer too."""
    rows: list[dict[str, Any]] = TextModel(folder).encode([[text] for text in TEXTS])
    assert len({len(row["input_ids"]) for row in rows}) > 5
    network = open_network(folder)
    assert network.precision == "int8"
    alone = torch.cat([network.compute_logits([row]) for row in rows])
    assert len({str(row) for row in alone.tolist()}) > 10
    assert torch.equal(network.compute_logits(rows), alone)
    assert torch.equal(network.compute_logits(rows[::-1], 64).flip(0), alone)
    assert torch.equal(network.compute_logits(rows[3:20] + rows[:2])[:17], alone[3:20])


def test_the_same_folder_is_made_twice(source: Path, folder: Path, tmp_path: Path) -> None:
    write_runtime_folder(source, tmp_path, "openvino", SCALES.texts[:2], "int8", SCALES)
    assert Predictor(tmp_path).predict_texts(TEXTS) == Predictor(folder).predict_texts(TEXTS)
    known = json.loads((tmp_path / "runtime.json").read_text())
    assert known["precision"] == "int8" and known["calibration_texts"] == len(TEXTS[:12])


def test_products_are_in_int8(source: Path, folder: Path, tmp_path: Path) -> None:
    """Near the answers of the model, and not the same."""
    written = (folder / "openvino_model.xml").read_text()
    assert written.count('type="FakeQuantize"') >= 4
    expected = Predictor(source, precision="fp32").predict_texts(TEXTS)
    gaps = [
        abs(one.probabilities["ok"] - other.probabilities["ok"])
        for one, other in zip(expected, Predictor(folder).predict_texts(TEXTS), strict=True)
        if one is not None and other is not None
    ]
    assert 1e-4 < max(gaps) < 0.1


def test_batches_have_few_shapes_and_answers_their_order(folder: Path) -> None:
    """Of 2,000 rows of 1 to 61 tokens: 8 lengths, 4 numbers of rows, and no more tokens than
    allowed; the lengths of longer ones are farther apart.
    """
    network = open_network(folder)
    network.max_tokens = 61
    shapes: list[tuple[int, int]] = []

    def run(inputs: dict[str, np.ndarray]) -> np.ndarray:
        shapes.append(inputs["input_ids"].shape)
        assert all(content.shape == shapes[-1] for content in inputs.values())
        return inputs["attention_mask"].sum(1, keepdims=True).astype(np.float32)

    network._run = run
    lengths = np.random.default_rng(0).integers(1, 62, 2000)
    rows = [
        {"input_ids": np.ones(length, np.int64), "token_type_ids": np.zeros(length, np.int64)}
        for length in lengths
    ]
    done: list[int] = []
    for part in (rows, rows[:7], rows[:130], rows[:1]):
        found = network.compute_logits(part, 512, done.append)
        assert found[:, 0].tolist() == lengths[: len(part)].tolist()
    assert sum(done) == 2138
    # there may be no positions beyond the longest
    assert {length for _, length in shapes} == {8, 16, 24, 32, 40, 48, 56, 61}
    assert {count for count, _ in shapes} <= {1, 4, 16, 64}
    assert all(count * length <= 512 for count, length in shapes)
    padded = sum(count * length for count, length in shapes)
    assert padded < 1.25 * (lengths.sum() + lengths[:7].sum() + lengths[:130].sum() + lengths[0])
    shapes.clear()
    network.max_tokens = 512
    long = {name: np.resize(content, 300) for name, content in rows[0].items()}
    network.compute_logits([long] * 3)
    assert shapes == [(1, 320)] * 3


def test_a_runtime_has_as_many_threads_as_torch(
    folder: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    openvino = pytest.importorskip("openvino")
    given: list[dict[str, Any]] = []
    compile_model = openvino.compile_model

    def compile_noted(path: Path, device: str, settings: dict[str, Any]) -> Any:
        given.append(settings)
        return compile_model(path, device, settings)

    monkeypatch.setattr(openvino, "compile_model", compile_noted)
    monkeypatch.setattr(torch, "get_num_threads", lambda: 2)
    assert open_network(folder).precision == "int8"
    [settings] = given
    assert settings["INFERENCE_NUM_THREADS"] == 2
    assert settings["INFERENCE_PRECISION_HINT"] == "f32"


@pytest.mark.skipif(sys.platform != "linux", reason="OpenVINO replaces a signal stack on Linux")
def test_signals_keep_their_stack(source: Path, tmp_path: Path) -> None:
    """Whoever makes and frees networks: else the next signal after that ends the process."""
    pytest.importorskip("nncf")

    def read_stack() -> bytes:
        stack = create_string_buffer(24)
        CDLL(None).sigaltstack(None, stack)
        return stack.raw

    before = read_stack()
    write_runtime_folder(source, tmp_path, "openvino", SCALES.texts[:2], "int8", SCALES)
    assert read_stack() == before
    kept = [open_network(tmp_path)]
    assert read_stack() == before
    freeing = threading.Thread(target=kept.clear)
    freeing.start()
    freeing.join()
    gc.collect()
    assert read_stack() == before


def test_left_padding(folder: Path) -> None:
    network = open_network(folder)
    network._is_left = True
    row = {"input_ids": np.array([5, 6]), "token_type_ids": np.array([0, 1])}
    inputs = network._pad([row], 4)
    assert inputs["attention_mask"].tolist() == [[0, 0, 1, 1]]
    assert inputs["input_ids"][:, 2:].tolist() == [[5, 6]]


def test_temperature_and_thresholds_count(source: Path, folder: Path, tmp_path: Path) -> None:
    """By hand: of the exported folder as of the model's own."""
    answers = []
    for place in (source, folder):
        copy = Path(shutil.copytree(place, tmp_path / place.name))
        [plain] = Predictor(copy).predict_texts(TEXTS[:1])
        DecisionRule(temperature=3.0, thresholds=(0.1, 0.5, 0.5)).write(copy)
        [answer] = Predictor(copy).predict_texts(TEXTS[:1])
        assert answer is not None and plain is not None
        cooled = np.array(list(plain.probabilities.values())) ** (1 / 3)
        assert list(answer.probabilities.values()) == pytest.approx(cooled / cooled.sum(), abs=1e-3)
        answers.append(answer.predicted)
    assert answers[0] == answers[1]


def test_what_does_not_go_together(source: Path, folder: Path) -> None:
    with pytest.raises(UserError, match="precision=int8 goes with backend=openvino"):
        Predictor(source, precision="int8")
    with pytest.raises(UserError, match=r"precision=bf16: .* was exported in int8; leave it out"):
        Predictor(folder, precision="bf16")


def test_a_missing_runtime(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any) -> None:
        raise ModuleNotFoundError("no", name="openvino")

    monkeypatch.setattr("src.pipeline.prediction.predictor.RuntimeNetwork", fail)
    with pytest.raises(UserError, match=r"needs the package openvino: pip install -e '.\[openvino"):
        Predictor(folder)


IMPORTING = """
import os
from src.pipeline.palimpsest_runtime import import_openvino
import_openvino()
from openvino_telemetry import Telemetry
assert not Telemetry().consent and "CI" not in os.environ
assert os.listdir(os.path.expanduser("~")) == []
"""


def test_openvino_reports_nothing_to_its_makers(tmp_path: Path) -> None:
    """By itself it sends a report when it is imported, and keeps a number of the user's."""
    pytest.importorskip("openvino_telemetry")
    ci = {"CI", "NNCF_CI", "TF_BUILD", "JENKINS_URL"}
    environment = {name: value for name, value in os.environ.items() if name not in ci}
    subprocess.run(
        [sys.executable, "-c", IMPORTING],
        env={**environment, "HOME": str(tmp_path)},
        cwd=PROJECT_ROOT,
        check=True,
    )
