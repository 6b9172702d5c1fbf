"""Which sweep a command line means."""

from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from src.search.identity import Asked, by_id, command, find, storage_folder
from src.search.study import Storage
from src.terms.fault import Fault

SWEEP, OTHER = "a" * 32, "ab" * 16


def differences(before: str, after: str) -> Mapping[str, str]:
    return {} if before == after else {"model.freeze": f"model.freeze ({before} -> {after})"}


ASKED = Asked(
    typed=["+experiment=imdb", "model.optim.lr=1e-5,2e-5", "search.max_trials=4"],
    space={"model.optim.lr": "1e-5,2e-5"},
    search={"sampler": {"_target_": "src.search.samplers.Grid"}, "pruner": None, "monitor": "val/loss", "mode": "min"},
    config="0",
    differences=differences,
)


@pytest.fixture
def storage(tmp_path: Path) -> Storage:
    made = Storage(None, tmp_path)
    made.create(OTHER, ["min"], replace(ASKED, typed=["+experiment=sst2"]).about)
    made.create(SWEEP, ["min"], ASKED.about)
    return made


def asked(**changed: Any) -> Asked:
    return replace(ASKED, **changed)


def test_the_same_command_finds_its_sweep(storage: Storage) -> None:
    assert find(storage, ASKED) == SWEEP
    turned = [
        "search.max_trials=9",
        "model.optim.lr=1e-5,2e-5",
        "+experiment=imdb",
        "search.jobs=2",
        "tracking.root=/x",
    ]
    assert find(storage, asked(typed=turned)) == SWEEP  # another order, a longer budget, another place
    assert find(storage, asked(typed=["+experiment=imdb"])) is None
    assert find(storage, asked(sweep="new")) is None


def test_the_newest_of_equal_commands_is_meant(storage: Storage) -> None:
    storage.create("c" * 32, ["min"], ASKED.about)
    assert find(storage, ASKED) == "c" * 32
    assert find(storage, asked(sweep="aaaaaa")) == SWEEP


def test_what_has_changed_is_told_with_the_ways_on(storage: Storage) -> None:
    with pytest.raises(Fault) as caught:
        find(storage, asked(config="2"))
    assert str(caught.value) == (
        "sweep aaaaaaaa was begun by this very command, but a config has changed since: model.freeze (0 -> 2). "
        "Two ways on: put that back and go on with it, or type sweep=new to begin another sweep"
    )
    other = {"model.optim.lr": "1e-5,3e-5"}
    with pytest.raises(Fault, match=r"others: model.optim.lr \(1e-5,2e-5 -> 1e-5,3e-5\). Two ways on: take that back"):
        find(storage, asked(space=other, sweep="aaaaaa"))


def test_a_key_that_varies_is_no_change_of_the_config(storage: Storage) -> None:
    space = {"model.freeze": "0,2"}
    storage.create("d" * 32, ["min"], asked(space=space).about)
    assert find(storage, asked(space=space, config="2", sweep="dddddd")) == "d" * 32


def test_a_sweep_by_the_beginning_of_its_id(storage: Storage) -> None:
    known = storage.studies()
    assert by_id(known, "aaa")[0] == SWEEP
    with pytest.raises(Fault, match="begins several ids"):
        by_id(known, "a")
    with pytest.raises(
        Fault, match=r"sweep=123456: there is no such sweep; the latest are aaaaaaaa \(\+experiment=imdb"
    ):
        by_id(known, "123456")


def test_the_command_of_a_sweep_with_what_is_typed_now(storage: Storage) -> None:
    assert command(storage, "aaaaaa", ["search.max_trials=8"]) == [
        "+experiment=imdb", "model.optim.lr=1e-5,2e-5", "search.max_trials=8"
    ]  # fmt: skip


def test_a_secret_is_not_kept_and_asked_for(storage: Storage) -> None:
    secret = asked(typed=["data.hub.token=abcdefgh", "seed=1,2"])
    assert "abcdefgh" not in str(secret.about)
    storage.create("e" * 32, ["min"], secret.about)
    with pytest.raises(Fault, match=r"does not hold the secret data.hub.token; type it again"):
        command(storage, "eeeeee", [])
    assert command(storage, "eeeeee", ["data.hub.token=abcdefgh"]) == ["seed=1,2", "data.hub.token=abcdefgh"]


def test_where_the_storage_is() -> None:
    assert storage_folder(["seed=1"], Path("/project")) == (None, Path("/project/mlruns"))
    typed = ["tracking.root=/there", "search.storage=postgresql://host/base"]
    assert storage_folder(typed, Path("/project")) == ("postgresql://host/base", Path("/there/mlruns"))
