"""A run's model written for other programs."""

import json
import shutil
import sys
import warnings
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace

import pytest
import torch

from src import export, predict
from src.core.dataset_info import Task
from src.core.user_errors import UserError
from src.pipeline.earlier_model import EarlierModel
from src.pipeline.palimpsest_model import TextModel
from src.pipeline.prediction.predictor import Predictor
from src.pipeline.run import run
from src.pipeline.runtimes import runtime_formats
from src.pipeline.runtimes.parity_rows import (
    ParityRows,
    read_file_rows,
    read_validation_rows,
    sample_training_texts,
)
from src.pipeline.runtimes.runtime_formats import fill_runtime_folder, write_runtime_folder
from src.pipeline.runtimes.runtime_parity import Bounds, Parity, compare_with_model, read_bounds
from src.tracking.store import Store
from tests.test_predict import make_model
from tests.test_run import config

TEXTS = [
    ["a good film"],
    ["a bad film, a very bad and long film"],
    *([" ".join(["good", "bad", "film"][place % 3 :] * (1 + place))] for place in range(12)),
]
REVIEWS = ("data.source.train=40", "data.source.validation=20", "data.source.test=20")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "mlruns").mkdir()
    shutil.copy(blank_database, root / "mlruns" / "mlflow.db")
    return root


@pytest.fixture(scope="module")
def run_id(project: Path) -> str:
    """Of a small run that judges reviews."""
    names = ("++register=films", "++register_alias=best")
    overrides = ("+experiment=quickstart_scratch", "trainer.max_epochs=1", *REVIEWS, *names)
    return run(**config(project, *overrides)).run_id


def say(project: Path, *arguments: str) -> int:
    return export.main([*arguments, f"root={project}"])


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message with which a command is refused."""
    capsys.readouterr()
    assert export.main(arguments) == 2
    return capsys.readouterr().err


def load_answers(address: str, text: str) -> list[str]:
    """The columns of the answers of a model that MLflow loads."""
    with warnings.catch_warnings():
        # of MLflow's own type hints
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        import mlflow.pyfunc
    import pandas

    path = list(sys.path)
    try:
        answers = mlflow.pyfunc.load_model(address).predict(pandas.DataFrame({"text": [text]}))
    finally:
        sys.path[:] = path
        sys.modules.pop("palimpsest_model", None)
    return list(answers.columns)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
def test_a_run_for_another_runtime(
    project: Path, run_id: str, tmp_path: Path, format: str, capsys: pytest.CaptureFixture[str]
) -> None:
    pytest.importorskip("onnxscript" if format == "onnx" else format)
    pytest.importorskip("onnxruntime" if format == "onnx" else format)
    folder = tmp_path / "made"
    assert say(project, f"run={run_id}", f"format={format}", f"output={folder}", "rows=9") == 0
    said = capsys.readouterr().out
    assert f"the export is {folder}" in said
    assert "compared with the model on 9 validation rows: largest difference " in said
    assert "0 predictions changed, accuracy 0." in said
    card = (folder / "README.md").read_text()
    assert "9 validation rows" in card and "negative, positive" in card
    assert [path.name for path in tmp_path.iterdir()] == ["made"]
    assert not (folder / "model.safetensors").exists()
    assert (folder / "model.onnx").exists() == (format == "onnx")
    model = Store(root=str(project)).fetch_model_folder(run_id)
    [expected] = Predictor(model, precision="fp32").predict_texts(["a great film"])
    assert expected is not None
    [found] = TextModel(folder).predict(["a great film"])
    assert found.pop("prediction") == expected.predicted
    assert found == pytest.approx(expected.probabilities, abs=1e-5)


def test_a_run_in_int8(
    project: Path, run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The card and the JSON say what became of its answers; src.predict asks the folder."""
    pytest.importorskip("nncf")
    folder = tmp_path / "made"
    # a model that has seen 40 rows is sure of nothing
    typed = ["format=openvino", "precision=int8", f"output={folder}", "max_flips=0.5"]
    assert say(project, f"run={run_id}", *typed) == 0
    said = capsys.readouterr()
    assert "compared with the model on 20 validation rows: largest difference " in said.out
    assert "nncf" not in said.out.lower() + said.err.lower()
    known = json.loads((folder / "runtime.json").read_text())
    parity = known["parity"]
    assert (known["precision"], known["calibration_texts"], parity["rows"]) == ("int8", 40, 20)
    assert 0 < parity["mean_difference"] <= parity["difference"] < 0.1
    assert len(parity["accuracies"]) == 2 and known["packages"]["nncf"]
    card = (folder / "README.md").read_text()
    assert "its scales fixed by 40 texts of the run's training rows" in card
    assert (
        f"accuracy {parity['accuracies'][1]:.4f} instead of {parity['accuracies'][0]:.4f}" in card
    )
    assert predict.main([f"model={folder}", "text=a great film"]) == 0
    said = capsys.readouterr()
    assert said.out.split()[0] in ("negative", "positive") and "precision int8" in said.err
    assert predict.main([f"model={folder}", "text=a great film", "precision=fp32"]) == 2
    assert f"precision=fp32: {folder} was exported in int8" in capsys.readouterr().err


def test_a_registered_model_may_run_on_openvino(
    project: Path, run_id: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Beside the run's own model, which stays what it is."""
    pytest.importorskip("openvino")
    typed = ["format=mlflow", "precision=bf16", "register=fast", "rows=9", "max_flips=0.5"]
    assert say(project, f"run={run_id}", *typed) == 0
    said = capsys.readouterr().out
    assert "compared with the model on 9 validation rows: " in said
    assert "registered as fast, version 1" in said
    store = Store(root=str(project))
    client = store.open().client
    source = Path(client.get_model_version_download_uri("fast", "1").removeprefix("file://"))
    assert source.name.startswith("model_openvino_bf16_")
    assert (source / "openvino_model.xml").is_file()
    assert not (source / "model.safetensors").exists()
    assert "openvino==" in (source / "requirements.txt").read_text()
    assert not (store.fetch_model_folder(run_id) / "openvino_model.xml").exists()
    found = load_answers("models:/fast/1", "a great film")
    assert found == ["prediction", "negative", "positive"]


def test_onnx_is_asked_without_torch(tmp_path: Path) -> None:
    """By its own runtime and by hand, for one text, and for several of other lengths than those
    that it was traced with.
    """
    pytest.importorskip("onnxscript")
    onnxruntime = pytest.importorskip("onnxruntime")
    import numpy as np
    from transformers import AutoTokenizer

    source = make_model(tmp_path, names=("bad", "ok", "good"))
    (folder := tmp_path / "onnx").mkdir()
    write_runtime_folder(source, folder, "onnx", TEXTS[:2])
    session = onnxruntime.InferenceSession(folder / "model.onnx")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    for texts in (["good"], [text for [text] in TEXTS]):
        inputs = tokenizer(texts, padding=True, truncation=True, return_tensors="np")
        [logits] = session.run(["logits"], dict(inputs))
        odds = np.exp(logits)
        expected = Predictor(source, precision="fp32").predict_texts(texts)
        for row, answer in zip(odds / odds.sum(1, keepdims=True), expected, strict=True):
            assert answer is not None
            assert list(answer.probabilities.values()) == pytest.approx(row.tolist(), abs=1e-5)


@pytest.mark.parametrize("format", ["onnx", "openvino"])
@pytest.mark.parametrize("task", ["multi_label", "regression"])
def test_other_tasks_and_pairs(tmp_path: Path, task: Task, format: str) -> None:
    pytest.importorskip("onnxscript" if format == "onnx" else format)
    pytest.importorskip("onnxruntime" if format == "onnx" else format)
    source = make_model(tmp_path, task, pooling="mean", pairs=True)
    (folder := tmp_path / format).mkdir()
    pairs = [[*one, *other] for one, other in zip(TEXTS, TEXTS[::-1], strict=True)]
    write_runtime_folder(source, folder, format, pairs[:2])
    rows = [*pairs, ["", "a"]]
    parity = compare_with_model(source, folder, ParityRows(rows, [None] * len(rows), "validation"))
    assert parity.accuracies is None
    assert (parity.rows, parity.flips) == (len(pairs), 0)
    assert parity.difference < 1e-4


def test_an_export_that_differs_is_not_kept(
    project: Path,
    run_id: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """Its last bias is changed before it is written: probabilities of the wrong model."""
    pytest.importorskip("onnxscript")
    pytest.importorskip("onnxruntime")
    write = runtime_formats._write_onnx

    def write_tampered(model: TextModel, path: Path, texts: Sequence[Sequence[str]]) -> None:
        with torch.no_grad():
            model.network.classifier.bias += torch.tensor([3.0, -3.0])
        write(model, path, texts)

    monkeypatch.setattr(runtime_formats, "_write_onnx", write_tampered)
    typed = [f"run={run_id}", "format=onnx", f"output={tmp_path / 'made'}", "tolerance=0.01"]
    assert say(project, *typed) == 1
    said = capsys.readouterr().err
    assert "error: the export is not kept, it is not exact enough: 20 validation rows: " in said
    assert "; at most tolerance=0.01 is allowed" in said
    assert list(tmp_path.iterdir()) == []


def test_the_measure_of_parity(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By hand: an export whose probabilities of two labels are exchanged."""
    source = make_model(tmp_path)
    shutil.copytree(source, folder := tmp_path / "other")
    swapped = TextModel.predict

    def predict(self: TextModel, *texts: Sequence[str]) -> list[dict[str, object]]:
        answers = swapped(self, *texts)
        return [
            {
                "prediction": "yes" if one["prediction"] == "no" else "no",
                "no": one["yes"],
                "yes": one["no"],
            }
            for one in answers
        ]

    monkeypatch.setattr(TextModel, "predict", predict)
    labels = ["no", None, *["yes"] * (len(TEXTS) - 2)]
    parity = compare_with_model(source, folder, ParityRows(TEXTS, labels, "test"))
    texts = [text for [text] in TEXTS]
    answers = Predictor(source, precision="fp32").predict_texts(texts)
    gaps = [
        abs(answer.probabilities["no"] - answer.probabilities["yes"])
        for answer in answers
        if answer is not None
    ]
    assert parity.difference == pytest.approx(max(gaps), abs=1e-5)
    assert parity.mean_difference == pytest.approx(sum(gaps) / len(gaps), abs=1e-5)
    right = [
        answer.predicted == label
        for answer, label in zip(answers, labels, strict=True)
        if answer is not None and label is not None
    ]
    share = sum(right) / len(right)
    assert parity.accuracies == pytest.approx((share, 1 - share))
    assert (parity.rows, parity.flips) == (len(TEXTS), len(TEXTS))
    assert parity.describe().startswith(f"{len(TEXTS)} test rows: largest difference ")


def test_bounds_of_each_precision() -> None:
    """By hand: what is exact is judged by the largest difference, what is rounded by the mean and
    by the changed predictions.
    """
    untyped = {"rows": "", "tolerance": "", "max_flips": ""}
    exact, rounded = read_bounds("fp32", untyped), read_bounds("int8", untyped)
    assert (exact, rounded) == (Bounds(1e-4, None, 200), Bounds(0.03, 0.02, 1000))
    parity = Parity(100, "test", 0.2, 2, 0.01)
    assert exact.find_excess(parity) == "at most tolerance=0.0001 is allowed"
    assert exact.find_excess(parity._replace(difference=1e-4)) is None
    assert rounded.find_excess(parity) is None
    said = rounded.find_excess(parity._replace(flips=3))
    assert said == "at most max_flips=0.02 of the predictions may change"
    said = rounded.find_excess(parity._replace(mean_difference=float("inf")))
    assert said == "at most tolerance=0.03 is allowed in the mean"
    typed = {"rows": "7", "tolerance": "0", "max_flips": "0.5"}
    assert read_bounds("bf16", typed) == Bounds(0, 0.5, 7)


def test_a_run_registers_its_model(project: Path, run_id: str) -> None:
    store = Store(root=str(project))
    version = store.open().client.get_model_version_by_alias("films", "best")
    assert (str(version.version), version.run_id, version.status) == ("1", run_id, "READY")
    assert store.find_run(run_id).tags["registered_model"] == "films, version 1, alias best"
    assert load_answers("models:/films@best", "great") == ["prediction", "negative", "positive"]


def test_a_model_is_registered(
    project: Path, run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = Store(root=str(project))
    typed = [f"run={run_id}", "format=mlflow", "register=reviews", "alias=champion,b"]
    assert say(project, *typed) == 0
    said = capsys.readouterr().out
    assert "registered as reviews, version 1, alias champion, alias b" in said
    # which run is meant is said once
    assert say(project, "run=latest", "format=mlflow", "register=others") == 0
    assert capsys.readouterr().err.count("run=latest: run ") == 1
    assert "mlflow models serve -m models:/reviews@champion --env-manager local" in said
    client = store.open().client
    version = client.get_model_version_by_alias("reviews", "champion")
    assert (str(version.version), version.run_id, version.status) == ("1", run_id, "READY")
    source = Path(client.get_model_version_download_uri("reviews", "1").removeprefix("file://"))
    description = json.loads((source / "MLmodel").read_text())
    assert description["metadata"]["label_names"] == ["negative", "positive"]
    for address in (f"runs:/{run_id}/model", "models:/reviews@champion", "models:/reviews/1"):
        assert load_answers(address, "a great film") == ["prediction", "negative", "positive"]
    # a run of an earlier version left a folder without these files
    for name in ("MLmodel", "palimpsest_model.py"):
        (source / name).unlink()
    output = tmp_path / "copy"
    again = [f"run={run_id}", "format=mlflow", "register=reviews", "alias=b"]
    assert say(project, *again, f"output={output}") == 0
    assert (source / "MLmodel").is_file() and (output / "palimpsest_model.py").is_file()
    for alias, number in {"b": "2", "champion": "1"}.items():
        assert str(client.get_model_version_by_alias("reviews", alias).version) == number


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("register=a/b", "register=a/b holds / or :, which stand"),
        ("register=a alias=latest", "alias=latest is a name that MLflow keeps for itself"),
        ("register=a alias=v2", "alias=v2 is a name that MLflow keeps for itself"),
    ],
)
def test_names_that_mlflow_does_not_take(
    project: Path, run_id: str, typed: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    arguments = [f"run={run_id}", "format=mlflow", *typed.split(), f"root={project}"]
    assert message in refuse(capsys, *arguments)
    assert not Store(root=str(project)).open().client.search_registered_models("name = 'a'")


def test_a_copy_of_the_folder(
    project: Path, run_id: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = tmp_path / "copy"
    assert say(project, f"run={run_id[:8]}", "format=transformers", f"output={folder}") == 0
    said = capsys.readouterr().out
    assert f'python {folder / "palimpsest_model.py"} "A text." asks it' in said
    [answer] = TextModel(folder).predict(["a great film"])
    assert answer["prediction"] in ("negative", "positive")


def test_validation_rows_of_a_run(project: Path, run_id: str) -> None:
    plain = config(project, "+experiment=quickstart_scratch", *REVIEWS)
    model = EarlierModel(Path("none"), {}, plain, "0")
    rows = read_validation_rows(model, 7)
    assert (len(rows.texts), rows.split) == (7, "validation")
    assert all(len(row) == 1 for row in rows.texts) and rows.labels == [None] * 7
    assert len(read_validation_rows(model, 100).texts) == 20
    judged = read_validation_rows(model._replace(inference_config={"task": "classification"}), 100)
    assert set(judged.labels) == {"negative", "positive"}
    texts = sample_training_texts(model, 5)
    assert sample_training_texts(model, 100)[::8] == texts and len(texts) == 5


def test_rows_of_a_file_where_the_data_of_a_run_are_gone(tmp_path: Path) -> None:
    file = tmp_path / "texts.jsonl"
    file.write_text("".join(json.dumps({"text": f"row {place}"}) + "\n" for place in range(6)))
    model = EarlierModel(tmp_path, {"task": "classification", "label_names": ["a"]}, {}, "0")
    texts, others = read_file_rows(model, file, 3, 2)
    assert texts == [["row 0"], ["row 2"], ["row 4"]]
    assert others == ParityRows([["row 1"], ["row 3"]], [None, None], "texts.jsonl")
    bounds = Bounds(0.1, 0.1, 9)
    with pytest.raises(UserError, match=r"calibration=FILE takes texts of a file instead"):
        fill_runtime_folder(model, tmp_path, "openvino", "int8", run="r", bounds=bounds)
    with pytest.raises(UserError, match=r"texts.jsonl has 6 rows, which fix the scales of int8"):
        fill_runtime_folder(
            model, tmp_path, "openvino", "int8", run="r", bounds=bounds, calibration=file
        )


def test_models_that_have_no_such_form(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = make_model(tmp_path, "masked_lm")
    monkeypatch.setattr(Store, "find_run", lambda *_, **__: SimpleNamespace(id="0123456"))
    monkeypatch.setattr(Store, "fetch_model_folder", lambda *_, **__: folder)
    monkeypatch.setattr(Store, "load_config_yaml", lambda *_, **__: "{}")
    expected = "expected a run that judges whole texts"
    for name in ("onnx", "openvino"):
        said = refuse(capsys, "run=0123456", f"format={name}", f"output={tmp_path / 'made'}")
        assert f"format={name}: a model for masked_lm is " in said and expected in said
    reading = json.loads((folder / "palimpsest.json").read_text())
    (folder / "palimpsest.json").write_text(json.dumps({**reading, "task": "causal_lm"}))
    said = refuse(capsys, "run=0123456", "format=mlflow", f"output={tmp_path / 'made'}")
    assert "format=mlflow: a model for causal_lm is no model of MLflow: expected a run that" in said
    assert not (tmp_path / "made").exists()
    monkeypatch.setattr(runtime_formats, "find_spec", lambda name: None)
    shutil.rmtree(folder)
    make_model(tmp_path)
    said = refuse(capsys, "run=0123456", "format=onnx", f"output={tmp_path / 'made'}")
    assert "format=onnx needs the package onnx: pip install -e '.[onnx]'" in said
    monkeypatch.setattr(runtime_formats, "find_spec", lambda name: name != "nncf" or None)
    typed = ["format=openvino", "precision=int8", f"output={tmp_path / 'made'}"]
    said = refuse(capsys, "run=0123456", *typed)
    assert "format=openvino needs the package nncf: pip install -e '.[openvino]'" in said


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ("format=onnx", "run: must be given, as run=ID"),
        ("run=0123456", "format: must be given, as format=transformers|mlflow|onnx|openvino"),
        ("run=0123456 format=onnx", "output: must be given, as output=FOLDER\n"),
        ("run=0123456 format=mlflow", "output: must be given, as output=FOLDER, or register=NAME"),
        ("run=0123456 format=onnx register=a", "register=a goes with format=mlflow"),
        (
            "run=0123456 format=mlflow rows=9 output=x",
            "rows=9 goes with format=onnx or format=openvino",
        ),
        ("run=0123456 format=mlflow alias=a output=x", "alias=a goes with register=NAME"),
        (
            "run=0123456 format=mlflow precision=int4 output=x",
            "precision=int4: expected one of fp32, bf16, int8",
        ),
        ("run=0123456 format=onnx output=HERE", "output=HERE is there already; give a new name"),
        ("run=0123456 format=onnx output=HERE/no/x", "there is no folder HERE/no"),
        ("run=0123456 format=onnx output=HERE/x rows=0", "rows=0: expected a whole number at"),
        ("run=0123456 format=onnx output=HERE/x tolerance=a", "tolerance=a: expected a number"),
        (
            "run=0123456 format=onnx output=HERE/x precision=int8",
            "precision=int8: onnxruntime's dynamic int8 makes an answer depend on the texts",
        ),
        (
            "run=0123456 format=onnx output=HERE/x precision=bf16",
            "precision=bf16: onnxruntime computes nothing in bf16 on a CPU; "
            "format=openvino precision=bf16, or precision=fp32",
        ),
        (
            "run=0123456 format=openvino output=HERE/x precision=fp16",
            "precision=fp16: expected one of fp32, bf16, int8",
        ),
        (
            "run=0123456 format=openvino output=HERE/x max_flips=0.1",
            "max_flips=0.1 goes with precision=bf16 or precision=int8; in fp32 no prediction",
        ),
        (
            "run=0123456 format=openvino output=HERE/x calibration=a.csv",
            "calibration=a.csv goes with precision=int8",
        ),
        (
            "run=0123456 format=openvino precision=int8 output=HERE/x calibration=HERE/a.csv",
            "calibration=HERE/a.csv: ",
        ),
    ],
)
def test_mistakes(
    arguments: str, message: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    typed = arguments.replace("HERE", str(tmp_path)).split()
    assert message.replace("HERE", str(tmp_path)) in refuse(capsys, *typed)
