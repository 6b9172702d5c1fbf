"""The program in a model folder that answers with torch and transformers alone gives the answers of
`src.predict`; MLflow serves the folder by it.
"""

import io
import json
import os
import signal
import socket
import subprocess
import sys
import time
import urllib.request
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest

from src.core.dataset_info import Task
from src.model.model_classes import HeadType
from src.model.stored_encoder import load_encoder
from src.pipeline.export import READER_NAME, add_reader
from src.pipeline.palimpsest_model import TextModel
from src.pipeline.prediction.mask_filler import MaskFiller
from src.pipeline.prediction.predictor import Predictor
from tests.test_predict import CLEANING, make_model

pytestmark = pytest.mark.long

TEXTS = [
    "a good film",
    " ",
    "a bad film, a very bad and long film",
    "<p>good &amp; bad</p><br />film",
    *(" ".join(["good", "bad", "film"][place % 3 :] * (1 + place)) for place in range(12)),
]
# modules of the project, and what it needs beyond torch and transformers
BLOCKED = "src lightning hydra omegaconf mlflow datasets torchmetrics optuna pandas palimpsest"


def ask_predictor(
    folder: Path, texts: Sequence[str], pairs: Sequence[str] | None = None
) -> list[dict[str, Any]]:
    """The answers of `src.predict`, in the form of the reader's."""
    predictor = Predictor(folder, precision="fp32")
    answers = []
    for answer in predictor.predict_texts(texts, pairs):
        if answer is None:
            answers.append({"prediction": None, **dict.fromkeys(predictor.label_names)})
        else:
            found = answer.predicted if predictor.label_names else float(answer.predicted)
            answers.append({"prediction": found, **answer.probabilities})
    return answers


def compare(found: list[dict[str, Any]], expected: list[dict[str, Any]]) -> None:
    """Equal labels, and probabilities that are equal but for rounding."""
    for one, other in zip(found, expected, strict=True):
        assert one.keys() == other.keys()
        for name, value in one.items():
            if isinstance(value, float):
                assert value == pytest.approx(other[name], abs=2e-4 if len(one) == 1 else 1e-5)
            else:
                assert value == other[name]


@pytest.mark.parametrize(
    ("task", "head", "names"),
    [
        ("classification", "sequence", ("no", "yes")),
        ("classification", "binary", ("no", "yes")),
        ("classification", "ordinal", ("bad", "ok", "good")),
        ("multi_label", "sequence", ("funny", "sad", "long")),
        ("regression", "sequence", ()),
    ],
)
def test_every_kind_of_answer(
    tmp_path: Path, task: Task, head: HeadType, names: tuple[str, ...]
) -> None:
    folder = make_model(tmp_path, task, head=head, names=names or ("no", "yes"))
    for pairs in (None, TEXTS[::-1]):
        expected = ask_predictor(folder, TEXTS, pairs)
        compare(TextModel(folder).predict(TEXTS, pairs), expected)
        assert expected[1]["prediction"] is None
        assert len({str(answer) for answer in expected}) > 5


@pytest.mark.parametrize("truncation", ["head", "tail", "head_tail"])
def test_texts_are_cut_as_in_training(tmp_path: Path, truncation: str) -> None:
    folder = make_model(tmp_path, truncation=truncation)
    for pairs in (None, TEXTS[::-1]):
        compare(TextModel(folder).predict(TEXTS, pairs), ask_predictor(folder, TEXTS, pairs))


def test_texts_are_cleaned_as_in_training(tmp_path: Path) -> None:
    cleaning = {**CLEANING, "html": True, "control_characters": "drop", "normal_form": "NFKC"}
    folder = make_model(tmp_path, cleaning=cleaning)
    odd = [*TEXTS, "<script>bad</script>goo\u200bd", "<!-- film -->", "\uff47ood <b>film</b>"]
    compare(TextModel(folder).predict(odd), ask_predictor(folder, odd))
    assert TextModel(folder).predict(odd)[-2]["prediction"] is None


@pytest.mark.parametrize("pooling", ["mean", "attention"])
def test_texts_are_pooled_as_in_training(tmp_path: Path, pooling: Any) -> None:
    folder = make_model(tmp_path, pooling=pooling)
    if pooling == "attention":
        encoder = load_encoder(folder, "sequence")
        encoder.network.attention_pooling.score.data.normal_(0, 3)
        encoder.save_pretrained(folder)
    expected = ask_predictor(folder, TEXTS)
    compare(TextModel(folder).predict(TEXTS), expected)
    # without it they would differ
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps({**config, "sentence_pooling": None}))
    with pytest.raises(AssertionError):
        compare(TextModel(folder).predict(TEXTS), expected)


def test_temperature_and_thresholds_of_the_folder_count(tmp_path: Path) -> None:
    """By hand: from the logits of both labels."""
    folder = make_model(tmp_path)
    plain = TextModel(folder).predict(TEXTS)
    rule = {"temperature": 2.0, "thresholds": [0.1, 0.9], "aim": "f1", "fitted_on": "validation"}
    (folder / "decision.json").write_text(json.dumps(rule))
    answers = TextModel(folder).predict(TEXTS)
    for before, after in zip(plain, answers, strict=True):
        if before["prediction"] is not None:
            odds = (before["yes"] / before["no"]) ** 0.5
            assert after["yes"] == pytest.approx(odds / (1 + odds), abs=1e-5)
            assert after["prediction"] == ("yes" if after["yes"] > 0.9 else "no")
    # of labels in an order: probabilities to the power 1/T, and their median
    steps = make_model(tmp_path / "steps", head="ordinal", names=("bad", "ok", "good"))
    plain = TextModel(steps).predict(TEXTS[:1])
    (steps / "decision.json").write_text(json.dumps({"temperature": 2.0, "thresholds": None}))
    [after] = TextModel(steps).predict(TEXTS[:1])
    powers = [plain[0][name] ** 0.5 for name in ("bad", "ok", "good")]
    expected = [power / sum(powers) for power in powers]
    assert [after[name] for name in ("bad", "ok", "good")] == pytest.approx(expected, abs=1e-5)
    assert add_reader(folder)
    metadata = json.loads((folder / "MLmodel").read_text())["metadata"]
    assert metadata == {"task": "classification", "label_names": ["no", "yes"], **rule}


def test_questions_that_a_model_has_not_learnt(tmp_path: Path) -> None:
    single = make_model(tmp_path / "single", pairs=False)
    with pytest.raises(ValueError, match="this model judges single texts"):
        TextModel(single).predict(["a"], ["b"])
    pairs = make_model(tmp_path / "pairs", pairs=True)
    with pytest.raises(ValueError, match="this model judges pairs of texts"):
        TextModel(pairs).predict(["a"])
    guesser = make_model(tmp_path / "guesser", "masked_lm")
    reading = json.loads((guesser / "palimpsest.json").read_text())
    (guesser / "palimpsest.json").write_text(json.dumps({**reading, "head": "replaced_tokens"}))
    assert not add_reader(guesser)
    with pytest.raises(
        ValueError, match=r"a model for masked_lm \(replaced_tokens\) gives no answ"
    ):
        TextModel(guesser)


def test_it_needs_torch_and_transformers_alone(tmp_path: Path) -> None:
    """Typed in the folder, elsewhere than the checkout, with all other modules blocked."""
    folder = make_model(tmp_path, pairs=True)
    code = (
        f"import sys, runpy\nfor name in {BLOCKED.split()!r}: sys.modules[name] = None\n"
        f"sys.argv = ['{READER_NAME}', 'a good film', 'a bad film']\n"
        f"runpy.run_path('{READER_NAME}', run_name='__main__')\n"
    )
    done = subprocess.run(
        [sys.executable, "-P", "-c", code],
        cwd=folder,
        env={**os.environ, "PYTHONPATH": ""},
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    expected = ask_predictor(folder, ["a good film"], ["a bad film"])
    compare([json.loads(done.stdout)], expected)


def test_mlflow_loads_the_folder(tmp_path: Path) -> None:
    with warnings.catch_warnings():
        # of its own type hints
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        import mlflow.pyfunc
    import pandas

    folder = make_model(tmp_path, pairs=False)
    path = list(sys.path)
    try:
        model = mlflow.pyfunc.load_model(str(folder))
        signature = model.metadata.signature
        assert signature.inputs.input_names() == ["text"]
        assert signature.outputs.input_names() == ["prediction", "no", "yes"]
        assert model.input_example.to_dict("list") == {"text": ["an example of a text"]}
        answers = model.predict(pandas.DataFrame({"text": TEXTS})).to_dict("records")
        compare(answers, ask_predictor(folder, TEXTS))
        with pytest.raises(Exception, match="Model is missing inputs"):
            model.predict(pandas.DataFrame({"texts": TEXTS}))
    finally:
        sys.path[:] = path
        sys.modules.pop("palimpsest_model", None)


MASKED = ["a [MASK] film", "no mask", "[MASK] and <mask> and [MASK]", " ", "good " * 20 + "[MASK]"]


@pytest.mark.parametrize("task", ["masked_lm", "token_classification"])
def test_lists_of_answers(tmp_path: Path, task: Task) -> None:
    """Fillings and entities: by the reader, and by MLflow, whose server answers in JSON."""
    names = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")
    own: dict[str, Any] = {"label_names": list(names)} if task != "masked_lm" else {}
    folder = make_model(tmp_path, task, names=names, **own)
    texts = MASKED if task == "masked_lm" else [*TEXTS, "a good film and a bad one, " * 9]
    expected = ask_for_lists(folder, texts)
    assert sum(bool(answer) for answer in expected) > 1 and None in expected
    [column] = {"fillings", "entities"} & TextModel(folder).predict(texts[:1])[0].keys()
    answers = TextModel(folder).predict(texts)
    compare_lists([answer[column] for answer in answers], expected)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*Any type hint is inferred as AnyType", UserWarning)
        import mlflow.pyfunc
    import pandas
    from mlflow.pyfunc.scoring_server import predictions_to_json

    path = list(sys.path)
    try:
        model = mlflow.pyfunc.load_model(str(folder))
        assert model.metadata.signature.outputs.input_names() == [column]
        assert model.metadata.metadata["label_names"] == list(own.get("label_names", ()))
        table = model.predict(pandas.DataFrame({"text": texts}))
        served = io.StringIO()
        predictions_to_json(table, served)
        found = json.loads(served.getvalue())["predictions"]
        compare_lists([answer[column] for answer in found], expected)
        # the example is one that the model can answer
        assert model.predict(model.input_example)[column][0] is not None
    finally:
        sys.path[:] = path
        sys.modules.pop("palimpsest_model", None)


def ask_for_lists(folder: Path, texts: Sequence[str]) -> list[Any]:
    """The answers of `src.predict`, in the form of the reader's."""
    reading = json.loads((folder / "palimpsest.json").read_text())
    if reading["task"] == "masked_lm":
        filled = MaskFiller(folder, reading).predict_texts(texts)
        return [one and [entry._asdict() for entry in one.fillings or ()] for one in filled]
    tagged = Predictor(folder, precision="fp32").predict_texts(texts)
    return [one and [entry._asdict() for entry in one.entities or ()] for one in tagged]


def compare_lists(found: list[Any], expected: list[Any]) -> None:
    for one, other in zip(found, expected, strict=True):
        assert (one is None) == (other is None)
        for answer, truth in zip(one or (), other or (), strict=True):
            assert answer == {
                name: pytest.approx(value, abs=1e-5) if isinstance(value, float) else value
                for name, value in truth.items()
            }


@pytest.mark.parametrize("has_pairs", [False, True])
def test_mlflow_serves_the_folder(tmp_path: Path, has_pairs: bool) -> None:
    """A real server on a free port of this machine."""
    folder = make_model(tmp_path, pairs=has_pairs)
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    environment = {
        **os.environ,
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": "",
        "MLFLOW_TRACKING_URI": f"sqlite:///{tmp_path}/mlflow.db",
        "MLFLOW_DISABLE_TELEMETRY": "true",
    }
    command = [sys.executable, "-m", "mlflow", "models", "serve", "-m", str(folder)]
    command += ["--env-manager", "local", "-h", "127.0.0.1", "-p", str(port), "-w", "1"]
    with (
        (tmp_path / "log").open("w") as log,
        subprocess.Popen(
            command,
            cwd=tmp_path,
            env=environment,
            stdout=log,
            stderr=log,
            # the server that it starts ends with it
            start_new_session=True,
        ) as server,
    ):
        try:
            address = f"http://127.0.0.1:{port}"
            _await_server(f"{address}/ping", server, tmp_path / "log")
            columns = {"text": [*TEXTS, None]} | ({"pair": [*TEXTS, "a"]} if has_pairs else {})
            cells = zip(*columns.values(), strict=True)
            rows = [dict(zip(columns, row, strict=True)) for row in cells]
            request = urllib.request.Request(
                f"{address}/invocations",
                json.dumps({"dataframe_records": rows}).encode(),
                {"Content-Type": "application/json"},
            )
            with urllib.request.urlopen(request, timeout=60) as response:
                answers = json.loads(response.read())["predictions"]
        finally:
            os.killpg(server.pid, signal.SIGTERM)
    expected = ask_predictor(folder, [*TEXTS, ""], [*TEXTS, "a"] if has_pairs else None)
    compare(answers, expected)


def _await_server(address: str, server: "subprocess.Popen[bytes]", log: Path) -> None:
    end = time.monotonic() + 240
    while time.monotonic() < end:
        assert server.poll() is None, log.read_text()
        try:
            with urllib.request.urlopen(address, timeout=5):
                return
        except OSError:
            time.sleep(0.3)
    pytest.fail(log.read_text())
