"""src.predict on OpenVINO: the model of a run, made once, or the folder of an export."""

import csv
import json
from pathlib import Path
from types import SimpleNamespace

import pytest

from src import predict
from src.pipeline.prediction.predictor import Predictor
from src.pipeline.runtimes import runtime_cache, runtime_formats
from src.pipeline.runtimes.parity_rows import ParityRows
from src.tracking.store import Store
from tests.pipeline.test_runtime_network import TEXTS
from tests.test_predict import make_model

ROWS = ParityRows([[text] for text in TEXTS], ["yes"] * len(TEXTS), "validation")


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The model of the only run that there is, whose data are ROWS."""
    folder = make_model(tmp_path, pairs=False)
    monkeypatch.setattr(Store, "find_run", lambda *_, **__: SimpleNamespace(id="0123456"))
    monkeypatch.setattr(Store, "fetch_model_folder", lambda *_, **__: folder)
    monkeypatch.setattr(Store, "load_config_yaml", lambda *_, **__: "{}")
    monkeypatch.setattr(runtime_formats, "read_validation_rows", lambda *_: ROWS)
    monkeypatch.setattr(runtime_formats, "sample_training_texts", lambda *_: ROWS.texts[:12])
    return folder


def test_a_run_is_asked_on_openvino(
    folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """All rows of a file in their order; the second time nothing is made."""
    pytest.importorskip("nncf")
    file = tmp_path / "texts.jsonl"
    texts = [*TEXTS, "", *TEXTS[::-1]]
    file.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts))
    typed = ["run=0123456", f"root={tmp_path}", "backend=openvino", "precision=int8"]
    assert predict.main([*typed, f"file={file}"]) == 0
    said = capsys.readouterr()
    assert "making the model of run 0123456 for OpenVINO, in int8" in said.err
    assert "compared with the model on 40 validation rows: largest difference" in said.err
    assert "80 answers in " in said.out and "(int8: an export for OpenVINO)" in said.out
    with open(f"{file}.predictions.csv", newline="", encoding="utf-8") as written:
        found = list(csv.DictReader(written))
    [kept] = (tmp_path / "mlruns" / "fetched" / "0123456" / "openvino").glob("*/runtime.json")
    expected = Predictor(kept.parent).predict_texts(texts)
    assert [row["prediction"] for row in found] == [
        "" if answer is None else answer.predicted for answer in expected
    ]
    assert [row["text"] for row in found] == texts
    assert predict.main([*typed, f"text={TEXTS[3]}"]) == 0
    said = capsys.readouterr()
    assert "making" not in said.err and "precision int8" in said.err
    assert expected[3] is not None and said.out.split()[0] == expected[3].predicted


def test_answers_that_would_not_be_exact_enough(
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    pytest.importorskip("openvino")
    bounds = runtime_formats.Bounds(0.0, 0.0, 9)
    monkeypatch.setattr("src.pipeline.runtimes.runtime_parity.read_bounds", lambda *_: bounds)
    typed = ["run=0123456", f"root={tmp_path}", "backend=openvino", "precision=bf16", "text=a film"]
    assert predict.main(typed) == 2
    said = capsys.readouterr().err
    assert "precision=bf16: the answers would not be exact enough: 40 validation rows: " in said
    assert "at most tolerance=0 is allowed in the mean; precision=fp32 is exact" in said
    assert not list((tmp_path / "mlruns").rglob("*.xml"))


def test_one_text_is_asked_in_fp32(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[str] = []

    def find(store: Store, typed: str, model: object, precision: str) -> object:
        asked.append(precision)
        return model

    monkeypatch.setattr(runtime_cache, "find_runtime_model", find)
    typed = ["run=0123456", f"root={tmp_path}", "backend=openvino"]
    assert predict.main([*typed, "text=a film"]) == 0
    file = tmp_path / "texts.jsonl"
    file.write_text('{"text": "a film"}\n')
    assert predict.main([*typed, f"file={file}"]) == 0
    assert asked == ["fp32", "auto"]


def test_a_folder_is_asked_without_a_store(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(Store, "find_run", None)
    [expected] = Predictor(folder, precision="fp32").predict_texts(TEXTS[:1])
    assert expected is not None
    assert predict.main([f"model={folder}", f"text={TEXTS[0]}", "precision=fp32"]) == 0
    assert capsys.readouterr().out.split()[0] == expected.predicted


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("model=HERE run=0123456", "run=0123456 does not go with model=FOLDER, which is asked as"),
        ("model=HERE backend=openvino", "backend=openvino does not go with model=FOLDER, which is"),
        ("model=HERE/no", "model=HERE/no: there is no such folder"),
        ("model=HERE", "HERE holds no palimpsest.json: it was not written by a run of this"),
        ("run=0123456 backend=onnx", "backend=onnx: expected one of torch, openvino"),
        ("run=0123456 precision=int8", "precision=int8 goes with backend=openvino"),
    ],
)
def test_mistakes(
    typed: str, message: str, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = typed.replace("HERE", str(tmp_path)).split()
    assert predict.main([*arguments, "text=a film"]) == 2
    assert message.replace("HERE", str(tmp_path)) in capsys.readouterr().err


def test_what_openvino_cannot_have(
    folder: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(runtime_formats, "find_spec", lambda name: name != "openvino" or None)
    typed = ["run=0123456", "backend=openvino", "text=a film"]
    assert predict.main(typed) == 2
    said = capsys.readouterr().err
    assert "backend=openvino needs the package openvino: pip install -e '.[openvino]'" in said
    described = folder / "palimpsest.json"
    changed = json.loads(described.read_text()) | {"task": "token_classification"}
    described.write_text(json.dumps(changed))
    assert predict.main(typed) == 2
    said = capsys.readouterr().err
    assert "backend=openvino: a model for token_classification is not exported to OpenVINO" in said
