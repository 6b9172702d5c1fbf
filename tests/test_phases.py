"""A run with phases: it ends as a chain of runs would, and goes on after any interruption as if
there had been none.
"""

import json
import shutil
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import torch
from hydra.core.global_hydra import GlobalHydra
from torch.testing import assert_close
from transformers import AutoModelForCausalLM

import src.pipeline.phases
import src.pipeline.run
from src.config.compose_run import compose_run
from src.core.batch import build_tokens
from src.core.user_errors import UserError
from src.model.module import EncoderModule
from src.model.stored_encoder import load_encoder
from src.pipeline.lr_range_run import LrRangeSettings, run_lr_range
from src.pipeline.run import read_task_schema, run
from src.plan import _print_run_plan
from src.run import resume_from_command_line
from src.search.run.trial import halve_batch
from src.tracking.earlier_runs import RunInfo
from src.tracking.store import Store
from tests.labelled import project_of, quiet_overrides
from tests.test_resume_command import points, weights

pytestmark = pytest.mark.long

TEXT = ("data=files_text", "model=masked_lm", "data.batching.batch_size=4")
LABELS = ("data=files", "model=classification", "data.batching.batch_size=8")
FRESH = ("data/tokenizer=wordpiece", "model/encoder=tiny", "model.encoder.layers=1")
DROPOUT = "model.encoder.dropout=0.1"
STORED = ("data/tokenizer=pretrained", "model/encoder=pretrained")
PHASES = (
    "phases.short.data.batching.row_tokens=16",
    "phases.short.trainer.max_steps=3",
    "phases.long.data.batching.row_tokens=32",
    "phases.long.trainer.max_steps=4",
    "phases.label.groups.data=files",
    "phases.label.groups.model=classification",
    "phases.label.data.batching.batch_size=8",
    "phases.label.trainer.max_steps=5",
)
# the options that make a phase a causal one
CAUSAL = "model: causal_lm, data/batching: causal"
# where a phase ends, counted through the run
BORDERS = (3, 7, 12)


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    return project_of(tmp_path_factory.mktemp("project"), blank_database)


@pytest.fixture(scope="module")
def store(project: Path) -> Store:
    return Store(root=str(project))


def compose_phases(project: Path, *overrides: str) -> dict[str, Any]:
    """The config of a run with a checkpoint after every step."""
    GlobalHydra.instance().clear()
    common = (
        "trainer.max_epochs=null",
        "trainer.val_check_steps=2",
        "callbacks.reference=null",
        "callbacks.checkpoint.every_steps=1",
    )
    return compose_run([*overrides, *common, *quiet_overrides(project)], read_task_schema())


@pytest.fixture(scope="module")
def compose(project: Path) -> Callable[..., dict[str, Any]]:
    return partial(compose_phases, project)


@pytest.fixture(scope="module")
def config(compose: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return compose(*TEXT, *FRESH, DROPOUT, *PHASES)


@pytest.fixture(scope="module")
def reference(config: dict[str, Any], store: Store) -> RunInfo:
    """An undisturbed run."""
    return store.find_run(run(**config).run_id)


def resume_phases(run_id: str, project: Path, *overrides: str) -> int:
    return resume_from_command_line(
        [f"resume={run_id}", f"tracking.root={project}", *overrides], read_task_schema()
    )


def assert_goes_on(
    found: RunInfo,
    reference: RunInfo,
    project: Path,
    words: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """A run that broke off is resumed, says so and ends as an undisturbed one."""
    store = Store(root=str(project))
    capsys.readouterr()
    assert resume_phases(found.id, project) == 0
    assert words in capsys.readouterr().out
    assert store.find_run(found.id).status == "FINISHED"
    assert weights(store, found.id) == weights(store, reference.id)
    assert points(store, found.id) == points(store, reference.id)


def test_phases_end_as_a_chain_of_runs_does(
    reference: RunInfo, compose: Callable[..., dict[str, Any]], store: Store
) -> None:
    steps = [(*TEXT, "data.batching.row_tokens=16"), (*TEXT, "data.batching.row_tokens=32"), LABELS]
    earlier = None
    for overrides, count in zip(steps, (3, 4, 5), strict=True):
        begin = (*FRESH, DROPOUT) if earlier is None else (*STORED, f"init_from={earlier}")
        earlier = run(**compose(*overrides, *begin, f"trainer.max_steps={count}")).run_id
    assert earlier is not None
    assert weights(store, earlier) == weights(store, reference.id)
    own, chained = points(store, reference.id), points(store, earlier)
    for step in range(1, 6):
        assert own["train/loss", BORDERS[1] + step] == chained["train/loss", step]
    test = {key: value for (key, _), value in own.items() if key.startswith("test/")}
    assert test == {key: value for (key, _), value in chained.items() if key.startswith("test/")}


def test_the_record_is_one_with_its_borders(reference: RunInfo, store: Store) -> None:
    own = points(store, reference.id)
    assert sorted(step for key, step in own if key == "train/loss") == list(range(1, 13))
    assert {step: value for (key, step), value in own.items() if key == "phase"} == {
        0: 1,
        BORDERS[0]: 2,
        BORDERS[1]: 3,
    }
    assert reference.tags["phase.short"] == "ended at optimizer step 3"
    assert reference.tags["phase"] == "phase 3 of 3 (label)"
    assert reference.tags["kind"] == "finetune"
    # the config of the run is that of its last phase, and earlier ones are changes of it
    assert reference.params["data.task"] == "classification"
    assert reference.params["trainer.max_steps"] == "5"
    assert reference.params["phases.short.trainer.max_steps"] == "3"
    assert reference.params["phases.short.data.task"] == "masked_lm"
    assert reference.params["phases.label"] == "{}"
    splits = {part.partition("=")[0] for part in reference.tags["data.fingerprint"].split()}
    assert {"short/train", "long/validation", "train", "validation", "test"} <= splits
    folder = store.runs_folder / "checkpoints" / reference.id
    assert sorted(path.name for path in folder.iterdir()) == ["1-short", "2-long", "3-label"]
    assert [path.name for path in (folder / "2-long").iterdir()] == ["model"]


def _break_off(config: dict[str, Any], store: Store, step: int) -> RunInfo:
    """A run that has failed in an optimizer step, counted from 0 through all phases."""
    whole, steps = EncoderModule.training_step, [0]

    def breaking(self: EncoderModule, batch: Any, batch_index: int) -> Any:
        steps[0] += 1
        if steps[0] == step + 1:
            raise OSError("the cable was pulled")
        return whole(self, batch, batch_index)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError):
        patch.setattr(EncoderModule, "training_step", breaking)
        run(**config)
    return store.search_runs(limit=1)[0]


@pytest.mark.parametrize("step", [1, 5, 9])
def test_a_run_that_failed_in_a_phase_goes_on_to_the_same_end(
    config: dict[str, Any],
    reference: RunInfo,
    store: Store,
    project: Path,
    step: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _break_off(config, store, step)
    number = sum(border <= step for border in BORDERS)
    before = [0, *BORDERS][number]
    name = ("short", "long", "label")[number]
    words = f"resumed at optimizer step {step - before} of phase {number + 1} of 3 ({name})"
    assert_goes_on(found, reference, project, words, capsys)


@pytest.mark.parametrize(
    ("module", "name", "call"),
    [
        # before the next phase begins
        (src.pipeline.run, "begin_phase", 2),
        # once the model of the second phase is whole, and its checkpoints still there
        (src.pipeline.phases, "list_checkpoints", 2),
    ],
)
def test_a_run_that_failed_at_a_border_goes_on_to_the_same_end(
    config: dict[str, Any],
    reference: RunInfo,
    store: Store,
    project: Path,
    module: Any,
    name: str,
    call: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, calls = getattr(module, name), [0]

    def breaking(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == call:
            raise OSError("the cable was pulled")
        return whole(*arguments)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(OSError):
        patch.setattr(module, name, breaking)
        run(**config)
    found = store.search_runs(limit=1)[0]
    assert_goes_on(found, reference, project, "resumed at the beginning of phase", capsys)


def test_a_run_goes_on_from_its_artifacts_and_with_its_own_data_alone(
    config: dict[str, Any],
    reference: RunInfo,
    store: Store,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    found = _break_off(config, store, 5)
    # as on another machine
    shutil.rmtree(store.runs_folder / "checkpoints" / found.id)
    file = project / "rows" / "train.csv"
    rows = file.read_text()
    file.write_text(f"{rows}another,1\n")
    assert resume_phases(found.id, project) == 2
    assert "the data are not those with which run" in capsys.readouterr().err
    file.write_text(rows)
    words = "resumed at optimizer step 2 of phase 2 of 3 (long)"
    assert_goes_on(found, reference, project, words, capsys)


def test_phases_begin_from_an_earlier_run(
    reference: RunInfo,
    compose: Callable[..., dict[str, Any]],
    store: Store,
    capsys: pytest.CaptureFixture[str],
) -> None:
    begin = (*STORED, f"init_from={reference.id}")
    outcome = run(**compose(*LABELS, *begin, *(f"phases.{n}.trainer.max_steps=2" for n in "ab")))
    own = points(store, outcome.run_id)
    assert sorted(step for key, step in own if key == "train/loss") == [1, 2, 3, 4]
    found = store.find_run(outcome.run_id)
    assert (found.tags["init_from"], found.params["init_from"]) == (reference.id, reference.id)
    # from run to phase, and from phase to phase
    said = " ".join(capsys.readouterr().out.split())
    assert said.count("the head for 0, 1 is kept") == 2
    assert "with its head where the labels are the same" in said


@pytest.fixture(scope="module")
def causal_first(compose: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return compose(
        *TEXT,
        *FRESH,
        DROPOUT,
        f"phases.causal.groups={{{CAUSAL}}}",
        "phases.causal.data.task=causal_lm",
        "phases.causal.trainer.max_steps=3",
        "phases.masked.trainer.max_steps=3",
    )


def test_each_token_from_those_before_it_and_then_masks(
    causal_first: dict[str, Any], store: Store, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """One encoder and one head for both; interrupted before, behind and at the border."""
    whole = store.find_run(run(**causal_first).run_id)
    said = " ".join(capsys.readouterr().out.split())
    assert "with its head; optimizer, schedule and order" in said
    assert "tokens see all, where they have seen only those before them" in said
    assert {"val/accuracy", "val/masked_accuracy"} <= {key for key, _ in points(store, whole.id)}
    folder = store.runs_folder / "checkpoints" / whole.id / "1-causal" / "model"
    assert json.loads((folder / "config.json").read_text())["is_decoder"] is True
    model = store.fetch_model_folder(whole.id)
    assert json.loads((model / "config.json").read_text())["is_decoder"] is False
    for step in (1, 3, 4):
        found = _break_off(causal_first, store, step)
        assert_goes_on(found, whole, project, "resumed at ", capsys)


def test_a_run_that_ends_with_a_causal_phase_leaves_a_decoder_or_is_refused(
    compose: Callable[..., dict[str, Any]], store: Store, capsys: pytest.CaptureFixture[str]
) -> None:
    phases = (
        "phases.masked.trainer.max_steps=2",
        f"phases.causal.groups={{{CAUSAL}}}",
        "phases.causal.data.task=causal_lm",
        "phases.causal.trainer.max_steps=2",
    )
    outcome = run(**compose(*TEXT, *FRESH, *phases))
    assert "tokens see only those before them, where they have seen all" in " ".join(
        capsys.readouterr().out.split()
    )
    folder = store.fetch_model_folder(outcome.run_id)
    opened = AutoModelForCausalLM.from_pretrained(folder).eval()
    own = load_encoder(folder, "causal_lm").eval()
    tokens = build_tokens(torch.arange(5, 14), torch.tensor([9]))
    with torch.no_grad():
        assert_close(own.compute_logits(tokens), opened(tokens.ids[None]).logits[0])
    # which another run can go on with, in both directions
    begin = ("data/tokenizer=pretrained", "model/encoder=pretrained", f"init_from={outcome.run_id}")
    run(**compose(*LABELS, *begin, "trainer.max_steps=1"))
    assert "where they have seen only those before them" in " ".join(
        capsys.readouterr().out.split()
    )
    count = len(store.search_runs(limit=100))
    with pytest.raises(UserError, match="opens the family 'modernbert' as one that reads in both"):
        run(**compose(*TEXT, *FRESH, *phases, "model/encoder=modern_tiny"))
    assert len(store.search_runs(limit=100)) == count


def test_what_does_not_go_with_phases_is_refused(
    reference: RunInfo, project: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert resume_phases(reference.id, project, "fork=true") == 2
    assert "has phases, through which no fork goes" in capsys.readouterr().err


def test_what_is_of_one_training_is_refused_or_left_out(config: dict[str, Any]) -> None:
    with pytest.raises(UserError, match="phases: a range test is of one training; phases=null"):
        run_lr_range(config, LrRangeSettings(1e-6, 1.0, 20))
    # a smaller batch would hold in some phases only
    assert halve_batch(config) is None
    assert halve_batch({key: value for key, value in config.items() if key != "phases"}) is not None


def test_a_plan_is_of_each_phase(
    config: dict[str, Any], capsys: pytest.CaptureFixture[str]
) -> None:
    _print_run_plan(config)
    said = capsys.readouterr().out
    for name, steps in (("short", 3), ("long", 4), ("label", 5)):
        _, _, after = said.partition(f"phase {name}, as a run of its own")
        assert f"training: {steps} steps" in after.partition("phase ")[0]
    assert "all 3 phases: " in said
