"""A run's model asked on the command line."""

import csv
import json
import shutil
from pathlib import Path

import pytest
import torch

from src import predict
from src.core.dataset_info import DatasetInfo
from src.core.user_errors import UserError
from src.data.cache import ContentCache
from src.data.tokenizer import WordPiece
from src.model.encoder_config import Scratch
from src.pipeline import predictor
from src.pipeline.export import save_model
from src.pipeline.predictor import Predictor
from src.tracking.store import Store

TEXTS = ["a good film", "a bad film, a very bad and long film", "", "good good good"]


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder as a run leaves it, with random weights."""
    torch.manual_seed(0)
    root = tmp_path_factory.mktemp("model")
    tokenizer = WordPiece(vocab_size=100, min_frequency=1).load_tokenizer(
        lambda: TEXTS, "tiny", ContentCache(root / "cache")
    )
    facts = DatasetInfo(
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        max_tokens=16,
        label_names=("no", "yes"),
        batches_per_epoch=1,
        sample_tokens={},
    )
    encoder = Scratch(layers=1, width=16, heads=2, max_tokens=16).build(
        "sequence", facts, ("no", "yes")
    )
    cleaning = {
        "breaks": True,
        "whitespace": True,
        "empty_text": "drop",
        "missing_label": "drop",
        "duplicates": "keep",
        "overlap": "drop",
    }
    reading = {
        "task": "classification",
        "label_names": ["no", "yes"],
        "cleaning": cleaning,
        "max_tokens": 16,
        "truncation": "head",
    }
    with save_model(encoder, tokenizer, reading) as folder:
        shutil.copytree(folder, root / "model")
    return root / "model"


@pytest.fixture(autouse=True)
def _found(model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Store, "fetch_model_folder", lambda *_, **__: model)


def test_answers_do_not_depend_on_their_neighbours(model: Path) -> None:
    together = Predictor(model, batch_tokens=12, precision="fp32").predict_texts(TEXTS)
    alone = [Predictor(model, precision="fp32").predict_texts([text])[0] for text in TEXTS]
    for one, other in zip(together, alone, strict=True):
        assert one.predicted == other.predicted
        assert one.probabilities == pytest.approx(other.probabilities, abs=1e-6)
        assert sum(one.probabilities.values()) == pytest.approx(1)


def test_answers_come_in_order_whatever_the_batches(model: Path) -> None:
    texts = [
        " ".join(["good", "bad", "film"][place % 3 :] * (1 + place % 4)) for place in range(30)
    ]
    done: list[int] = []
    asked = Predictor(model, batch_tokens=32, precision="fp32")
    answers = asked.predict_texts(texts, on_batch_done=done.append)
    assert sum(done) == 30 and len(done) > 5
    for text, answer in zip(texts, answers, strict=True):
        assert answer.probabilities == pytest.approx(
            asked.predict_texts([text])[0].probabilities, abs=1e-6
        )
    assert asked.predict_texts([]) == []


def test_bf16_is_said_and_close(model: Path) -> None:
    plain, other = Predictor(model, precision="fp32"), Predictor(model, precision="bf16")
    assert (plain.precision_reason, other.precision_reason) == ("fp32: as asked", "bf16: as asked")
    assert Predictor(model).precision_reason.split(":")[0] in ("fp32", "bf16")
    for one, two in zip(plain.predict_texts(TEXTS), other.predict_texts(TEXTS), strict=True):
        assert one.probabilities == pytest.approx(two.probabilities, abs=0.02)


def test_texts_are_cleaned_as_in_training(model: Path) -> None:
    predictor = Predictor(model)
    assert predictor.predict_texts(["a  good<br />film"]) == predictor.predict_texts(
        ["a good film"]
    )


def test_one_text(capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main(["run=0123456", "text=A good film, isn't it? (yes=no)"]) == 0
    said, no, yes = capsys.readouterr().out.splitlines()
    assert said in ("no", "yes")
    assert (no.split()[0], yes.split()[0]) == ("no", "yes")


def test_a_file(tmp_path: Path, model: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # so that four texts take two
    monkeypatch.setattr(predictor, "MAX_TEXTS_PER_CALL", 3)
    path = tmp_path / "reviews.csv"
    with path.open("w", newline="") as sink:
        csv.writer(sink).writerows([["review"], *([text or "-"] for text in TEXTS)])
    assert (
        predict.main(
            ["run=0123456", f"file={path}", "column=review", "batch_tokens=8", "precision=fp32"]
        )
        == 0
    )
    rows = list(csv.DictReader((tmp_path / "reviews.csv.predictions.csv").read_text().splitlines()))
    assert [row["row"] for row in rows] == ["0", "1", "2", "3"]
    expected = Predictor(model, precision="fp32").predict_texts([text or "-" for text in TEXTS])
    assert [row["prediction"] for row in rows] == [answer.predicted for answer in expected]
    assert [float(row["yes"]) for row in rows] == pytest.approx(
        [each.probabilities["yes"] for each in expected], abs=1e-6
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ([], "run: must be given, as run=ID; `make ui` shows the ids"),
        (["run=0123456"], 'expected either text="..." or file=FILE'),
        (["run=0123456", "text=a", "file=b"], 'expected either text="..." or file=FILE'),
        (["run=0123456", "txt=a"], "txt=a: there is no option 'txt'; did you mean 'text'?"),
        (["a"], "'a' is not an option: expected key=value, with one of run, text"),
        (
            ["run=0123456", "text=a", "batch_tokens=0"],
            "batch_tokens=0: expected a whole number at least 1",
        ),
        (
            ["run=0123456", "text=a", "precision=int8"],
            "precision=int8: expected one of auto, fp32, bf16",
        ),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_pretraining_run_judges_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "palimpsest.json").write_text(json.dumps({"task": "masked_lm"}))
    with pytest.raises(UserError, match="judges nothing; fine-tune it first, with init_from=ID"):
        Predictor(tmp_path)


def test_asking_a_store_that_is_not_there_makes_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.undo()
    with pytest.raises(
        UserError,
        match=r"run='123456': there is no such run; no run has been kept yet in .*mlflow\.db",
    ):
        Store(root=str(tmp_path)).fetch_model_folder("123456", key="run")
    assert list(tmp_path.iterdir()) == []
