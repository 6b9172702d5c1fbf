"""Which sweep a command line means."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

import pytest

from src.core.user_errors import UserError
from src.search.run.find_sweep import (
    SweepRequest,
    find_sweep,
    find_sweep_run,
    match_sweep_id,
    parse_storage_location,
    restore_overrides,
)
from src.search.sweep_study import SweepStorage

SWEEP, OTHER = "a" * 32, "ab" * 16


def differences(before: str, after: str) -> Mapping[str, str]:
    return {} if before == after else {"model.freeze": f"model.freeze ({before} -> {after})"}


ASKED = SweepRequest(
    overrides=["+experiment=imdb", "model.optim.lr=1e-5,2e-5", "search.max_trials=4"],
    space={"model.optim.lr": "1e-5,2e-5"},
    search={
        "sampler": {"_target_": "src.search.samplers.Grid"},
        "pruner": None,
        "monitor": "val/loss",
        "mode": "min",
    },
    config="0",
    compare_configs=differences,
)


@pytest.fixture
def storage(tmp_path: Path) -> SweepStorage:
    made = SweepStorage(None, tmp_path)
    made.create_study(
        OTHER, ["min"], replace(ASKED, overrides=["+experiment=sst2"]).stored_attributes
    )
    made.create_study(SWEEP, ["min"], ASKED.stored_attributes)
    return made


def asked(**changed: Any) -> SweepRequest:
    return replace(ASKED, **changed)


def test_the_same_command_finds_its_sweep(storage: SweepStorage) -> None:
    assert find_sweep(storage, ASKED) == SWEEP
    turned = [
        "search.max_trials=9",
        "model.optim.lr=1e-5,2e-5",
        "+experiment=imdb",
        "search.jobs=2",
        "tracking.root=/x",
    ]
    # another order, a longer budget, another place
    assert find_sweep(storage, asked(overrides=turned)) == SWEEP
    assert find_sweep(storage, asked(overrides=["+experiment=imdb"])) is None
    assert find_sweep(storage, asked(sweep="new")) is None


def test_the_newest_of_equal_commands_is_meant(storage: SweepStorage) -> None:
    storage.create_study("c" * 32, ["min"], ASKED.stored_attributes)
    assert find_sweep(storage, ASKED) == "c" * 32
    assert find_sweep(storage, asked(sweep="aaaaaa")) == SWEEP


def test_a_sweep_whose_run_is_gone_is_told_with_the_way_on() -> None:
    class Emptied:
        def find_run(self, run_id: str, key: str) -> None:
            raise UserError(f"{key}={run_id!r}: there is no such run")

    gone = f"but its run cannot be used (run='{SWEEP}': there is no such run)"
    with pytest.raises(UserError) as caught:
        find_sweep_run(cast(Any, Emptied()), SWEEP, ASKED)
    assert str(caught.value) == (
        f"sweep aaaaaaaa was begun by this very command, {gone}; type sweep=new to begin another "
        "sweep"
    )
    with pytest.raises(UserError) as caught:
        find_sweep_run(cast(Any, Emptied()), SWEEP, asked(sweep="aaaaaa"))
    assert str(caught.value) == (
        f"sweep aaaaaaaa is kept, {gone}; type the sweep's whole command with sweep=new to begin "
        "another sweep"
    )


def test_what_has_changed_is_told_with_the_ways_on(storage: SweepStorage) -> None:
    with pytest.raises(UserError) as caught:
        find_sweep(storage, asked(config="2"))
    assert str(caught.value) == (
        "sweep aaaaaaaa was begun by this very command, but a config has changed since: "
        "model.freeze (0 -> 2). "
        "Two ways on: put that back and go on with it, or type sweep=new to begin another sweep"
    )
    other = {"model.optim.lr": "1e-5,3e-5"}
    with pytest.raises(
        UserError,
        match=r"others: model.optim.lr \(1e-5,2e-5 -> 1e-5,3e-5\). Two ways on: take that back",
    ):
        find_sweep(storage, asked(space=other, sweep="aaaaaa"))


def test_a_sweep_with_the_former_pruner_of_learning_rate_goes_on(storage: SweepStorage) -> None:
    former = {
        "_target_": "src.search.pruners.Median",
        "startup_trials": 5,
        "warmup_validations": 0,
        "patience": None,
    }
    now = {"_target_": "src.search.pruners.Percentile", "percentile": 25, "warmup_share": 0.15}
    begun = asked(overrides=["search=learning_rate"], search=ASKED.search | {"pruner": former})
    storage.create_study("c" * 32, ["min"], begun.stored_attributes)
    assert find_sweep(storage, replace(begun, search=ASKED.search | {"pruner": now})) == "c" * 32
    # one that was chosen is kept
    chosen = asked(
        overrides=["seed=1,2", "search/pruner=median"], search=ASKED.search | {"pruner": former}
    )
    storage.create_study("d" * 32, ["min"], chosen.stored_attributes)
    with pytest.raises(UserError, match="search.pruner._target_"):
        find_sweep(storage, replace(chosen, search=ASKED.search | {"pruner": now}))


def test_a_key_that_varies_is_no_change_of_the_config(storage: SweepStorage) -> None:
    space = {"model.freeze": "0,2"}
    storage.create_study("d" * 32, ["min"], asked(space=space).stored_attributes)
    assert find_sweep(storage, asked(space=space, config="2", sweep="dddddd")) == "d" * 32


def test_a_sweep_by_the_beginning_of_its_id(storage: SweepStorage) -> None:
    known = storage.list_studies()
    assert match_sweep_id(known, "aaa")[0] == SWEEP
    with pytest.raises(UserError, match="begins several ids"):
        match_sweep_id(known, "a")
    with pytest.raises(
        UserError,
        match=r"sweep=123456: there is no such sweep; the latest are aaaaaaaa \(\+experiment=imdb",
    ):
        match_sweep_id(known, "123456")


def test_the_command_of_a_sweep_with_what_is_typed_now(storage: SweepStorage) -> None:
    assert restore_overrides(storage, "aaaaaa", ["search.max_trials=8"]) == [
        "+experiment=imdb",
        "model.optim.lr=1e-5,2e-5",
        "search.max_trials=8",
    ]


def test_a_secret_is_not_kept_and_asked_for(storage: SweepStorage) -> None:
    secret = asked(overrides=["data.hub.token=abcdefgh", "seed=1,2"])
    assert "abcdefgh" not in str(secret.stored_attributes)
    storage.create_study("e" * 32, ["min"], secret.stored_attributes)
    with pytest.raises(UserError, match=r"does not hold the secret data.hub.token; type it again"):
        restore_overrides(storage, "eeeeee", [])
    assert restore_overrides(storage, "eeeeee", ["data.hub.token=abcdefgh"]) == [
        "seed=1,2",
        "data.hub.token=abcdefgh",
    ]


def test_where_the_storage_is() -> None:
    assert parse_storage_location(["seed=1"], Path("/project")) == (None, Path("/project/mlruns"))
    typed = ["tracking.root=/there", "search.storage=postgresql://host/base"]
    assert parse_storage_location(typed, Path("/project")) == (
        "postgresql://host/base",
        Path("/there/mlruns"),
    )
