"""What a run says and records of its head, of undefined metrics and of the checkpoint tested."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.config.compose import to_plain_config
from src.core.user_errors import UserError
from src.pipeline.run import RunOutcome, run
from src.tracking.store import Store
from tests.labelled import CONF, project_of

BASE = (
    "data=files",
    "data.batching.batch_size=8",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.threads=1",
    "trainer.max_epochs=1",
    "callbacks.progress.style=off",
    "tracking.system_metrics=false",
)
FRESH = (
    "data/tokenizer=wordpiece",
    "model/encoder=tiny",
    "model.encoder.layers=1",
    "model.optim.lr=1e-2",
)
WORDS = ("bad", "good")
SCORES = {"train": [1, 2, 3, 5, 4, 2, 1, 5] * 2, "validation": [4] * 4, "test": [1, 2, 5, 3]}


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    root = project_of(tmp_path_factory.mktemp("project"), blank_database)
    (root / "scores").mkdir()
    for split, scores in SCORES.items():
        rows = [f"{split} {'word ' * score}{place},{score}\n" for place, score in enumerate(scores)]
        (root / "scores" / f"{split}.csv").write_text("text,score\n" + "".join(rows))
    return root


@pytest.fixture(scope="module")
def store(project: Path) -> Store:
    return Store(root=str(project))


def start(project: Path, *overrides: str, data: str = "rows", **arguments: Any) -> RunOutcome:
    GlobalHydra.instance().clear()
    places = (
        f"data.source.path={project}/{data}",
        f"tracking.root={project}",
        f"data.cache={project}/.cache",
    )
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = to_plain_config(compose("config", [*BASE, *overrides, *places]))
    return run(**(config | arguments))


def start_from(project: Path, folder: Path | str, *overrides: str, **arguments: Any) -> RunOutcome:
    """A run that takes an encoder and changes nothing of it."""
    return start(
        project,
        "data/tokenizer=pretrained",
        "model/encoder=pretrained",
        f"data.tokenizer.name_or_path={folder}",
        f"model.encoder.name_or_path={folder}",
        "trainer.max_epochs=null",
        "trainer.max_steps=1",
        "model.optim.lr=1e-9",
        *overrides,
        **arguments,
    )


@pytest.fixture(scope="module")
def classifier(project: Path) -> RunOutcome:
    """Has learnt to tell 1 (good) from 0 (bad)."""
    return start(project, *FRESH, "trainer.max_epochs=10")


def read_table(store: Store, run_id: str, name: str = "predictions") -> dict[str, list[Any]]:
    path = store.open().client.download_artifacts(run_id, f"report/{name}.json")
    content = json.loads(Path(path).read_text(encoding="utf-8"))
    return dict(zip(content["columns"], map(list, zip(*content["data"], strict=True)), strict=True))


@pytest.mark.parametrize("is_init", [True, False], ids=["init_from", "folder"])
def test_a_classifier_keeps_its_answers_under_labels_in_another_order(
    is_init: bool,
    project: Path,
    store: Store,
    classifier: RunOutcome,
    capfd: pytest.CaptureFixture[str],
) -> None:
    assert classifier.metrics["test/accuracy"] == 1
    folder, run_id = store.fetch_model_folder(classifier.run_id), classifier.run_id
    again = start_from(
        project,
        f"run:{run_id}" if is_init else folder,
        "data.label_names=['1','0']",
        **({"init_from": run_id} if is_init else {}),
    )
    assert again.metrics["test/accuracy"] == 1
    tags = store.find_run(again.run_id).tags
    assert tags["model/head"] == (
        "the head for 0, 1 is kept, in the order of the data's labels (1, 0)"
    )
    assert (tags["model/fresh"], tags["model/unused"]) == ("none", "none")
    shown = capfd.readouterr().out
    # wrapped at 80 columns
    assert ("\n" + shown).count("\nweights of") == 1
    assert tags["model/head"] in " ".join(shown.split())


def test_a_classifier_of_other_labels_begins_anew_unless_it_is_kept_on_purpose(
    project: Path, store: Store, classifier: RunOutcome
) -> None:
    folder = store.fetch_model_folder(classifier.run_id)
    names = ("data.label_names=[bad,good]", "data.label_values=['0','1']")
    kept = start_from(project, folder, *names, "model.encoder.head=keep")
    assert kept.metrics["test/accuracy"] == 1
    fresh = start_from(project, folder, *names)
    tags = store.find_run(fresh.run_id).tags
    assert tags["model/head"].startswith("the head for 0, 1 does not fit bad, good, so its output")
    assert tags["model/fresh"] == "classifier.* (2 tensors)"
    with pytest.raises(
        UserError, match=r"^model\.encoder\.head=keep: the head of .* is for 0, 1, "
    ):
        start_from(
            project,
            folder,
            "model.encoder.head=keep",
            "data.task=regression",
            "model=regression",
            "data.source.label=score",
            data="scores",
        )


def test_an_undefined_monitor_leaves_the_last_checkpoint_and_that_is_told(
    project: Path, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    """All targets of the validation are equal, so it has no correlation."""
    outcome = start(
        project,
        *FRESH,
        "data.task=regression",
        "model=regression",
        "data.source.label=score",
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=1",
        "callbacks.checkpoint.monitor=val/pearson",
        "callbacks.checkpoint.mode=max",
        "trainer.val_check_steps=1",
        "trainer.max_epochs=null",
        "trainer.max_steps=3",
        data="scores",
    )
    assert outcome.metrics["test/support"] == 4
    assert read_table(store, outcome.run_id, "intervals")["metric"][:2] == ["mae", "rmse"]
    found = store.find_run(outcome.run_id)
    undefined = {"val/pearson", "val/spearman", "best/val/pearson", "best/val/spearman"}
    assert not undefined & (set(found.metrics) | set(outcome.metrics))
    assert found.metrics["best/val/loss"] == found.metrics["val/loss"]
    assert found.tags["checkpoint"].endswith("step=3.ckpt")
    assert found.tags["undefined_metrics"] == (
        "val/pearson: all targets are equal (step 1); val/spearman: all targets are equal (step 1)"
    )
    assert "non_finite" not in found.tags
    said = capfd.readouterr().out
    assert said.count("val/pearson is left out: all targets are equal (step 1)") == 1
    assert found.tags["checkpoint_choice"] in said
    assert found.tags["checkpoint_choice"] == (
        "val/pearson was no number in any validation, so the last checkpoint is the one that is "
        "tested: step=3.ckpt"
    )


def write_groups(project: Path) -> None:
    """Rows that are told apart by one word; in the test, those of group b have the wrong label."""
    (project / "groups").mkdir()
    for split, count in (("train", 96), ("validation", 8), ("test", 40)):
        lines = ["text,label,group"]
        for place in range(count):
            good, group = place % 2 == 0, "ab"[place // 2 % 2]
            label = good != (split == "test" and group == "b")
            text = f"{('bad', 'good')[good]} film {split} {place}"
            lines.append(f"{text},{('no', 'yes')[label]},{group}")
        (project / "groups" / f"{split}.csv").write_text("\n".join(lines) + "\n")


def test_the_report_slices_by_a_column_and_shows_mistakes(project: Path, store: Store) -> None:
    write_groups(project)
    with pytest.raises(UserError, match=r"^report\.slices=\[grup\]: the rows have no column grup"):
        start(project, *FRESH, "report.slices=[grup]", data="groups")
    outcome = start(
        project, *FRESH, "trainer.max_epochs=10", "report.slices=[group]", data="groups"
    )
    found = store.find_run(outcome.run_id)
    assert found.metrics["best/val/accuracy"] == 1
    assert found.metrics["test/accuracy"] == found.metrics["test/balanced_accuracy"] == 0.5
    assert found.metrics["calibration/test/error"] > 0.3
    assert found.tags["report/largest_gap"] == (
        "largest gap below the rest: accuracy 0 (0 to 0.161) where group is b (20 rows), "
        "1 elsewhere"
    )
    # the loss of a validation without a mistake falls with the temperature down to 0
    assert found.tags["decision"] == (
        "no temperature is fitted on 8 validation rows: there is no mistake among the rows"
    )
    mistakes = read_table(store, outcome.run_id, "mistakes")
    assert sorted(mistakes["row"]) == [place for place in range(40) if place // 2 % 2]
    assert mistakes["confidence"] == sorted(mistakes["confidence"], reverse=True)
    for row, text, predicted in zip(
        *(mistakes[key] for key in ("row", "text", "predicted")), strict=True
    ):
        assert text == f"{('good', 'bad')[row % 2]} film test {row}"
        assert predicted == ("yes", "no")[row % 2]
    client = store.open().client
    page = Path(client.download_artifacts(outcome.run_id, "report/report.html")).read_text()
    assert found.tags["report/largest_gap"] in page
    shown = read_table(store, outcome.run_id, "explanations")
    assert shown["kind"][:4] == ["right and sure"] * 2 + ["wrong and sure"] * 2
    for text, words, predicted in zip(
        *(shown[key] for key in ("text", "strongest_words", "predicted")), strict=True
    ):
        # this word alone tells the labels apart
        assert {"yes": "good", "no": "bad"}[predicted] in text
        assert [word.split(" ")[0] for word in words.split(", ")] == text.split()
    assert "<h3>row " in page and 'title="+' in page
    names = {file.path for file in client.list_artifacts(outcome.run_id, "report")}
    pictures = {"confidence", "confusion_matrix", "curves", "slices", "explanations"}
    assert names >= {f"report/{name}.png" for name in pictures}
    assert "report/failure" not in found.tags


def test_test_rows_that_stand_in_train_are_listed(project: Path, store: Store) -> None:
    """Capitals and a point tell these from training rows; only their labels are right."""
    (project / "leaks").mkdir()
    rows: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for place in range(96):
        rows["train"].append(f"{WORDS[place % 2]} film train {place},{place % 2}")
    for place in range(4):
        rows["validation"].append(f"{WORDS[place % 2]} film validation {place},{place % 2}")
        rows["test"].append(f"{WORDS[place % 2].upper()} FILM TRAIN {place}.,{place % 2}")
    # with the wrong labels
    for place in range(4):
        rows["test"].append(f"{WORDS[place % 2]} film test {place},{1 - place % 2}")
    for split, lines in rows.items():
        (project / "leaks" / f"{split}.csv").write_text("\n".join(["text,label", *lines]))
    outcome = start(project, *FRESH, "trainer.max_epochs=10", data="leaks")
    found = store.find_run(outcome.run_id)
    assert found.metrics["test/accuracy"] == 0.5
    assert found.metrics["report/near_train_rows"] == 4
    assert found.metrics["report/accuracy_without_near_train"] == 0
    said = (
        "4 of 8 rows of the test are similar (at least 0.8) to a row of train: accuracy 0.5 with "
        "them, 0 without them"
    )
    assert found.tags["report/near_train"] == said
    # Wilson's interval of 4 of 8
    note = found.tags["mlflow.note.content"].replace("\\", "")
    assert note.startswith("test/accuracy 0.5 (95 %: 0.2152 to 0.7848) test/")
    table = read_table(store, outcome.run_id, "near_train")
    assert table["row"] == table["train_row"] == [0, 1, 2, 3]
    assert table["similarity"] == [1.0] * 4
    assert table["text"][1] == "GOOD FILM TRAIN 1."
    assert table["train_text"][1] == "good film train 1"
    assert table["label"] == table["predicted"] == ["0", "1"] * 2
    page = store.open().client.download_artifacts(outcome.run_id, "report/report.html")
    assert said in Path(page).read_text()


def test_the_validation_of_what_was_tested_is_recorded(project: Path, store: Store) -> None:
    """The best checkpoint is not the last: the rate is far too high."""
    outcome = start(
        project,
        *FRESH,
        "model.optim.lr=1",
        "model.optim.warmup_fraction=0",
        "trainer.val_check_steps=1",
        "trainer.max_epochs=null",
        "trainer.max_steps=4",
    )
    client = store.open().client
    history = {
        name: {point.step: point.value for point in client.get_metric_history(outcome.run_id, name)}
        for name in ("val/loss", "val/accuracy", "best/val/loss", "best/val/accuracy")
    }
    losses = history["val/loss"]
    best = min(losses, key=lambda step: losses[step])
    for name in ("loss", "accuracy"):
        assert history[f"best/val/{name}"] == {best: history[f"val/{name}"][best]}
    assert store.find_run(outcome.run_id).tags["checkpoint"].endswith(f"step={best}.ckpt")


def test_predictions_stand_beside_their_texts(
    project: Path, store: Store, classifier: RunOutcome
) -> None:
    table = read_table(store, classifier.run_id)
    assert list(table)[:4] == ["row", "text", "label", "predicted"]
    for row, text, label in zip(table["row"], table["text"], table["label"], strict=True):
        assert text == f"{'good' if label == '1' else 'bad'} test {row}"


def test_texts_of_rows_held_out_of_train_are_found_and_long_ones_cut(
    project: Path, store: Store
) -> None:
    (project / "pairs").mkdir()
    rows = [f"{'long ' * number * 20}{number},second {number},{number % 2}" for number in range(40)]
    (project / "pairs" / "train.csv").write_text("a,b,label\n" + "\n".join(rows) + "\n")
    options = ("data.source.text=a", "data.source.pair=b", "data.split.test=0.2")
    outcome = start(project, *FRESH, *options, "data.split.validation=0.2", data="pairs")
    table = read_table(store, outcome.run_id)
    assert len(table["row"]) == 8
    for row, text, pair in zip(table["row"], table["text"], table["pair"], strict=True):
        whole = f"{'long ' * row * 20}{row}"
        assert text == (whole if len(whole) <= 500 else f"{whole[:499]}…")
        assert pair == f"second {row}"


def test_why_a_training_has_ended_early_is_told(
    project: Path, store: Store, capfd: pytest.CaptureFixture[str]
) -> None:
    many = ("trainer.max_epochs=null", "trainer.max_steps=5000", "trainer.val_check_steps=2")
    patient = ("callbacks=early_stopping", "callbacks.early_stopping.patience=1")
    worse = ("model.optim.lr=1", "model.optim.warmup_fraction=0")
    stopped = start(project, *FRESH, *many, *patient, *worse)
    timed = start(project, *FRESH, *many, "trainer.max_minutes=0.02")
    for outcome, pattern in (
        (
            stopped,
            r"val/loss has not been better than [\d.]+ in 1 validations; "
            r"stopped at step \d+ of 5000",
        ),
        (timed, r"trainer\.max_minutes=0\.02 were over at step \d+ of 5000"),
    ):
        found = store.find_run(outcome.run_id)
        assert found.status == "FINISHED"
        assert re.fullmatch(pattern, found.tags["stopped_early"])
    said = capfd.readouterr().out
    assert f"early stopping: {store.find_run(stopped.run_id).tags['stopped_early']}" in said
    assert store.find_run(timed.run_id).tags["stopped_early"] in said
