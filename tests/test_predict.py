"""A run's model asked on the command line."""

import csv
import io
import json
import os
import shutil
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any, ClassVar, Literal
from zipfile import ZipFile

import pytest
import torch
from transformers import (
    AutoModelForMaskedLM,
    AutoModelForSequenceClassification,
    AutoTokenizer,
    pipeline,
)

from src import predict
from src.core.dataset_info import DatasetInfo, Task
from src.core.formatting import to_override_text
from src.core.user_errors import UserError
from src.data.cache import ContentCache
from src.data.reading import archives
from src.data.reading.sources import Source
from src.data.tokenization.tokenizer import WordPiece
from src.model.decision_rule import DecisionRule
from src.model.encoder_config import Scratch
from src.model.model_classes import HeadType
from src.model.stored_encoder import load_encoder
from src.pipeline.export import save_model
from src.pipeline.prediction import predictor
from src.pipeline.prediction.mask_filler import MaskFiller
from src.pipeline.prediction.predictor import Predictor, TextPrediction
from src.tracking.store import Store

TEXTS = ["a good film", "a bad film, a very bad and long film", "", "good good good"]


CLEANING = {
    "breaks": True,
    "whitespace": True,
    "empty_text": "drop",
    "missing_label": "drop",
    "duplicates": "drop",
    "overlap": "drop",
}


def make_model(
    root: Path,
    task: Task = "classification",
    head: HeadType = "sequence",
    names: tuple[str, ...] = ("no", "yes"),
    pooling: Literal["first", "mean", "attention"] | None = None,
    **inference_config: object,
) -> Path:
    """A folder as a run leaves it, with random weights; texts are cut to 16 tokens."""
    torch.manual_seed(0)
    tokenizer = WordPiece(vocab_size=100, min_frequency=1).load_tokenizer(
        lambda: TEXTS, "tiny", ContentCache(root / "cache")
    )
    facts = DatasetInfo(
        vocab_size=tokenizer.vocab_size,
        pad_id=tokenizer.pad_id,
        mask_id=tokenizer.mask_id,
        special_ids=tokenizer.special_ids,
        max_tokens=16,
        label_names=names,
        batches_per_epoch=1,
        sample_tokens={},
    )
    encoder = Scratch(layers=1, width=16, heads=2, max_tokens=64, pooling=pooling).build(
        task if task in ("masked_lm", "token_classification") else head,
        facts,
        tuple(inference_config.get("label_names", ()))  # type: ignore[arg-type]
        or (names if task in ("classification", "multi_label") else ()),
        task=task,
    )
    with torch.no_grad():
        for parameter in encoder.parameters():
            # so that answers differ
            parameter.mul_(8)
    reading = {
        "task": task,
        "label_names": list(names) if task in ("classification", "multi_label") else [],
        "cleaning": CLEANING,
        "max_tokens": 16,
        "truncation": "head",
        **inference_config,
    }
    with save_model(encoder, tokenizer, reading) as folder:
        shutil.copytree(folder, root / "model")
    return root / "model"


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of single texts."""
    return make_model(tmp_path_factory.mktemp("model"), pairs=False)


@pytest.fixture(scope="module")
def pair_model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of pairs."""
    return make_model(tmp_path_factory.mktemp("model"), pairs=True)


class StoredRun:
    """What the store of these tests says of any run."""

    folder: Path
    source: ClassVar[dict[str, object]]


@pytest.fixture(autouse=True)
def run(model: Path, monkeypatch: pytest.MonkeyPatch) -> type[StoredRun]:
    StoredRun.folder, StoredRun.source = model, {}
    monkeypatch.setattr(Store, "find_run", lambda *_, **__: SimpleNamespace(id="0123456"))
    monkeypatch.setattr(Store, "fetch_model_folder", lambda *_, **__: StoredRun.folder)
    monkeypatch.setattr(Store, "load_config_yaml", lambda *_, **__: stored_config())
    return StoredRun


def stored_config() -> str:
    node = {"_target_": "src.data.reading.sources.Source", "label": "label", **StoredRun.source}
    return json.dumps({"data": {"source": node}})


def ask(file: Path | str, *arguments: str) -> list[dict[str, str]]:
    """The answers for a file, as a table."""
    output = "" if str(file) == "-" else f"{file}.predictions.csv"
    assert predict.main(["run=0123456", f"file={file}", "overwrite=true", *arguments]) == 0
    if not output:
        return []
    with open(output, newline="", encoding="utf-8") as written:
        return list(csv.DictReader(written))


def refuse(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    """The message with which a command is refused."""
    capsys.readouterr()
    assert predict.main(["run=0123456", *arguments]) == 2
    return capsys.readouterr().err


def predict_texts(predictor: Predictor, texts: Sequence[str]) -> list[TextPrediction]:
    """The answers for texts of which none is empty."""
    answers = predictor.predict_texts(texts)
    return [answer for answer in answers if answer is not None]


def test_answers_do_not_depend_on_their_neighbours(model: Path) -> None:
    texts = list(filter(None, TEXTS))
    together = predict_texts(Predictor(model, batch_tokens=12, precision="fp32"), texts)
    alone = [predict_texts(Predictor(model, precision="fp32"), [text])[0] for text in texts]
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
    assert None not in answers
    assert sum(done) == 30 and len(done) > 5
    for text, answer in zip(texts, answers, strict=True):
        assert answer is not None
        assert answer.probabilities == pytest.approx(
            predict_texts(asked, [text])[0].probabilities, abs=1e-6
        )
    assert asked.predict_texts([]) == []


def test_bf16_is_said_and_close(model: Path) -> None:
    plain, other = Predictor(model, precision="fp32"), Predictor(model, precision="bf16")
    assert (plain.precision_reason, other.precision_reason) == ("fp32: as asked", "bf16: as asked")
    assert Predictor(model).precision_reason.split(":")[0] in ("fp32", "bf16")
    for one, two in zip(predict_texts(plain, TEXTS), predict_texts(other, TEXTS), strict=True):
        assert one.probabilities == pytest.approx(two.probabilities, abs=0.02)


@pytest.mark.parametrize("truncation", ["head", "tail"])
@pytest.mark.parametrize("task", ["classification", "multi_label", "regression"])
def test_transformers_answers_the_same(tmp_path: Path, task: Task, truncation: str) -> None:
    folder = make_model(tmp_path, task, truncation=truncation)
    mine = Predictor(folder, precision="fp32")
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(folder)
    assert tokenizer.model_max_length == 16
    texts = [" ".join(["good", "bad", "film"][place % 3 :] * (1 + place)) for place in range(12)]
    found = []
    for pairs in (None, texts[::-1]):
        inputs = tokenizer(texts, pairs, truncation=True, padding=True, return_tensors="pt")
        logits = theirs(**inputs).logits.detach()
        expected = {
            "classification": logits.softmax(-1),
            "multi_label": logits.sigmoid(),
            "regression": logits,
        }[task]
        for answer, row in zip(mine.predict_texts(texts, pairs), expected.tolist(), strict=True):
            assert answer is not None
            outputs = list(answer.probabilities.values()) or [float(answer.predicted)]
            assert outputs == pytest.approx(row, abs=1e-5 if answer.probabilities else 1e-4)
            found.append(round(outputs[0], 4))
    assert len(set(found)) > 12


def test_transformers_answers_the_same_for_one_output(tmp_path: Path) -> None:
    """Its pipeline gives the probability of the second label, also where the first is likelier."""
    folder = make_model(tmp_path, head="binary")
    theirs = pipeline("text-classification", str(folder), device="cpu")
    assert (theirs.model.config.num_labels, theirs.model.config.id2label) == (1, {0: "yes"})
    texts = [text for text in TEXTS if text]
    answers = predict_texts(Predictor(folder, precision="fp32"), texts)
    for answer, found in zip(answers, theirs(texts), strict=True):
        assert list(answer.probabilities) == ["no", "yes"]
        assert sum(answer.probabilities.values()) == pytest.approx(1)
        assert found["label"] == "yes"
        assert found["score"] == pytest.approx(answer.probabilities["yes"], abs=1e-5)
        assert answer.predicted == ("yes" if found["score"] > 0.5 else "no")
    assert len({round(answer.probabilities["yes"], 4) for answer in answers}) > 1


@pytest.mark.parametrize("pooling", ["first", "mean", "attention"])
def test_a_folder_is_pooled_as_it_was_trained(tmp_path: Path, pooling: Any) -> None:
    """Against transformers' body and head, with the pooling between them by hand."""
    torch.manual_seed(1)
    folder = make_model(tmp_path, pooling=pooling)
    encoder = load_encoder(folder, "sequence")
    if pooling == "attention":
        # training moves it away from the plain mean
        encoder.network.attention_pooling.score.data.normal_(0, 3)
        encoder.save_pretrained(folder)
    theirs = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    inputs = AutoTokenizer.from_pretrained(folder)(TEXTS[0], return_tensors="pt")
    with torch.no_grad():
        states = theirs.bert(**inputs).last_hidden_state[0]
        weights = {
            "first": torch.eye(len(states))[0],
            "mean": torch.full((len(states),), 1 / len(states)),
            "attention": (states @ encoder.network.attention_pooling.score).softmax(0)
            if pooling == "attention"
            else None,
        }[pooling]
        pooled = theirs.bert.pooler((weights @ states)[None, None])
        expected = theirs.classifier(pooled)[0].softmax(-1).tolist()
        plain = theirs(**inputs).logits[0].softmax(-1).tolist()
    [answer] = predict_texts(Predictor(folder, precision="fp32"), TEXTS[:1])
    assert list(answer.probabilities.values()) == pytest.approx(expected, abs=1e-5)
    assert (expected == pytest.approx(plain, abs=1e-5)) == (pooling == "first")
    note = folder / "README.md"
    assert note.is_file() == (pooling != "first")
    if note.is_file():
        assert "which transformers' own BertForSequenceClassification does not do" in (
            note.read_text()
        )


def test_transformers_answers_with_the_steps_between_labels(tmp_path: Path) -> None:
    folder = make_model(tmp_path, head="ordinal", names=("bad", "ok", "good"))
    theirs = pipeline("text-classification", str(folder), device="cpu", top_k=None)
    texts = [text for text in TEXTS if text]
    answers = predict_texts(Predictor(folder, precision="fp32"), texts)
    for answer, found in zip(answers, theirs(texts), strict=True):
        steps = {one["label"]: one["score"] for one in found}
        ok, good = steps[">=ok"], steps[">=good if >=ok"]
        expected = {"bad": 1 - ok, "ok": ok * (1 - good), "good": ok * good}
        assert answer.probabilities == pytest.approx(expected, abs=1e-5)
        # the median
        assert answer.predicted == ("bad" if ok < 0.5 else "good" if ok * good > 0.5 else "ok")
    probabilities = [0.4, 0.25, 0.35]
    assert Predictor(folder)._build_prediction(probabilities).predicted == "ok"


def test_what_the_run_has_fitted_is_applied_and_can_be_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: type[StoredRun]
) -> None:
    run.folder = make_model(tmp_path)
    [plain] = predict_texts(Predictor(run.folder, precision="fp32"), TEXTS[:1])
    DecisionRule(temperature=2.0, thresholds=(0.99, 0.01), aim="f1").write(run.folder)
    [answer] = predict_texts(Predictor(run.folder, precision="fp32"), TEXTS[:1])
    odds = (one.probabilities["yes"] / one.probabilities["no"] for one in (plain, answer))
    assert next(odds) == pytest.approx(next(odds) ** 2, rel=1e-4)
    assert answer.predicted == "yes"
    without = Predictor(run.folder, precision="fp32", decision_rule=False)
    assert predict_texts(without, TEXTS[:1]) == [plain]
    assert predict.main(["run=0123456", f"text={TEXTS[0]}"]) == 0
    assert "probabilities at temperature 2; thresholds for f1: no 0.99" in capsys.readouterr().err
    assert predict.main(["run=0123456", f"text={TEXTS[0]}", "decision_rule=false"]) == 0
    assert "temperature" not in capsys.readouterr().err
    assert predict.main(["run=0123456", "text=a", "decision_rule=no"]) == 2


@pytest.mark.parametrize("size", [1e-6, 0.01, 1000.0])
def test_numbers_of_any_size_have_four_digits(tmp_path: Path, size: float) -> None:
    predictor = Predictor(make_model(tmp_path, "regression"), precision="fp32")
    layer = predictor.encoder.network.classifier
    with torch.no_grad():
        layer.weight.zero_()
        layer.bias.fill_(1.23449 * size)
    [answer] = predictor.predict_texts(["a good film"])
    assert answer is not None
    assert float(answer.predicted) == pytest.approx(1.23449 * size, rel=5e-4)


def test_a_text_may_have_several_labels_or_none(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], run: type[StoredRun]
) -> None:
    run.folder = make_model(tmp_path, "multi_label")
    outputs = [[0.4, 0.6], [0.7, 0.6], [0.5, 0.1]]
    predictor = Predictor(run.folder)
    assert [predictor._build_prediction(row).predicted for row in outputs] == ["yes", "no,yes", ""]
    path = put(tmp_path / "a.csv", "text,label\na good film,no\na bad film,no\n")
    [row, other] = ask(path)
    assert set(row) == {"row", "text", "label", "prediction", "no", "yes"}
    exact = sum(one["prediction"] == "no" for one in (row, other))
    said = capsys.readouterr().out
    assert f"exact match {exact / 2:.4f} ({exact} of 2 labelled rows), macro F1 " in said


def test_the_folder_follows_the_umask(tmp_path: Path) -> None:
    for umask, rights in ((0o022, (0o755, 0o644)), (0o007, (0o770, 0o660))):
        before = os.umask(umask)
        try:
            folder = make_model(tmp_path / str(umask))
        finally:
            os.umask(before)
        files = {file.stat().st_mode & 0o777 for file in folder.iterdir()}
        assert (folder.stat().st_mode & 0o777, files) == (rights[0], {rights[1]})


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


def test_texts_that_are_cut_are_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    cut = "1 text cut to 16 tokens, as in training (data.batching.max_tokens)"
    assert predict.main(["run=0123456", f"text={'a good film ' * 9}"]) == 0
    assert cut in capsys.readouterr().err
    assert predict.main(["run=0123456", "text=a good film"]) == 0
    assert "cut" not in capsys.readouterr().err
    path = tmp_path / "reviews.csv"
    path.write_text(f"review\n{'a bad film ' * 9}\nbad\n", encoding="utf-8")
    ask(path, "column=review")
    assert cut in capsys.readouterr().out


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
    texts = [text or "-" for text in TEXTS]
    expected = predict_texts(Predictor(model, precision="fp32"), texts)
    assert [row["prediction"] for row in rows] == [answer.predicted for answer in expected]
    assert [float(row["yes"]) for row in rows] == pytest.approx(
        [answer.probabilities["yes"] for answer in expected], abs=1e-6
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
            ["run=0123456", "text=a", "precision=fp16"],
            "precision=fp16: expected one of auto, fp32, bf16, int8",
        ),
        (
            ["model=runs:/0123456789abcdef0123456789abcdef/model", "text=a"],
            "there is no such folder; did you mean 'run=0123456789abcdef0123456789abcdef'?",
        ),
        (["model=models:/reviews/1", "text=a"], "asked by the run that made it, as run=ID"),
        (["run=0123456", "device=cpu"], "a GPU is taken where torch sees one; CUDA_VIS"),
        (["run=0123456", "input=a.csv"], "there is no option 'input'; did you mean 'file=a.csv'?"),
    ],
)
def test_mistakes(arguments: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert predict.main(arguments) == 2
    assert message in capsys.readouterr().err


def test_a_folder_is_no_run(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "config.json").write_text("{}")
    assert predict.main([f"run={tmp_path}", "text=a"]) == 2
    assert f"is a folder; did you mean 'model={tmp_path}'?" in capsys.readouterr().err


def test_a_pretraining_run_judges_nothing(
    model: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "palimpsest.json").write_text(json.dumps({"task": "masked_lm"}))
    with pytest.raises(UserError, match="judges nothing; fine-tune it first, with init_from=ID"):
        Predictor(tmp_path)


@pytest.mark.parametrize("changes", [{"head": "replaced_tokens"}, {"task": "denoising"}])
def test_a_discriminator_and_a_decoder_fill_no_masks(
    changes: dict[str, str],
    tmp_path: Path,
    run: type[StoredRun],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run.folder = make_model(tmp_path, "masked_lm")
    described = run.folder / "palimpsest.json"
    described.write_text(json.dumps(json.loads(described.read_text()) | changes))
    assert "it fills no masks and judges no texts; fine-tune it first" in refuse(
        capsys, "text=a [MASK] film"
    )


def test_a_pretraining_run_fills_masks(
    tmp_path: Path, run: type[StoredRun], capsys: pytest.CaptureFixture[str]
) -> None:
    run.folder = make_model(tmp_path, "masked_lm")
    theirs = AutoModelForMaskedLM.from_pretrained(run.folder).eval()
    tokenizer = AutoTokenizer.from_pretrained(run.folder)
    text = "a [MASK] film, a very [MASK] and long film"
    capsys.readouterr()
    assert predict.main(["run=0123456", f"text={text}"]) == 0
    said = capsys.readouterr().out.splitlines()
    assert (said[0], said[6], len(said)) == ("mask 1", "mask 2", 12)
    inputs = tokenizer(text, return_tensors="pt")
    places = inputs.input_ids[0] == tokenizer.mask_token_id
    best = theirs(**inputs).logits[0, places].softmax(-1).topk(5)
    tokens, probabilities = best.indices.flatten().tolist(), best.values.flatten().tolist()
    for line, token, probability in zip(
        [*said[1:6], *said[7:]], tokens, probabilities, strict=True
    ):
        assert line.split()[0] == tokenizer.decode([token])
        assert float(line.split()[1]) == pytest.approx(probability, abs=1e-4)
    # as other tokenizers write it
    assert predict.main(["run=0123456", "text=a <mask> film"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 5
    assert (
        "text: this run pretrained an encoder, which fills masks, and there is none in the text; "
        'the mask is [MASK], as in text="The film was [MASK]."' in refuse(capsys, "text=a film")
    )
    assert "a mask is lost where the text is cut to 16 tokens" in refuse(
        capsys, f"text={'good ' * 30} [MASK]"
    )
    pairs = ["text=a [MASK]", "pair=b"]
    assert "judges nothing; fine-tune it first" in refuse(capsys, *pairs)


def test_masks_of_a_file_are_filled(
    tmp_path: Path, run: type[StoredRun], capsys: pytest.CaptureFixture[str]
) -> None:
    """As one text after the other is filled."""
    from pyarrow.parquet import read_table

    run.folder = make_model(tmp_path, "masked_lm")
    texts = ["a <mask> film", "good", "a very [MASK] film, [MASK]", f"{'good ' * 30} [MASK]", ""]
    rows = "".join(f'{place},"{text}"\n' for place, text in enumerate(texts))
    path = put(tmp_path / "a.csv", f"id,text\n{rows}")
    assert predict.main(["run=0123456", f"file={path}", "batch_tokens=8"]) == 0
    said = capsys.readouterr().out
    assert "2 answers in " in said
    assert "3 rows without an answer: the text has no mask, or one beyond 16 tokens" in said
    written = Path(f"{path}.predictions.jsonl").read_text(encoding="utf-8")
    answers = [json.loads(line) for line in written.splitlines()]
    assert [answer["id"] for answer in answers] == list("01234")
    assert [answers[place]["fillings"] for place in (1, 3, 4)] == [None] * 3
    filler = MaskFiller(run.folder, json.loads((run.folder / "palimpsest.json").read_text()))
    for place in (0, 2):
        for found, expected in zip(
            answers[place]["fillings"], filler.fill_text(texts[place]), strict=True
        ):
            assert found == {
                **expected._asdict(),
                "probability": pytest.approx(found["probability"]),
            }
            assert found["probability"] == pytest.approx(expected.probability, abs=1e-6)
    assert [found["mask"] for found in answers[2]["fillings"]] == [1] * 5 + [2] * 5
    output = tmp_path / "a.parquet"
    assert predict.main(["run=0123456", f"file={path}", f"output={output}"]) == 0
    stored = read_table(output).to_pylist()
    assert stored[1]["fillings"] is None
    assert [found["token"] for found in stored[0]["fillings"]] == [
        found["token"] for found in answers[0]["fillings"]
    ]


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


# -- files are read as the run read its own


def put(path: Path, content: str, encoding: str = "utf-8") -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content.encode(encoding))
    return path


def test_a_table_without_a_header_is_read_as_in_training(
    tmp_path: Path, run: type[StoredRun], capsys: pytest.CaptureFixture[str]
) -> None:
    run.source = {"path": "/no/longer/here.tsv", "header": False, "text": 1, "label": 0}
    path = put(tmp_path / "a.tsv", "yes\ta good film\nno\ta bad film\n")
    rows = ask(path)
    assert [row["column_1"] for row in rows] == ["a good film", "a bad film"]
    assert list(rows[0]) == ["row", "column_0", "column_1", "prediction", "no", "yes"]
    said = capsys.readouterr()
    assert (
        "read as the run read its data: data.source.label=0 data.source.header=false "
        "data.source.text=1" in said.err
    )
    right = sum(row["prediction"] == row["column_0"] for row in rows)
    assert f"accuracy {right / 2:.4f} ({right} of 2 labelled rows)" in said.out


def test_labels_need_not_be_there(tmp_path: Path, run: type[StoredRun]) -> None:
    run.source = {"header": False, "text": 0, "label": 1}
    assert len(ask(put(tmp_path / "a.csv", "a good film\na bad film\n"))) == 2
    # where the texts stand now, the labels stood
    run.source = {"header": False, "text": 1, "label": 0}
    assert len(ask(put(tmp_path / "b.csv", "a good film\n"), "column=0")) == 1
    run.source = {"text": "review", "label": "stars"}
    assert len(ask(put(tmp_path / "c.csv", "id,review\n7,a good film\n"))) == 1
    run.source = {"text": "text", "label": "stars"}
    assert len(ask(put(tmp_path / "d.txt", "a good film\na bad film\n"))) == 2


@pytest.mark.parametrize(
    ("source", "name", "content", "encoding"),
    [
        ({"quoting": False}, "a.csv", 'text\n"good" he said\n', "utf-8"),
        ({"encoding": "cp1252"}, "a.csv", "text\nun film é\n", "cp1252"),
        ({"delimiter": "semicolon"}, "a.csv", "text;id\na good, bad film;7\n", "utf-8"),
        ({"format": "tsv", "path": "x.csv"}, "a.csv", "id\ttext\n7\ta good, bad film\n", "utf-8"),
        ({"quote": "single"}, "a.csv", "text,id\n'good, bad',7\n", "utf-8"),
        ({"document": "paragraph"}, "a.txt", "a good\nfilm\n\n", "utf-8"),
        ({"heading": "^= "}, "a.txt", "= good\nfilm\n\nbad\n", "utf-8"),
        ({"format": "label_first"}, "a.train", "yes a good film\n", "utf-8"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else "",
)
def test_every_option_of_the_run_counts(
    tmp_path: Path,
    run: type[StoredRun],
    source: dict[str, object],
    name: str,
    content: str,
    encoding: str,
) -> None:
    path = put(tmp_path / name, content, encoding)
    run.source = source
    [row] = ask(path)
    [record] = Source(**{**source, "path": str(path)}).read_records("train")  # type: ignore[arg-type]
    assert row["text"] == record.text
    # and all of them can be typed
    run.source = {}
    typed = [f"data.source.{key}={to_override_text(value)}" for key, value in source.items()]
    assert ask(path, *[text for text in typed if ".path=" not in text and "^" not in text]) != []


def test_what_is_typed_goes_before_what_the_run_has(
    tmp_path: Path, run: type[StoredRun], capsys: pytest.CaptureFixture[str]
) -> None:
    run.source = {"header": False, "text": 1, "delimiter": "semicolon", "encoding": "cp1252"}
    path = put(tmp_path / "a.csv", "review\té\na good film\t7\n")
    message = refuse(capsys, f"file={path}", "data.source.header=true", "column=review")
    assert "data.source.format=tsv" in message
    typed = ["data.source.header=true", "data.source.encoding=utf-8", "data.source.text=review"]
    [row] = ask(path, *typed, "data.source.format=tsv")
    assert (row["review"], row["é"]) == ("a good film", "7")
    # one in another format is not read by a table's options
    run.source = {"header": False, "text": 1, "path": "a.csv", "delimiter": "semicolon"}
    assert len(ask(put(tmp_path / "b.jsonl", '{"text": "a good film"}\n'))) == 1


def test_a_file_in_another_encoding_than_the_runs_is_told(
    tmp_path: Path, run: type[StoredRun], capsys: pytest.CaptureFixture[str]
) -> None:
    run.source = {"encoding": "cp1252"}
    note = "note: a.csv looks like UTF-8 and is read as the run's cp1252"
    path = put(tmp_path / "a.csv", "text\nun film é\n")
    ask(path)
    assert note in capsys.readouterr().err
    [row] = ask(path, "data.source.encoding=utf-8")
    assert row["text"] == "un film é" and note not in capsys.readouterr().err
    ask(put(path, "text\nun film é\n", "cp1252"))
    assert note not in capsys.readouterr().err


def test_options_of_the_source_that_are_wrong(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "a.csv", "text\ngood\n")
    for argument, message in {
        "data.source.heder=false": "data.source.heder: there is no such key; did you mean "
        "'header'?",
        "data.source.header=maybe": "data.source.header: expected true or false, found 'maybe'",
        "data.cleaning.breaks=true": "data.cleaning: there is no such key",
        "data.source=files": "data.source=files: expected data.source.KEY=VALUE",
        "data.source.text=a,b": "data.source.text=a,b: several values, expected one",
        "data.source.delimiter=;": "as a text it is typed 'data.source.delimiter=\";\"'",
        "column=txt": "column=txt: a.csv has no such column; did you mean 'text'? Columns: text",
        "data.source.label=stars": "data.source.label=stars: a.csv has no such column",
    }.items():
        assert message in refuse(capsys, f"file={path}", argument)
    assert "column= and data.source.text= are the same; give one of them" in refuse(
        capsys, f"file={path}", "data.source.text=a", "column=b"
    )
    assert ask(path, 'data.source.delimiter=";"') != []
    assert not list(tmp_path.glob("*.part*"))


def test_files_whatever_their_names_and_folders(
    tmp_path: Path, run: type[StoredRun], capsys: pytest.CaptureFixture[str]
) -> None:
    run.source = {"validation": "dev", "train": None}
    for name in ("test.csv", "dev.csv", "x.csv"):
        assert len(ask(put(tmp_path / "files" / name, "text\na good film\n"))) == 1
    folder = tmp_path / "folder"
    put(folder / "train.csv", "text\na bad film\n")
    put(folder / "dev.csv", "text\na good film\n")
    [row] = ask(folder)
    assert row["text"] == "a good film"
    run.source = {"validation": "dev"}
    assert f"{folder} has train and validation, and no test; split=train reads that one" in refuse(
        capsys, f"file={folder}", "overwrite=true"
    )
    [row] = ask(folder, "split=train")
    assert row["text"] == "a bad film"
    put(folder / "test.csv", "text\ngood good good\n")
    [row] = ask(folder)
    assert row["text"] == "good good good"
    assert "split=tset: " in refuse(capsys, f"file={folder}", "split=tset", "overwrite=true")


def test_answers_are_not_read_again(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Neither those of several files, which need a name, nor those of one of them."""
    for name in ("a.csv", "b.csv"):
        put(tmp_path / "texts" / name, "text\na good film\n")
    pattern = f"{tmp_path}/texts/*.csv"
    said = refuse(capsys, f"file={pattern}")
    assert f"file={pattern}: several files may match" in said and "output=answers.csv" in said
    for file in (pattern, f"{tmp_path}/**/*.csv", tmp_path / "texts"):
        said = refuse(capsys, f"file={file}", f"output={tmp_path}/texts/answers.csv")
        assert "and another call would read it; the answers need another folder" in said
    for _ in range(2):
        output = f"output={tmp_path}/answers.csv"
        words = ["run=0123456", f"file={pattern}", output, "overwrite=true"]
        assert predict.main(words) == 0
        assert len((tmp_path / "answers.csv").read_text().splitlines()) == 3
    ask(tmp_path / "texts" / "a.csv")
    said = refuse(capsys, f"file={pattern}", output, "overwrite=true")
    assert "a.csv.predictions.csv has answers, and matches too" in said


def test_folders_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    put(tmp_path / "a" / "no" / "1.txt", "a bad film")
    put(tmp_path / "a" / "yes" / "2.txt", "a good film")
    rows = ask(tmp_path / "a")
    assert [(row["file"], row["label"], row["text"]) for row in rows] == [
        ("no/1.txt", "no", "a bad film"),
        ("yes/2.txt", "yes", "a good film"),
    ]
    assert "of 2 labelled rows)" in capsys.readouterr().out
    # a test split alone is read
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "test")
    shutil.copytree(tmp_path / "a", tmp_path / "b" / "train")
    assert [row["file"] for row in ask(tmp_path / "b")] == ["test/no/1.txt", "test/yes/2.txt"]


def test_archives_are_called_as_they_were_typed(
    tmp_path: Path,
    run: type[StoredRun],
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(archives, "CACHE_ROOT", tmp_path / "cache")
    # positions of columns are of no use where these have names
    run.source = {"header": False, "text": 1, "label": 0}
    path = tmp_path / "a.zip"
    with ZipFile(path, "w") as archive:
        archive.writestr("b.csv", "text\na good film\n")
    [row] = ask(path, "data.source.header=true", "column=text")
    assert row["text"] == "a good film"
    with ZipFile(path, "a") as archive:
        archive.writestr("c.csv", "text\na good film\n")
    options = (f"file={path}", "data.source.header=true", "column=text", "overwrite=true")
    assert f"file={path}: no file carries the name of a split" in refuse(capsys, *options)


def test_the_first_word_of_a_plain_line_is_no_label(
    tmp_path: Path, run: type[StoredRun], capsys: pytest.CaptureFixture[str]
) -> None:
    run.source = {"format": "label_first"}
    path = put(tmp_path / "a.txt", "a good film\n")
    assert (
        "no line begins with a label of the model; data.source.format=text reads whole lines"
    ) in refuse(capsys, f"file={path}")
    [row] = ask(path, "data.source.format=text")
    assert row["text"] == "a good film"


def test_labels_that_the_model_does_not_know(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "a.csv", "text,label\na good film,maybe\n")
    ask(path)
    assert (
        "no accuracy: the label 'maybe' is none of the model's (data.source.label=null leaves "
        "labels alone)" in capsys.readouterr().out
    )
    ask(path, "data.source.label=null")
    assert "accuracy" not in capsys.readouterr().out


# -- what is written


def test_other_columns_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = put(tmp_path / "a.csv", 'id,text,yes,row\nx7,"a good, ""bad"" film",1,9\nx8,good,2,8\n')
    rows = ask(path)
    assert list(rows[0]) == ["row_2", "id", "text", "yes", "row", "prediction", "no", "yes_2"]
    assert [(row["row_2"], row["id"], row["text"], row["row"]) for row in rows] == [
        ("0", "x7", 'a good, "bad" film', "9"),
        ("1", "x8", "good", "8"),
    ]
    said = capsys.readouterr().err
    assert "the file has a column yes of its own: the model's is yes_2" in said
    assert "the file has a column row of its own: the model's is row_2" in said


def test_json_lines_keep_what_a_row_has(tmp_path: Path) -> None:
    lines = [
        {"id": 1, "text": "a good film", "more": {"a": [1, None]}},
        {"text": "", "late": True, "odd": "\ud800"},
    ]
    path = put(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    first, second = ask(path)
    assert list(first) == ["row", "id", "text", "more", "late", "odd", "prediction", "no", "yes"]
    assert (first["more"], first["late"], second["late"]) == ('{"a": [1, null]}', "", "true")
    assert predict.main(["run=0123456", f"file={path}", f"output={tmp_path}/b.jsonl"]) == 0
    first, second = map(json.loads, (tmp_path / "b.jsonl").read_text().splitlines())
    assert first.items() >= {**lines[0], "row": 0}.items()
    assert first["yes"] == pytest.approx(1 - first["no"], abs=1e-5)
    assert (second["prediction"], second["yes"], second["row"]) == (None, None, 1)


def test_parquet_keeps_every_type(tmp_path: Path) -> None:
    import datetime
    from decimal import Decimal

    import pyarrow
    from pyarrow.parquet import write_table

    row = {
        "text": "a good film",
        "day": datetime.date(2026, 1, 2),
        "price": Decimal("4.50"),
        "raw": b"\xff",
        "list": [1.5],
    }
    write_table(pyarrow.Table.from_pylist([row]), tmp_path / "a.parquet")
    [answer] = ask(tmp_path / "a.parquet")
    assert (answer["day"], answer["price"], answer["raw"]) == ("2026-01-02", "4.50", "\\xff")
    output = f"output={tmp_path}/b.jsonl"
    assert predict.main(["run=0123456", f"file={tmp_path}/a.parquet", output]) == 0
    answer = json.loads((tmp_path / "b.jsonl").read_text())
    assert (answer["list"], answer["day"]) == ([1.5], "2026-01-02")


def test_columns_of_other_shapes_are_kept(tmp_path: Path, run: type[StoredRun]) -> None:
    from openpyxl import Workbook

    book = Workbook()
    for row in (["id", "text"], ["x7", "a good film"]):
        book.active.append(row)
    book.save(tmp_path / "a.xlsx")
    assert [row["id"] for row in ask(tmp_path / "a.xlsx")] == ["x7"]
    run.source = {"columns": ["id", "text"]}
    assert [row["id"] for row in ask(put(tmp_path / "a.csv", "x7,good\nx8,bad\n"))] == ["x7", "x8"]
    run.source = {"text": ["title", "body"]}
    [row] = ask(put(tmp_path / "b.csv", "title,body\ngood,film\n"))
    assert (row["title"], row["body"]) == ("good", "film")
    run.source = {"template": "a {title} {body}"}
    path = put(tmp_path / "d.csv", "title,body,text\ngood,film,a good film\n")
    [joined], [plain] = ask(path), ask(path, "column=text")
    assert joined["yes"] == plain["yes"] and (joined["title"], joined["body"]) == ("good", "film")
    with ZipFile(tmp_path / "c.zip", "w") as archive:
        archive.writestr("train.csv", "text\nbad\n")
        archive.writestr("test.csv", "text\ngood\n")
    run.source = {}
    assert [row["text"] for row in ask(tmp_path / "c.zip")] == ["good"]


def test_empty_texts_get_no_answer_as_in_training(
    tmp_path: Path, model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert Predictor(model).predict_texts(["", "  ", "<br />"]) == [None] * 3
    path = put(tmp_path / "a.csv", 'id,text\n1,\n2,good\n3,"  "\n4,good\n')
    rows = ask(path)
    assert [bool(row["prediction"]) for row in rows] == [False, True, False, True]
    assert rows[0]["yes"] == "" and rows[1]["yes"] == rows[3]["yes"]
    said = capsys.readouterr().out
    assert f"2 answers in {path}.predictions.csv" in said
    assert "2 rows without an answer: the text is empty, and training leaves such rows out" in said
    assert "text is empty: expected a text" in refuse(capsys, "text= ")
    assert "nothing is left of the text" in refuse(capsys, "text=<br/>")


def test_nothing_is_overwritten_and_nothing_half_written_stays(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "a.csv", "text\ngood\n")
    output = put(tmp_path / "a.csv.predictions.csv", "mine")
    assert (
        f"output={output} is there already; overwrite=true replaces it, output=FILE takes another "
        "name" in refuse(capsys, f"file={path}")
    )
    assert output.read_text() == "mine"
    assert "found 'no'" not in refuse(capsys, f"file={path}", "overwrite=no")
    for suffix, message in {
        "b.xlsx": "expected a name that ends in .csv, .tsv, .jsonl or .parquet",
        "no/b.csv": f"there is no folder {tmp_path}/no",
        "a.csv": "is the file that is read; the answers need another name",
    }.items():
        assert message in refuse(capsys, f"file={path}", f"output={tmp_path / suffix}")
    # a row that cannot be read is found before the model is opened
    put(path, "text,id\ngood,1\nbad\n")
    monkeypatch.setattr(predict, "_load_predictor", lambda *_: pytest.fail("opened"))
    strict = [f"file={path}", "overwrite=true", "strict=true"]
    assert "a.csv, line 3: 1 columns" in refuse(capsys, *strict)
    assert sorted(file.name for file in tmp_path.iterdir()) == ["a.csv", output.name]


def test_a_row_that_cannot_be_read_does_not_stop_the_rest(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def read(name: str, content: str | bytes) -> tuple[list[dict[str, str]], str]:
        path = tmp_path / name
        path.write_bytes(content if isinstance(content, bytes) else content.encode())
        rows = ask(path)
        return rows, capsys.readouterr().err

    broken = '{"text": "good"}\n{"text": \n\n{"txt": "bad"}\n{"text": 5}\n"bad"\n{"text": "bad"}\n'
    rows, said = read("a.jsonl", broken)
    assert [bool(row["prediction"]) for row in rows] == [True, *[False] * 4, True]
    assert [row["row"] for row in rows] == list("012345")
    assert rows[1]["error"].startswith("a.jsonl, line 2: not valid JSON (Expecting value")
    assert rows[0]["error"] == "" and rows[5]["text"] == "bad"
    assert "3 rows cannot be read and get no answer (strict=true stops there):\n  row 1: " in said
    assert "note: a.jsonl: 1 row without 'text' (data.source.text)" in said
    assert "  row 3: a.jsonl, line 5: 'text' is 5 (int); expected a text" in said
    # the first line may be broken
    rows, _ = read("b.jsonl", '{"text"\n{"text": "good"}\n{"text": "bad"}\n{"text": "bad"}\n')
    assert [bool(row["prediction"]) for row in rows] == [False, True, True, True]

    # a quote that is never closed, too many cells, bytes of another encoding
    table = b'id,text\n1,good\n2,"bad\n3,good\n4,a,film\n5,caf\xe9\n6,"good ""film"""\n'
    rows, said = read("c.csv", table)
    assert [bool(row["prediction"]) for row in rows] == [True, False, True, False, False, True]
    assert [row["id"] for row in rows] == ["1", "", "3", "", "", "6"]
    assert "  row 1: c.csv, line 3: " in said and "  row 3: c.csv, line 5: 3 columns" in said
    assert "  row 4: c.csv, line 6: byte 0xe9 is not utf-8 (data.source.encoding=NAME)" in said
    rows, said = read("d.txt", b"good\nb\xe4d\nbad\0\nfilm\n")
    assert [row["text"] for row in rows] == ["good", "", "", "film"]
    assert "d.txt, line 3: a NUL character" in said


def test_a_file_without_one_readable_row_is_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "a.jsonl", '{"text": 5}\n{"text": 6}\n')
    assert "a.jsonl, line 1: 'text' is 5 (int)" in refuse(capsys, f"file={path}")
    path = put(tmp_path / "a.csv", "id,text\n1\n2\n")
    assert "a.csv, line 2: 1 columns, the header has 2" in refuse(capsys, f"file={path}")


def test_only_the_first_of_many_bad_rows_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = put(tmp_path / "a.csv", "id,text\n1,good\n" + "2\n" * 30)
    assert len(ask(path)) == 31
    heard = capsys.readouterr()
    assert "  row 10: " in heard.err and "  row 11: " not in heard.err
    assert "  and 20 more, in the column error" in heard.err
    assert "1 answer in " in heard.out and "30 rows that could not be read" in heard.out


def test_answers_as_parquet(tmp_path: Path) -> None:
    import datetime

    import pyarrow
    from pyarrow.parquet import read_table, write_table

    lines: list[dict[str, object]] = [
        {"id": 1, "text": "a good film", "more": {"a": [1, None]}, "mixed": 1, "empty": {}},
        {"id": 2.5, "text": "bad", "late": True, "mixed": "x", "half": "\ud800"},
    ]
    path = put(tmp_path / "a.jsonl", "".join(json.dumps(line) + "\n" for line in lines))
    assert predict.main(["run=0123456", f"file={path}", f"output={tmp_path}/a.parquet"]) == 0
    first, second = read_table(tmp_path / "a.parquet").to_pylist()
    assert (first["row"], first["id"], second["id"]) == (0, 1.0, 2.5)
    assert (first["more"], first["mixed"], second["mixed"]) == ({"a": [1, None]}, "1", "x")
    assert (first["empty"], second["half"], second["late"]) == ("{}", "\\ud800", True)
    assert first["yes"] == pytest.approx(1 - first["no"], abs=1e-5)
    # types of a Parquet file stay
    day = datetime.date(2026, 1, 2)
    table = pyarrow.table({"text": ["good"], "n": pyarrow.array([1], "int8"), "day": [day]})
    write_table(table, tmp_path / "b.parquet")
    output = tmp_path / "c.PARQUET"
    assert predict.main(["run=0123456", f"file={tmp_path}/b.parquet", f"output={output}"]) == 0
    schema = read_table(output).schema
    assert (schema.field("n").type, schema.field("day").type) == (pyarrow.int8(), pyarrow.date32())
    assert schema.names == ["row", "text", "n", "day", "prediction", "no", "yes"]


def test_a_failure_leaves_no_part_of_a_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = put(tmp_path / "a.csv", "text\ngood\n")

    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(Predictor, "predict_texts", fail)
    assert predict.main(["run=0123456", f"file={path}"]) == 130
    assert list(tmp_path.iterdir()) == [path]


def test_standard_input_and_output(
    run: type[StoredRun], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def type_in(text: str, *arguments: str) -> list[dict[str, str]]:
        monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(text.encode())))
        capsys.readouterr()
        assert predict.main(["run=0123456", "file=-", *arguments]) == 0
        return list(csv.DictReader(capsys.readouterr().out.splitlines()))

    assert [row["text"] for row in type_in("a good film\nbad\n")] == ["a good film", "bad"]
    assert [row["id"] for row in type_in("id,text\n7,good\n", "data.source.format=csv")] == ["7"]
    run.source = {"path": "/no/longer/here.tsv", "text": "review"}
    assert [row["id"] for row in type_in("id\treview\n7\tgood\n")] == ["7"]


def test_standard_input_in_another_format_than_the_runs(
    run: type[StoredRun], capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    run.source = {"path": "/no/longer/here.csv", "text": "review"}
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"a good film\nbad, very bad\n")))
    assert predict.main(["run=0123456", "file=-"]) == 2
    said = capsys.readouterr().err
    assert "the standard input is read as csv, like the run's own file" in said
    assert "data.source.format=text, jsonl or another" in said


# -- pairs


def test_a_model_of_pairs_is_asked_with_pairs(
    tmp_path: Path, run: type[StoredRun], pair_model: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run.folder, run.source = pair_model, {"text": "a", "pair": "b"}
    assert 'this model judges pairs of texts: expected pair="..." as well' in refuse(
        capsys, "text=a good film"
    )
    for blank in ("pair=", "pair= "):
        assert "pair is empty: expected a text" in refuse(capsys, "text=a good film", blank)
    assert predict.main(["run=0123456", "text=a good film", "pair=a bad film"]) == 0
    path = put(tmp_path / "a.csv", "a,b\ngood,bad\ngood, \n,bad\n")
    rows = ask(path)
    assert [(row["a"], row["b"], bool(row["prediction"])) for row in rows] == [
        ("good", "bad", True),
        ("good", " ", False),
        ("", "bad", False),
    ]
    assert "2 rows without an answer: the text or second text is empty" in capsys.readouterr().out
    plain = put(tmp_path / "a.txt", "a good film\n")
    assert "text files have no second text" in refuse(capsys, f"file={plain}")
    single = put(tmp_path / "b.csv", "a\ngood\n")
    assert "pair_column=b: b.csv has no such column" in refuse(capsys, f"file={single}")
    message = refuse(capsys, f"file={path}", "data.source.pair=null", "overwrite=true")
    assert "expected pair_column=NAME as well" in message


def test_a_model_of_single_texts_is_not_asked_with_pairs(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        "pair=a bad film: this model judges single texts, it has never seen a second one"
        in refuse(capsys, "text=a good film", "pair=a bad film")
    )
    path = put(tmp_path / "a.csv", "text,b\ngood,bad\n")
    assert "pair_column=b: this model judges single texts" in refuse(
        capsys, f"file={path}", "pair_column=b"
    )
    assert "pair_column=b goes with file=" in refuse(capsys, "text=good", "pair_column=b")
    assert "pair=bad goes with text=" in refuse(capsys, f"file={path}", "pair=bad")


def test_a_run_that_did_not_say_whether_it_read_pairs(
    tmp_path: Path,
    tmp_path_factory: pytest.TempPathFactory,
    run: type[StoredRun],
    capsys: pytest.CaptureFixture[str],
) -> None:
    run.folder, run.source = make_model(tmp_path), {"pair": "b"}
    assert "this model judges pairs" in refuse(capsys, "text=a good film")
    run.source = {}
    assert "this model judges single texts" in refuse(capsys, "text=good", "pair=bad")
    # a source of one's own may give pairs or not
    run.source = {"_target_": "mine.Rows"}
    assert predict.main(["run=0123456", "text=a good film"]) == 0
    assert predict.main(["run=0123456", "text=a good film", "pair=bad"]) == 0


# -- entities


@pytest.fixture
def entity_model(run: type[StoredRun], tmp_path: Path) -> type[StoredRun]:
    """A model that gives every word a tag."""
    names = ["O", "B-X", "I-X"]
    run.folder = make_model(
        tmp_path,
        "token_classification",
        label_names=names,
        cleaning=CLEANING | {"breaks": False, "whitespace": False},
    )
    return run


def test_entities_of_a_file_are_json_lines(
    entity_model: type[StoredRun], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.conll"
    file.write_text("a B-X\nbad O\nfilm O\n\ngood O\n", encoding="utf-8")
    entity_model.source = {"_target_": "src.data.reading.sources.Source", "label": "tags"}
    assert predict.main(["run=0123456", f"file={file}"]) == 0
    lines = (tmp_path / "a.conll.predictions.jsonl").read_text(encoding="utf-8").splitlines()
    first, second = map(json.loads, lines)
    assert {key: first[key] for key in ("row", "text", "tokens", "tags")} == {
        "row": 0,
        "text": "a bad film",
        "tokens": ["a", "bad", "film"],
        "tags": ["B-X", "O", "O"],
    }
    for row in (first, second):
        for entity in row["entities"]:
            assert list(entity) == ["start", "end", "text", "type", "score"]
            assert row["text"][entity["start"] : entity["end"]] == entity["text"]
    assert "2 answers in" in capsys.readouterr().out
    # on the standard output too
    assert predict.main(["run=0123456", f"file={file}", "output=-"]) == 0
    assert [json.loads(line) for line in capsys.readouterr().out.splitlines()] == [first, second]
    # it is there already
    assert predict.main(["run=0123456", f"file={file}"]) == 2
    assert "is there already" in capsys.readouterr().err


def test_entities_of_a_text(
    entity_model: type[StoredRun], capsys: pytest.CaptureFixture[str]
) -> None:
    assert predict.main(["run=0123456", "text=a bad film, a very bad and long film " * 3]) == 0
    for line in capsys.readouterr().out.splitlines():
        kind, place, score, *words = line.split()
        assert kind == "X" and 0 <= float(score) <= 1
        begin, end = map(int, place.split(":"))
        assert len(" ".join(words)) == end - begin
