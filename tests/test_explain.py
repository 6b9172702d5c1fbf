"""`python -m src.explain`: the answer is that of `src.predict`, and what is shown of it."""

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from src import explain
from src.evaluation.token_heat_map import format_score_bars, plot_heat_map, plot_heat_maps
from src.model.attributions import Gradients
from src.model.decision_rule import DecisionRule
from src.pipeline.explanation import Explainer, Explanation, Word
from src.pipeline.prediction.predictor import Predictor
from src.tracking.store import Store
from tests.test_predict import make_model

TEXT = "a very good film, long and bad"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_model(tmp_path_factory.mktemp("explained"), pairs=False)


def use(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "find_run", lambda *_, **__: SimpleNamespace(id="0123456"))
    monkeypatch.setattr(Store, "fetch_model_folder", lambda *_, **__: folder)
    monkeypatch.setattr(Store, "load_config_yaml", lambda *_, **__: "{}")


def load(folder: Path) -> Explainer:
    return Explainer(folder, json.loads((folder / "palimpsest.json").read_text("utf-8")))


@pytest.mark.parametrize(
    "settings",
    [
        {},
        {"pooling": "mean"},
        {"pooling": "attention"},
        {"head": "binary"},
        {"head": "ordinal", "names": ("bad", "fair", "good")},
        {"task": "multi_label"},
        {"task": "regression"},
    ],
)
def test_the_answer_is_that_of_predict(tmp_path: Path, settings: Any) -> None:
    folder = make_model(tmp_path, **settings)
    predictor = Predictor(folder, precision="fp32")
    [answer] = predictor.predict_texts([TEXT])
    assert answer is not None
    found = load(folder).explain(TEXT)
    assert found.is_complete or abs(found.gradients.difference) < 1e-3
    if not answer.probabilities:
        assert found.probability == pytest.approx(float(answer.predicted), rel=1e-3)
        assert found.faithfulness is None and found.answer == ""
        return
    assert found.probability == pytest.approx(max(answer.probabilities.values()), abs=1e-5)
    other = min(answer.probabilities, key=lambda name: answer.probabilities[name])
    asked = load(folder).explain(TEXT, label=other)
    assert (asked.answer, asked.probability) == (
        other,
        pytest.approx(answer.probabilities[other], abs=1e-5),
    )


def test_words_hold_their_tokens() -> None:
    found = Explanation(
        tokens=["[CLS]", "un", "like", "ly", "film"],
        is_special=[True, False, False, False, False],
        continues=[False, False, True, True, False],
        answer="bad",
        probability=0.9,
        gradients=Gradients(torch.tensor([0.0, 0.25, 0.5, 0.125, -0.5]), 0.375, 50),
        baseline="[MASK]",
        rollout=[0.5, 0.125, 0.125, 0.125, 0.125],
        faithfulness=None,
        chance=None,
    )
    assert found.words == [
        Word("[CLS]", 0.0, 0.5, True),
        Word("unlikely", 0.875, 0.375, False),
        Word("film", -0.5, 0.125, False),
    ]
    assert found.is_complete


def test_a_mask_is_explained(tmp_path: Path) -> None:
    folder = make_model(tmp_path, task="masked_lm")
    found = load(folder).explain("a [MASK] film")
    assert 0 < found.probability < 1 and found.faithfulness is not None
    assert found.words[0].text == "[CLS]"


@pytest.mark.parametrize("suffix", [".html", ".png", ".json"])
def test_the_files(
    suffix: str, model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    use(model, monkeypatch)
    file = tmp_path / f"why{suffix}"
    typed = ["run=0123456", f"text={TEXT}", f"output={file}"]
    assert explain.main(typed) == 0
    shown = capsys.readouterr().out
    assert "the parts add up to" in shown and "drawn by chance" in shown
    content = file.read_bytes()
    if suffix == ".png":
        assert content.startswith(b"\x89PNG")
    elif suffix == ".json":
        assert json.loads(content)["words"][1]["text"] == "a"
    else:
        assert b"very" in content and b"no reason for the answer" in content
        assert b"http" not in content
    assert explain.main(typed) == 2
    assert "overwrite=true replaces it" in capsys.readouterr().err


def test_what_predict_applies_and_an_explanation_does_not_is_said(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    folder = make_model(tmp_path, pairs=False)
    DecisionRule(temperature=2.0, fitted_on="the validation rows").write(folder)
    use(folder, monkeypatch)
    assert explain.main(["run=0123456", f"text={TEXT}"]) == 0
    assert (
        "left out here, where the plain outputs are explained: probabilities at temperature 2 "
        "(fitted on the validation rows)" in capsys.readouterr().err
    )


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        (["text=x"], "run: must be given, as run=ID"),
        (["run=0123456"], 'text: must be given, as text="..."'),
        (["run=0123456", "text=x", "output=why.pdf"], "a name that ends in .html, .png, .json"),
        (["run=0123456", "text=x", "label=maybe"], "there is no such label"),
        (["run=0123456", "text=x", "pair=y"], "this model judges single texts"),
        (["run=0123456", "text=x", "labels=no"], "did you mean"),
    ],
)
def test_mistakes(
    typed: list[str], message: str, model: Path, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    use(model, monkeypatch)
    assert explain.main(typed) == 2
    assert message in capsys.readouterr().err


def test_bars_are_as_long_as_the_scores_are_large() -> None:
    assert format_score_bars(["good", "bad"], [0.5, -0.25], [0, 1]) == [
        "  good    +0.5000  ++++++++++++++++++++++++",
        "  bad     -0.2500  ------------",
    ]
    assert format_score_bars(["none"], [0.0], [0]) == ["  none    +0.0000"]


def test_odd_tokens_are_drawn_as_they_are() -> None:
    tokens = ["$x^2$", "costs", "a\nb", "\udce9", "\U0001f60d", "\u4e2d\u6587", "x" * 120] * 4
    assert np.asarray(plot_heat_map("cost $5\n\ud800", tokens, [1.0, -0.5] * 14)).min() < 128
    assert plot_heat_map("", [], []).size > (1000, 0)


def test_a_token_is_coloured_by_its_share_of_the_strongest() -> None:
    picture = plot_heat_map("a title", ["good", "bad", "none"], [0.5, -0.25, 0.0])
    colours = {colour for _, colour in picture.getcolors(10_000) or []}
    assert {(33, 102, 172), (242, 176, 128), (255, 255, 255)} <= colours


def test_a_picture_shows_as_many_lines_of_a_text_as_it_may() -> None:
    text = ("a title", ["word"] * 400, [1.0] * 400)
    short, whole = plot_heat_maps([text]), plot_heat_maps([text], most_lines=None)
    assert short.size[1] < whole.size[1]
    assert short.size[0] == whole.size[0]
