"""`python -m src.audit`: groups, pairs of sentences and membership, from the command line."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from src import audit
from src.model.decision_rule import DecisionRule
from src.pipeline.prediction.predictor import Predictor
from src.tracking.store import Store
from tests.test_predict import make_model

ROWS = [
    ("a good film", "yes", "women", "1"),
    ("a bad film", "no", "men", "1"),
    ("a very bad film", "no", "women", "2"),
    ("a good and long film", "yes", "men", "2"),
]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("audited"), pairs=False)


@pytest.fixture
def table(tmp_path: Path) -> Path:
    lines = ["text,label,who,template", *(",".join(row) for row in ROWS * 6)]
    (tmp_path / "rows.csv").write_text("\n".join(lines), encoding="utf-8")
    return tmp_path / "rows.csv"


def use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = {"_target_": "src.data.reading.sources.Source", "text": "text", "label": "label"}
    config = json.dumps({"data": {"source": source}})
    monkeypatch.setattr(Store, "find_run", lambda *_, **__: SimpleNamespace(id="0123456"))
    monkeypatch.setattr(Store, "fetch_model_folder", lambda *_, **__: folder)
    monkeypatch.setattr(Store, "load_config_yaml", lambda *_, **__: config)


def test_groups_of_a_table(
    model: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    use(model, monkeypatch)
    output = table.with_suffix(".json")
    typed = ["run=0123456", f"file={table}", "group=who", "template=template", f"output={output}"]
    assert audit.main(typed) == 0
    shown = capsys.readouterr().out
    answers = Predictor(model, precision="fp32").predict_texts([row[0] for row in ROWS])
    given = [answer.predicted if answer else "" for answer in answers]
    found = json.loads(output.read_text(encoding="utf-8"))
    assert found["label"] == "yes" and found["rows"] == 24
    for rate in found["rates"]["share answered 'yes'"]:
        mine = [answer for answer, row in zip(given, ROWS, strict=True) if row[2] == rate["group"]]
        assert rate["hits"] == 6 * mine.count("yes") and rate["rows"] == 12
    for rate in found["rates"]["accuracy"]:
        right = [a == r[1] for a, r in zip(given, ROWS, strict=True) if r[2] == rate["group"]]
        assert rate["hits"] == 6 * sum(right)
    assert "largest gap in share answered 'yes': " in shown
    assert found["templates"]["templates"] == 2


def test_what_the_run_has_fitted_is_applied_and_said(
    tmp_path: Path, table: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    model = make_model(tmp_path, pairs=False)
    DecisionRule(temperature=2.0, thresholds=(0.999999, 0.000001), aim="f1").write(model)
    use(model, monkeypatch)
    typed = ["run=0123456", f"file={table}", "group=who"]
    assert audit.main(typed) == 0
    shown = capsys.readouterr()
    assert "probabilities at temperature 2; thresholds for f1: no 1, yes 1e-06" in shown.err
    assert "decision_rule=false answers without" in shown.err
    # nothing but yes is answered
    assert "12 of 12" in shown.out
    assert audit.main([*typed, "decision_rule=false"]) == 0
    assert "temperature" not in capsys.readouterr().err
    assert audit.main([*typed, "decision_rule=no"]) == 2


def test_pairs_of_sentences(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    use(make_model(tmp_path / "model", task="masked_lm"), monkeypatch)
    file = tmp_path / "pairs.csv"
    file.write_text(
        "one,other,kind\na good film,a bad film,film\na good film,a good film,same\n",
        encoding="utf-8",
    )
    typed = ["run=0123456", f"file={file}", "first=one", "second=other", "group=kind"]
    assert audit.main(typed) == 0
    shown = capsys.readouterr().out
    assert "1 pair of equal likelihood left out" in shown
    assert "film  " in shown and "of 1" in shown and "same" not in shown
    assert audit.main([*typed[:2], "first=on", "second=other"]) == 2
    assert "first=on: pairs.csv has no such column" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["file=x"], "run: must be given, as run=ID"),
        (["run=0123456"], "expected file=FILE group=COLUMN"),
        (["run=0123456", "membership=true", "group=who"], "leave group= out"),
        (["run=0123456", "file=x", "first=a"], "first= and second= go together"),
        (["run=0123456", "file=x", "first=a", "template=t", "second=b"], "template=t goes with"),
        (["run=0123456", "file=rows.csv", "group=whom"], "did you mean 'who'?"),
        (["run=0123456", "file=rows.csv", "group=who", "label=maybe"], "there is no such label"),
        (["run=0123456", "file=rows.csv", "first=text", "second=who"], "this run judges texts"),
    ],
)
def test_mistakes(
    typed: list[str],
    message: str,
    model: Path,
    table: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    use(model, monkeypatch)
    monkeypatch.chdir(table.parent)
    assert audit.main(typed) == 2
    assert message in capsys.readouterr().err
