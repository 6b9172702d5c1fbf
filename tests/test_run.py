"""The whole path on a tiny scale: pretrain, fine-tune from it, look at what the runs hold, ask the
model.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from transformers import AutoModelForSequenceClassification

from src.config.compose import to_plain_config
from src.config.validate_config import validate_config
from src.core.user_errors import UserError
from src.model.module import NonFiniteLoss
from src.pipeline.earlier_model import find_earlier_model
from src.pipeline.prediction.predictor import Predictor
from src.pipeline.run import RunOutcome, read_task_schema, run
from src.tracking.store import Store

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
SMALL = (
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.log_every_n_steps=1",
    "callbacks.progress.style=off",
    "tracking.system_metrics=false",
)
TEXT = ("data.source.train=60", "data.source.validation=20", "data.source.test=20")
REVIEWS = (
    "data.source.train=40",
    "data.source.validation=20",
    "data.source.test=30",
    "trainer.max_epochs=2",
    "data.batching.batch_size=32",
    "callbacks.checkpoint.monitor=val/loss",
    "callbacks.checkpoint.mode=min",
)


def config(project: Path, *overrides: str) -> dict[str, Any]:
    GlobalHydra.instance().clear()
    places = (f"tracking.root={project}", f"data.cache={project}/.cache")
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return to_plain_config(compose("config", [*overrides, *SMALL, *places]))


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "mlruns").mkdir()
    shutil.copy(blank_database, root / "mlruns" / "mlflow.db")
    return root


@pytest.fixture(scope="module")
def pretrained(project: Path) -> RunOutcome:
    return run(**config(project, "+experiment=mlm_quickstart", *TEXT, "trainer.max_epochs=1"))


@pytest.fixture(scope="module")
def finetuned(project: Path, pretrained: RunOutcome) -> RunOutcome:
    # the whole id is recorded, whatever was typed
    typed = f"++init_from='{pretrained.run_id[:8]}'"
    overrides = ("+experiment=quickstart", typed, *REVIEWS)
    return run(**config(project, *overrides))


@pytest.fixture
def store(project: Path) -> Store:
    return Store(root=str(project))


def artifacts(store: Store, run_id: str, folder: str | None = None) -> set[str]:
    found: set[str] = set()
    for each in store.open().client.list_artifacts(run_id, folder):
        found |= artifacts(store, run_id, each.path) if each.is_dir else {each.path}
    return found


def table(store: Store, run_id: str, name: str) -> dict[str, list[Any]]:
    path = store.open().client.download_artifacts(run_id, name)
    content = json.loads(Path(path).read_text())
    return {
        name: [row[place] for row in content["data"]]
        for place, name in enumerate(content["columns"])
    }


def test_pretraining_run_holds_what_was_promised(store: Store, pretrained: RunOutcome) -> None:
    found = store.open().client.get_run(pretrained.run_id)
    assert found.info.status == "FINISHED"
    assert found.info.run_name == "mlm_quickstart"
    assert found.data.tags["kind"] == "pretrain"
    assert found.data.params["model.optim.lr"] == str(
        config(Path(store.root), "+experiment=mlm_quickstart")["model"]["optim"]["lr"]
    )
    assert {
        "train/loss",
        "train/tokens_per_second",
        "train/step_seconds",
        "train/data_seconds",
        "train/lr",
        "train/compute_seconds",
        "train/gradient_norm",
        "val/loss",
        "val/perplexity",
        "val/masked_accuracy",
        "val/unigram_entropy",
        "test/loss",
        "system/peak_memory_gigabytes",
    } <= set(found.data.metrics)
    assert found.data.metrics["val/perplexity"] == pytest.approx(
        torch.tensor(found.data.metrics["val/loss"]).exp().item(), rel=1e-4
    )
    assert {each.dataset.name for each in found.inputs.dataset_inputs} == {
        "generated-train",
        "generated-validation",
        "generated-test",
    }
    names = artifacts(store, pretrained.run_id)
    assert {
        "config.yaml",
        "environment.txt",
        "console.log",
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/palimpsest.json",
    } <= names
    assert any(name.startswith("checkpoints/") for name in names)


def test_steps_are_optimizer_steps(store: Store, finetuned: RunOutcome) -> None:
    client = store.open().client
    assert [each.step for each in client.get_metric_history(finetuned.run_id, "train/loss")] == [
        1,
        2,
        3,
        4,
    ]
    assert [each.step for each in client.get_metric_history(finetuned.run_id, "val/loss")] == [2, 4]
    assert [each.step for each in client.get_metric_history(finetuned.run_id, "test/loss")] == [4]


def test_finetuning_run_is_linked_both_ways_and_reported(
    store: Store, pretrained: RunOutcome, finetuned: RunOutcome
) -> None:
    found = store.open().client.get_run(finetuned.run_id)
    assert found.data.tags["init_from"] == pretrained.run_id
    assert finetuned.run_id in store.open().client.get_run(pretrained.run_id).data.tags["used_by"]
    assert found.data.params["model.encoder.name_or_path"] == f"run:{pretrained.run_id}"
    assert found.data.metrics["data/leakage/test_in_pretraining"] == 0
    assert {
        "test/accuracy",
        "test/precision_macro",
        "test/recall_macro",
        "test/f1_macro",
        "test/auroc",
    } <= set(found.data.metrics)
    assert {
        "report/confusion_matrix.png",
        "report/confusion_matrix.json",
        "report/per_class.json",
        "report/predictions.json",
        # a model that answers texts is one of MLflow
        "model/MLmodel",
        "model/palimpsest_model.py",
    } <= artifacts(store, finetuned.run_id)
    assert "model/MLmodel" in artifacts(store, pretrained.run_id)
    predictions = table(store, finetuned.run_id, "report/predictions.json")
    assert predictions["row"] == list(range(30))
    right = [
        truth == said
        for truth, said in zip(predictions["label"], predictions["predicted"], strict=True)
    ]
    assert sum(right) / 30 == pytest.approx(found.data.metrics["test/accuracy"])


def test_model_artifact_is_a_huggingface_folder_with_the_same_answers(
    store: Store, finetuned: RunOutcome
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    from src.data.synthetic.reviews import Generated

    folder = store.fetch_model_folder(finetuned.run_id)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    texts = [
        record.text
        for record in Generated(train=40, validation=20, test=30, seed=1).read_records("test")
    ]
    inputs = AutoTokenizer.from_pretrained(folder)(
        texts, padding=True, truncation=True, max_length=64, return_tensors="pt"
    )
    with torch.inference_mode():
        probabilities = model(**inputs).logits.softmax(-1)
    filed = table(store, finetuned.run_id, "report/predictions.json")
    columns = [filed[name] for name in filed if name.startswith("probability")]
    torch.testing.assert_close(torch.tensor(columns).T, probabilities, atol=1e-5, rtol=0)
    assert model.config.id2label == {0: "negative", 1: "positive"}
    found = store.open().client.get_run(finetuned.run_id).data
    rule = json.loads((folder / "decision.json").read_text())
    assert rule["temperature"] == pytest.approx(found.metrics["calibration/temperature"])
    assert "fitted on 20 validation rows" in found.tags["decision"]
    if rule["temperature"] != 1:
        losses = [f"calibration/val/log_loss{end}" for end in ("_tempered", "")]
        assert found.metrics[losses[0]] < found.metrics[losses[1]]
    predicted = Predictor(folder, precision="fp32").predict_texts(texts)
    values = [list(one.probabilities.values()) for one in predicted if one is not None]
    with torch.inference_mode():
        tempered = (model(**inputs).logits / rule["temperature"]).softmax(-1)
    torch.testing.assert_close(torch.tensor(values), tempered, atol=1e-5, rtol=0)


def test_config_artifact_composes_to_the_same_run(
    store: Store, finetuned: RunOutcome, tmp_path: Path
) -> None:
    path = Path(store.open().client.download_artifacts(finetuned.run_id, "config.yaml"))
    (tmp_path / "again.yaml").write_text(path.read_text())
    with initialize_config_dir(version_base="1.3", config_dir=str(tmp_path)):
        again = to_plain_config(compose("again"))
    assert again == yaml.safe_load(path.read_text().replace("${project_root:}", str(ROOT)))
    validate_config(again, read_task_schema())
    params = store.open().client.get_run(finetuned.run_id).data.params
    assert params["data.batching.max_tokens"] == str(again["data"]["batching"]["max_tokens"])


def test_the_same_seed_gives_the_same_run(
    project: Path, finetuned: RunOutcome, pretrained: RunOutcome
) -> None:
    overrides = ("+experiment=quickstart", f"++init_from={pretrained.run_id}", *REVIEWS)
    assert run(**config(project, *overrides)).metrics["test/loss"] == finetuned.metrics["test/loss"]
    assert (
        run(**config(project, *overrides, "seed=2")).metrics["test/loss"]
        != finetuned.metrics["test/loss"]
    )


def test_a_run_with_adapters_leaves_an_ordinary_model_that_another_begins_from(
    project: Path, pretrained: RunOutcome, store: Store
) -> None:
    start = ("+experiment=quickstart", "model/adapter=lora", *REVIEWS)
    adapted = run(**config(project, *start, f"++init_from={pretrained.run_id}"))
    tags = store.open().client.get_run(adapted.run_id).data.tags
    assert tags["model/adapter"].startswith("LoRA of rank 8 at ")
    _, loading = AutoModelForSequenceClassification.from_pretrained(
        store.fetch_model_folder(adapted.run_id), output_loading_info=True
    )
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    again = run(**config(project, *start, f"++init_from={adapted.run_id}", "trainer.max_epochs=1"))
    tags = store.open().client.get_run(again.run_id).data.tags
    assert tags["model/head"].endswith(" is kept") and tags["model/fresh"] == "none"


def test_a_student_learns_from_the_model_of_a_run(
    project: Path, finetuned: RunOutcome, pretrained: RunOutcome, store: Store
) -> None:
    overrides = (
        "+experiment=quickstart",
        "model=distillation",
        f"++init_from={pretrained.run_id}",
        f"model.objective.teacher='{finetuned.run_id[:8]}'",
        "model.objective.soft_share=1.0",
        *REVIEWS,
    )
    taught = run(**config(project, *overrides))
    # the whole id is recorded, whatever was typed
    params = store.open().client.get_run(taught.run_id).data.params
    assert params["model.objective.teacher"] == finetuned.run_id
    assert taught.metrics["test/loss"] != finetuned.metrics["test/loss"]
    # the teacher is in no checkpoint
    sizes = [
        max(path.stat().st_size for path in (project / "mlruns").rglob(f"{run_id}/*.ckpt"))
        for run_id in (taught.run_id, finetuned.run_id)
    ]
    assert sizes[0] == pytest.approx(sizes[1], rel=0.05)


def latest(store: Store) -> Any:
    [newest, *_] = store.search_runs(limit=1)
    return store.open().client.get_run(newest.id)


def test_a_fault_in_the_data_is_a_failed_run_that_says_where(project: Path, store: Store) -> None:
    (project / "train.csv").write_text("text,label\ngood,1\nbad,0\nfine,1\nawful,0\n")
    (project / "test.csv").write_text("text,label\nodd,7\n")
    folder = project / "odd"
    folder.mkdir()
    for name in ("train.csv", "test.csv"):
        (project / name).rename(folder / name)
    overrides = (
        "data=files",
        f"data.source.path={folder}",
        "data/tokenizer=wordpiece",
        "data.split.validation=0.5",
    )
    with pytest.raises(UserError, match=r"test\.csv, line 2"):
        run(**config(project, *overrides))
    found = latest(store)
    assert found.info.status == "FAILED"
    assert "test.csv, line 2" in found.data.tags["failure.reason"]


def test_an_error_after_fit_is_a_failed_run_whose_checkpoint_can_be_asked(
    project: Path,
    store: Store,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    import src.evaluation.report as reports

    def fail(*_: object, **__: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(reports, "build_report", fail)
    with pytest.raises(OSError, match="no space"):
        run(**config(project, *REVIEWS))
    found = latest(store)
    reason = "OSError: no space left on device; training itself was complete (optimizer step 4)"
    assert (found.info.status, found.data.tags["failure.reason"]) == ("FAILED", reason)
    # nothing that was measured is lost
    assert "val/loss" in found.data.metrics
    model = find_earlier_model(store, found.info.run_id)
    name = model.folder.name.removeprefix("model of ")
    assert (
        f"run {found.info.run_id} has left no model, it is FAILED; taken is its checkpoint "
        f"{name}.ckpt, the best by val/loss (" in capsys.readouterr().err
    )
    checkpoint = project / "mlruns" / "checkpoints" / found.info.run_id / f"{name}.ckpt"
    state = torch.load(checkpoint, weights_only=True)["state_dict"]
    network = AutoModelForSequenceClassification.from_pretrained(model.folder)
    for key, tensor in network.state_dict().items():
        assert tensor.equal(state[f"encoder.network.{key}"]), key
    assert model.judges_pairs is False and model.inference_config["label_names"]
    # made once
    assert find_earlier_model(store, found.info.run_id).folder == model.folder


def test_a_loss_that_is_not_finite_stops_the_run_before_the_update(
    project: Path, store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    from src.model.objectives.classification import Classification

    forward = Classification.forward

    def broken(self: Classification, encoder: Any, batch: Any) -> Any:
        result = forward(self, encoder, batch)
        return result._replace(loss=result.loss * float("nan")) if encoder.training else result

    monkeypatch.setattr(Classification, "forward", broken)
    with pytest.raises(NonFiniteLoss, match=r"the loss is nan at optimizer step 0"):
        run(**config(project, *REVIEWS))
    assert latest(store).info.status == "FAILED"


@pytest.mark.parametrize(
    ("run_id", "message"),
    [("zzz", "run"), ("0" * 32, "run")],
)
def test_a_wrong_run_id_is_one_message_and_no_run(
    project: Path, store: Store, run_id: str, message: str
) -> None:
    before = len(store.search_runs())
    with pytest.raises(UserError, match=message):
        run(**config(project, "+experiment=quickstart", f"++init_from='{run_id}'", *REVIEWS))
    assert len(store.search_runs()) == before


def test_init_from_with_a_fresh_encoder_is_refused(project: Path, pretrained: RunOutcome) -> None:
    with pytest.raises(UserError, match="add model/encoder=pretrained data/tokenizer=pretrained"):
        run(**config(project, f"++init_from={pretrained.run_id}", *REVIEWS))


@pytest.fixture
def command(project: Path) -> Iterator[Callable[..., subprocess.CompletedProcess[str]]]:
    def call(module: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        places = (
            (f"tracking.root={project}", f"data.cache={project}/.cache")
            if module == "src.run"
            else ()
        )
        small = (
            (*SMALL, *places) if module == "src.run" and not arguments[0].startswith("--") else ()
        )
        return subprocess.run(
            [sys.executable, "-m", module, *arguments, *small],
            cwd=ROOT,
            capture_output=True,
            text=True,
            timeout=240,
        )

    return call


def test_a_mistake_in_a_multirun_is_told_before_the_first_trial(
    command: Callable[..., Any], store: Store
) -> None:
    before = len(store.search_runs())
    done = command(
        "src.run", "-m", *REVIEWS, "model.optim.lr=1e-5,0", f"hydra.sweep.dir={store.root}/never"
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == (
        f"error: hydra.sweep.dir={store.root}/never: nothing is kept there: every run keeps its "
        "files in mlruns/; tracking.root=/ABSOLUTE/FOLDER puts it elsewhere\n"
        "model.optim.lr: expected a number above 0 and at most 1, found 0\n"
    )
    assert len(store.search_runs()) == before
    assert not (Path(store.root) / "never").exists()


def test_the_quickstart_compares_its_two_finetunings(
    command: Callable[..., Any], project: Path, store: Store
) -> None:
    places = (
        f"tracking.root={project}",
        f"data.cache={project}/.cache",
        "data.source.train=48",
        "data.source.test=32",
    )
    done = command(
        "src.quickstart",
        "seed=3",
        "trainer.limit_batches=2",
        "trainer.max_steps=4",
        "trainer.accelerator=cpu",
        *places,
    )
    assert done.returncode == 0, done.stderr
    for part in (
        "1 of 3",
        "2 of 3",
        "3 of 3",
        "test/accuracy",
        "pretrained",
        "from scratch",
        "difference",
        "make ui",
    ):
        assert part in done.stdout
    scratch, pretrained, pretraining = store.search_runs(limit=3)
    assert [each.status for each in (scratch, pretrained, pretraining)] == ["FINISHED"] * 3
    assert pretrained.tags["init_from"] == pretraining.id
    assert {each.params["seed"] for each in (scratch, pretrained, pretraining)} == {"3"}


def test_mistakes_of_the_quickstart(command: Callable[..., Any]) -> None:
    assert (
        command("src.quickstart", "sed=3").stderr
        == "error: sed=3: there is no option 'sed'; did you mean 'seed'?\n"
    )
    done = command("src.quickstart", "trainer.max_step=3")
    assert (done.returncode, done.stderr) == (
        2,
        "error: trainer.max_step: there is no such key; did you mean 'max_steps'?\n",
    )


def test_predict_answers_with_a_run_of_the_store(
    command: Callable[..., Any], project: Path, finetuned: RunOutcome
) -> None:
    uri = f"uri=sqlite:///{project}/mlruns/mlflow.db"
    done = command(
        "src.predict",
        f"run={finetuned.run_id[:8]}",
        "text=Dreadful battery, but a fine screen.",
        uri,
    )
    assert done.returncode == 0, done.stderr
    said, *probabilities = done.stdout.splitlines()
    assert said in ("negative", "positive")
    assert sum(float(line.split()[1]) for line in probabilities) == pytest.approx(1, abs=1e-3)


@pytest.mark.skipif(
    not os.environ.get("REAL_DATA"), reason="REAL_DATA names no folder with real data sets"
)
def test_a_real_encoder_on_real_sentences(project: Path, store: Store, minilm: str) -> None:
    source = (f"data.source.path={os.environ['REAL_DATA']}/sst2", "data.source.format=label_first")
    settings = (
        "data.source.validation=dev",
        "trainer.limit_batches=2",
        "trainer.max_epochs=1",
        "model.freeze=4",
    )
    encoder = f"model.encoder.name_or_path={minilm}"
    found = run(**config(project, "+experiment=sst2", *source, *settings, encoder))
    inputs = store.open().client.get_run(found.run_id).inputs.dataset_inputs
    rows = {each.dataset.name: json.loads(each.dataset.profile)["num_rows"] for each in inputs}
    assert rows["sst2-test"] == 1821
    assert rows["sst2-validation"] == 872
    # less what also stands in the held-out sets
    assert 6900 < rows["sst2-train"] <= 6920
    assert 0 < found.metrics["test/loss"] < 1


def test_help_and_version(command: Callable[..., Any]) -> None:
    helped = command("src.run", "--help")
    assert helped.returncode == 0
    for part in ("Four examples", "Experiments (+experiment=NAME)", "quickstart", "data/batching"):
        assert part in helped.stdout
    assert command("src.run", "--version").stdout.startswith("palimpsest ")


def test_a_run_over_texts_with_several_labels(project: Path, store: Store) -> None:
    rows = [
        json.dumps({"text": f"{'red ' * (n % 2)}{'blue ' * (n % 3 // 2)}{n}", "label": labels})
        for n in range(60)
        for labels in [["red"][: n % 2] + ["blue"][: n % 3 // 2]]
    ]
    (project / "colours.jsonl").write_text("\n".join(rows))
    outcome = run(
        **config(
            project,
            "data=files",
            f"data.source.path={project}/colours.jsonl",
            "data.source.label=label",
            "data.task=multi_label",
            "model=multi_label",
            "model.objective.pos_weight=balanced",
            "callbacks.checkpoint.monitor=val/f1_macro",
            "callbacks.checkpoint.mode=max",
            "data/tokenizer=wordpiece",
            "model/encoder=tiny",
            "data.split.validation=0.2",
            "data.split.test=0.2",
            "trainer.max_epochs=1",
        )
    )
    found = store.open().client.get_run(outcome.run_id)
    assert found.info.status == "FINISHED"
    measured = {"val/f1_micro", "val/subset_accuracy", "test/f1_macro", "test/average_precision"}
    assert measured <= found.data.metrics.keys()
    assert "drawn at random" in found.data.tags["data/remarks"]
    rows = json.loads(found.data.tags["data/summary"])
    weights = [
        f"{name} {(36 - count) / count:.4g}" for name, count in rows["labels"]["train"].items()
    ]
    assert found.data.tags["objective/pos_weight"] == ", ".join(weights)
    answers = table(store, outcome.run_id, "report/predictions.json")
    assert len(answers["row"]) == 12
    assert {"", "blue", "red", "blue, red"} >= set(answers["label"])
    labels = table(store, outcome.run_id, "report/per_class.json")
    assert labels["label"] == ["blue", "red"]
    folder = Path(store.open().client.download_artifacts(outcome.run_id, "model"))
    settings = json.loads((folder / "config.json").read_text())
    assert settings["problem_type"] == "multi_label_classification"
    assert settings["id2label"] == {"0": "blue", "1": "red"}
    assert json.loads((folder / "palimpsest.json").read_text())["task"] == "multi_label"


def test_a_run_over_labels_in_an_order(project: Path, store: Store) -> None:
    """With a template and a learnt pooling; its model answers as it did in the test."""
    stars = ("bad", "ok", "good")
    rows = [
        json.dumps({"title": f"film {n}", "body": f"{'nice ' * (n % 3)}{n}", "label": stars[n % 3]})
        for n in range(60)
    ]
    (project / "stars.jsonl").write_text("\n".join(rows))
    words = (
        "data=files",
        f"data.source.path={project}/stars.jsonl",
        'data.source.template="{title}: {body}"',
        "data.source.label=label",
        "data/tokenizer=wordpiece",
        "model/encoder=tiny",
        "model.encoder.pooling=attention",
        "model.encoder.dropout=0.1",
        "data.split.validation=0.2",
        "data.split.test=0.2",
        "trainer.max_epochs=1",
    )
    with pytest.raises(UserError, match="the order of the labels is not known: bad, good, ok"):
        run(**config(project, *words, "model=ordinal"))
    outcome = run(
        **config(
            project,
            *words,
            "model=ordinal",
            f"data.label_names=[{','.join(stars)}]",
            "model.objective.r_drop=1",
        )
    )
    found = store.open().client.get_run(outcome.run_id)
    assert found.info.status == "FINISHED"
    assert found.data.tags["objective/label_order"] == "bad < ok < good"
    assert found.data.tags["model/pooling"] == "attention"
    measured = {"val/mae", "val/quadratic_kappa", "val/spearman", "test/mae", "test/accuracy"}
    assert measured <= found.data.metrics.keys()
    folder = Path(store.open().client.download_artifacts(outcome.run_id, "model"))
    settings = json.loads((folder / "config.json").read_text())
    assert settings["id2label"] == {"0": ">=ok", "1": ">=good if >=ok"}
    assert json.loads((folder / "palimpsest.json").read_text())["head"] == "ordinal"
    answers = table(store, outcome.run_id, "report/predictions.json")
    predicted = Predictor(folder, precision="fp32").predict_texts(answers["text"])
    assert [one.predicted for one in predicted if one is not None] == answers["predicted"]
    for place, one in enumerate(predicted):
        assert one is not None
        known = [answers[f"probability_{name}"][place] for name in stars]
        assert list(one.probabilities.values()) == pytest.approx(known, abs=0.02)
