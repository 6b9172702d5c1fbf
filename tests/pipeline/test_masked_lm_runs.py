"""What a run that learns to fill masks leaves in its record besides its metrics."""

import json
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from safetensors.torch import load_file

from src.config.compose import to_plain_config
from src.core.user_errors import UserError
from src.evaluation.report_config import ReportConfig
from src.pipeline.prediction.mask_filler import MaskFiller
from src.pipeline.run import RunOutcome, run
from src.tracking.store import Store
from tests.labelled import CONF, project_of

GENERATED = (
    "data=generated_text",
    "data.source.train=60",
    "data.source.validation=20",
    "data.source.test=20",
)
BASE = (
    "data.batching.row_tokens=32",
    "data.batching.batch_size=8",
    "model=masked_lm",
    "model/encoder=tiny",
    "model.encoder.layers=1",
    "model.encoder.width=16",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.threads=1",
    "trainer.max_epochs=null",
    "trainer.max_steps=4",
    "trainer.val_check_steps=2",
    "callbacks.progress.style=off",
    "tracking.system_metrics=false",
)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    root = project_of(tmp_path_factory.mktemp("project"), blank_database)
    for split, count in (("train", 60), ("validation", 20)):
        lines = [f"the {place} sat on the unbelievable mat of {split}" for place in range(count)]
        (root / "texts").mkdir(exist_ok=True)
        (root / "texts" / f"{split}.txt").write_text("\n".join(lines))
    return root


def start(
    project: Path, *overrides: str, data: tuple[str, ...] = GENERATED, **arguments: Any
) -> RunOutcome:
    GlobalHydra.instance().clear()
    places = (f"tracking.root={project}", f"data.cache={project}/.cache")
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        config = to_plain_config(compose("config", [*data, *BASE, *overrides, *places]))
    return run(**(config | arguments))


def list_report(project: Path, run_id: str) -> Path:
    folder = Store(root=str(project)).open().client.download_artifacts(run_id, "report")
    return Path(folder)


def read_table(path: Path) -> dict[str, list[Any]]:
    content = json.loads(path.read_text(encoding="utf-8"))
    return dict(zip(content["columns"], map(list, zip(*content["data"], strict=True)), strict=True))


def check_report(project: Path, outcome: RunOutcome, loss: float, accuracy: float) -> None:
    """The mean of the parts, weighted by their tokens, is that of the whole."""
    report = list_report(project, outcome.run_id)
    for name in ("token_position", "token_frequency", "word_part"):
        table = read_table(report / f"{name}.json")
        tokens = sum(table["tokens"])

        def average(column: str, table: dict[str, list[Any]] = table) -> float:
            pairs = zip(table["tokens"], table[column], strict=True)
            return sum(count * value for count, value in pairs) / sum(table["tokens"])

        assert tokens > 30 and average("loss") == pytest.approx(loss, rel=1e-4)
        assert average("accuracy") == pytest.approx(accuracy, abs=1e-6)
        assert (report / f"{name}.png").stat().st_size > 10_000
    page = (report / "report.html").read_text(encoding="utf-8")
    assert page.count("<img") == 3 and "whole word" in page


def test_the_report_tells_of_every_kind_of_token(project: Path) -> None:
    outcome = start(project, "data.batching.mask_unit=word")
    found = outcome.metrics
    check_report(project, outcome, found["test/loss"], found["test/masked_accuracy"])


def test_without_a_test_the_report_is_of_the_best_validation(project: Path) -> None:
    files = ("data=files_text", f"data.source.path={project}/texts", "data/tokenizer=wordpiece_2k")
    options = ("data.batching.mask_unit=span", "trainer.precision=bf16")
    outcome = start(project, *options, data=files)
    found = Store(root=str(project)).open().client.get_run(outcome.run_id).data.metrics
    assert "test/loss" not in found
    check_report(project, outcome, found["best/val/loss"], found["best/val/masked_accuracy"])


def test_the_report_of_pairs_is_of_their_masked_tokens(project: Path) -> None:
    outcome = start(
        project,
        "data.task=masked_lm_with_next_sentence",
        "data/batching=sentence_pairs",
        "model=masked_lm_with_next_sentence",
    )
    found = outcome.metrics
    check_report(project, outcome, found["test/masked_loss"], found["test/masked_accuracy"])


def test_fill_in_probes_are_asked_at_every_validation(
    project: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    probes = (
        "the [MASK] sat on it => mat",
        "[MASK] sat",
        "the mat [MASK] => unbelievably",
    )
    files = ("data=files_text", f"data.source.path={project}/texts", "data/tokenizer=wordpiece_2k")
    named = ",".join(f"'{probe}'" for probe in probes)
    outcome = start(project, f"report.fill_in_probes=[{named}]", data=files)
    table = read_table(list_report(project, outcome.run_id) / "fill_in.json")
    assert table["step"] == [2, 2, 2, 4, 4, 4]
    assert table["text"] == [probe.partition(" =>")[0] for probe in probes] * 2
    assert table["expected"] == ["mat", None, "unbelievably"] * 2
    assert [chance is None for chance in table["probability"]] == [False, True, True] * 2
    store = Store(root=str(project))
    history = store.open().client.get_metric_history(outcome.run_id, "fill_in/probability")
    assert {point.step: pytest.approx(point.value) for point in history} == {
        2: table["probability"][0],
        4: table["probability"][3],
    }
    shown = capfd.readouterr().out
    assert shown.count("is not one token of the vocabulary") == 1
    assert shown.count("fill-in probes at step 4") == 1
    # the last weights are the best here, and are those of the saved model
    filler = load_predictor(store, outcome.run_id)
    for text, answers in zip(table["text"][3:], table["answers"][3:], strict=True):
        fillings = filler.fill_text(text)
        expected = [f"{filling.token} {filling.probability:.3f}" for filling in fillings]
        assert answers.split(", ") == expected


def load_predictor(store: Store, run_id: str) -> MaskFiller:
    folder = store.fetch_model_folder(run_id)
    return MaskFiller(folder, json.loads((folder / "palimpsest.json").read_text("utf-8")))


@pytest.mark.parametrize("probe", ["no gap", "[MASK] and [MASK]", "a [MASK] =>", "=> word"])
def test_a_probe_without_one_gap_is_refused(probe: str) -> None:
    with pytest.raises(UserError, match=r"^report\.fill_in_probes: expected sentences with one"):
        ReportConfig(fill_in_probes=("The [MASK].", probe))


def test_a_run_that_wants_no_page_has_none(project: Path) -> None:
    outcome = start(project, "report.page=false", "report.fill_in_probes=[]")
    client = Store(root=str(project)).open().client
    assert client.list_artifacts(outcome.run_id, "report") == []


def test_embeddings_begin_with_neighbours_or_random(project: Path) -> None:
    first = ("trainer.max_steps=1", "trainer.val_check_steps=1", "model.optim.lr=1e-9")
    store = Store(root=str(project))
    counted, random = (
        start(project, *first, f"model.fresh_embeddings={begin}").run_id
        for begin in ("cooccurrence", "random")
    )
    biases = [
        load_file(store.fetch_model_folder(run_id) / "model.safetensors")["cls.predictions.bias"]
        for run_id in (counted, random)
    ]
    # logarithms of how often each token occurs
    assert float(biases[0].exp().sum()) == pytest.approx(1, abs=1e-4)
    assert float(biases[1].abs().max()) < 1e-6
    said = store.find_run(counted).tags["model/embeddings"]
    assert "each token's neighbours, counted in" in said
    assert "model/embeddings" not in store.find_run(random).tags
