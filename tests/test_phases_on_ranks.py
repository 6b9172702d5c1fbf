"""A run with phases on two ranks: it ends as that of one process does, and goes on after any
interruption as if there had been none.

Ranks here are processes of one CPU that talk through gloo.
"""

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch.distributed as dist
from safetensors.torch import load_file
from torch.testing import assert_close

import src.pipeline.phases
from src.core.user_errors import UserError
from src.model.module import EncoderModule
from src.pipeline.run import run
from src.tracking.earlier_runs import RunInfo
from src.tracking.store import Store
from src.training import launcher
from src.training.launcher import LostRank
from tests.labelled import project_of
from tests.test_phases import FRESH, TEXT, assert_goes_on, compose_phases
from tests.test_resume_command import points

RANKS = ("trainer=ddp", "trainer.devices=2")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    return project_of(tmp_path_factory.mktemp("project"), blank_database)


@pytest.fixture(scope="module")
def store(project: Path) -> Store:
    return Store(root=str(project))


@pytest.fixture(scope="module")
def compose(project: Path) -> Callable[..., dict[str, Any]]:
    """Three optimizer steps of masks and three of labels, of so many rows on each rank."""

    def make(rows: int, *overrides: str) -> dict[str, Any]:
        return compose_phases(
            project,
            *overrides,
            *TEXT[:2],
            *FRESH,
            f"data.batching.batch_size={rows}",
            "phases.masks.data.batching.row_tokens=16",
            "phases.masks.trainer.max_steps=3",
            "phases.label.groups.data=files",
            "phases.label.groups.model=classification",
            "phases.label.trainer.max_steps=3",
        )

    return make


@pytest.fixture(scope="module")
def alone(compose: Callable[..., dict[str, Any]], store: Store) -> RunInfo:
    """The run of one process."""
    return store.find_run(run(**compose(8)).run_id)


@pytest.fixture(scope="module")
def config(compose: Callable[..., dict[str, Any]]) -> dict[str, Any]:
    return compose(4, *RANKS)


@pytest.fixture(scope="module")
def reference(config: dict[str, Any], store: Store) -> RunInfo:
    """The undisturbed run of two ranks."""
    return store.find_run(run(**config).run_id)


def _compare(store: Store, one: str, other: str) -> None:
    """Weights and everything measured but times, up to rounding."""
    ours, theirs = points(store, one), points(store, other)
    assert ours.keys() == theirs.keys() and {step for _, step in ours} >= {1, 2, 3, 4, 5, 6}
    assert list(ours.values()) == pytest.approx([theirs[key] for key in ours], rel=2e-4, abs=1e-6)
    first, second = (
        load_file(store.fetch_model_folder(each) / "model.safetensors") for each in (one, other)
    )
    assert_close(first, second, rtol=0, atol=1e-4)


def test_two_ranks_go_through_phases_as_one_process_does(
    alone: RunInfo, reference: RunInfo, store: Store
) -> None:
    _compare(store, reference.id, alone.id)
    assert reference.tags["phase"] == "phase 2 of 2 (label)"
    assert not dist.is_initialized()


def test_so_do_two_that_share_one_model(
    compose: Callable[..., dict[str, Any]], alone: RunInfo, store: Store
) -> None:
    outcome = run(**compose(4, "trainer=fsdp", "trainer.devices=2"))
    _compare(store, outcome.run_id, alone.id)


def test_a_run_that_was_told_to_end_in_its_second_phase_goes_on(
    config: dict[str, Any],
    reference: RunInfo,
    store: Store,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    whole, steps = EncoderModule.training_step, [0]

    def told(self: EncoderModule, batch: Any, batch_index: int) -> Any:
        steps[0] += 1
        if steps[0] == 5:
            os.kill(os.getpid(), signal.SIGTERM)
        return whole(self, batch, batch_index)

    with pytest.MonkeyPatch.context() as patch, pytest.raises(BaseException) as caught:
        patch.setattr(EncoderModule, "training_step", told)
        run(**config)
    assert not isinstance(caught.value, Exception)
    [found] = store.search_runs(limit=1)
    assert found.status == "KILLED"
    words = "resumed at optimizer step 2 of phase 2 of 2 (label)"
    assert_goes_on(found, reference, project, words, capsys)


def test_a_rank_that_dies_at_a_border_ends_the_run_which_then_goes_on(
    config: dict[str, Any],
    reference: RunInfo,
    store: Store,
    project: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    started: list[Any] = []
    start, leave = launcher.start_helper, src.pipeline.phases._leave_model

    def remember(*arguments: Any, **options: Any) -> Any:
        started.append(start(*arguments, **options))
        return started[-1]

    def kill(*arguments: Any) -> None:
        leave(*arguments)
        started[0].kill()
        started[0].wait()

    with pytest.MonkeyPatch.context() as patch, pytest.raises(LostRank, match="rank 1 of 2"):
        patch.setattr(launcher, "start_helper", remember)
        patch.setattr(src.pipeline.phases, "_leave_model", kill)
        run(**config)
    [found] = store.search_runs(limit=1)
    assert found.status == "FAILED"
    assert found.tags["failure.reason"].startswith("LostRank: rank 1 of 2")
    assert not dist.is_initialized()
    words = "resumed at the beginning of phase 2 of 2 (label)"
    assert_goes_on(found, reference, project, words, capsys)


def test_ranks_of_a_launcher_are_refused(
    config: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    variables = {"TORCHELASTIC_RUN_ID": "none", "RANK": 0, "LOCAL_RANK": 0, "GROUP_RANK": 0}
    for name, value in {**variables, "WORLD_SIZE": 2, "LOCAL_WORLD_SIZE": 2}.items():
        monkeypatch.setenv(name, str(value))
    with pytest.raises(UserError, match="a run with phases starts its ranks itself"):
        run(**config)
