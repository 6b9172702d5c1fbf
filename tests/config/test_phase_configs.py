"""Phases as config: what a phase is composed of, how it is written in the run, what is refused."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from src.config.compose_run import compose_run
from src.config.config_folders import take_config_folders
from src.config.groups import set_config_folders
from src.config.override_errors import find_override_errors
from src.config.phases import (
    expand_phases,
    find_changes,
    merge_changes,
    put_last_phase_on_top,
)
from src.config.validate_config import validate_config
from src.core.user_errors import UserErrors
from src.pipeline.run import read_task_schema
from src.search.run.search_check import find_search_errors

TEXT = "+experiment=mlm_quickstart"
TWO = ("phases.short.trainer.max_steps=10", "phases.long.trainer.max_steps=20")
LABEL = ("phases.label.groups.data=generated", "phases.label.groups.model=classification")


def _compose(*overrides: str) -> dict[str, Any]:
    GlobalHydra.instance().clear()
    return compose_run(overrides, read_task_schema())


def _messages(*overrides: str) -> list[str]:
    with pytest.raises(UserErrors) as caught:
        _compose(*overrides)
    return caught.value.messages


def test_changes_are_merged_into_nodes_and_replace_those_with_a_target() -> None:
    node = {"a": {"_target_": "A", "x": 1, "y": 2}, "b": {"z": 3}, "c": 4}
    assert merge_changes(node, {"a": {"x": 5}, "b": {"w": 6}}) == {
        "a": {"_target_": "A", "x": 5, "y": 2},
        "b": {"z": 3, "w": 6},
        "c": 4,
    }
    assert merge_changes(node, {"a": {"_target_": "B", "k": 1}, "c": None}) == {
        "a": {"_target_": "B", "k": 1},
        "b": {"z": 3},
        "c": None,
    }
    assert node["c"] == 4


@pytest.mark.parametrize(
    ("after", "changes"),
    [
        ({"a": {"_target_": "A", "x": 1, "y": 3}}, {"a": {"y": 3}}),
        # a key that is gone cannot be said by a change, so the whole node is
        ({"a": {"_target_": "A", "x": 1}}, {"a": {"_target_": "A", "x": 1}}),
        ({"a": {"_target_": "B"}}, {"a": {"_target_": "B"}}),
        ({"a": {"_target_": "A", "x": 1, "y": 2}}, {}),
    ],
)
def test_the_changes_between_two_configs_make_one_of_the_other(
    after: dict[str, Any], changes: dict[str, Any]
) -> None:
    base = {"a": {"_target_": "A", "x": 1, "y": 2}}
    assert find_changes(base, after) == changes
    assert merge_changes(base, changes) == after


def test_a_node_whose_inner_mapping_has_lost_a_key_is_written_whole() -> None:
    base = {"model": {"_target_": "M", "metrics": {"a": 1, "b": 2}}, "callbacks": {"c": {}, "d": 1}}
    after = {"model": {"_target_": "M", "metrics": {"a": 1}}, "callbacks": {"d": 1}}
    changes = find_changes(base, after)
    assert changes == {"model": after["model"], "callbacks": {"c": None}}
    assert merge_changes(base, changes)["model"] == after["model"]


def test_the_top_level_is_the_last_phase() -> None:
    config = _compose(TEXT, "data.batching.batch_size=6", *TWO, *LABEL)
    assert config["model"]["objective"]["num_labels"] == 2
    # by the option, as the experiment says it, and as typed
    assert config["data"]["task"] == "classification"
    assert config["trainer"]["max_steps"] == 2400
    assert config["data"]["batching"]["batch_size"] == 6
    assert "mask_fraction" not in config["data"]["batching"]
    phases = expand_phases(config)
    assert list(phases) == ["short", "long", "label"]
    plain = _compose(TEXT, "data.batching.batch_size=6", "trainer.max_steps=10")
    assert phases["short"] == plain
    recorded = put_last_phase_on_top(config)
    assert recorded["phases"]["label"] == {}
    assert expand_phases(recorded) == phases
    assert put_last_phase_on_top(recorded) == recorded
    validate_config(recorded, read_task_schema())


def test_a_preset_holds_in_every_phase_unless_the_phase_says_otherwise() -> None:
    phases = expand_phases(_compose(TEXT, "preset=fast", *TWO[:1], "phases.b.trainer.max_epochs=7"))
    assert phases["short"]["trainer"]["max_epochs"] == 1
    assert phases["b"]["trainer"]["max_epochs"] == 7


def test_a_config_without_phases_stays_as_it_is() -> None:
    config = _compose(TEXT)
    assert "phases" not in config
    assert put_last_phase_on_top(config) == config
    assert {**_compose(TEXT, *TWO, "phases=null")} == {**config, "phases": None}


@pytest.mark.parametrize(
    ("overrides", "expected"),
    [
        (
            [*TWO, "phases.long.trainer.max_step=5", "phases.short.trainer.max_steps=0"],
            [
                "phases.short.trainer.max_steps: expected a whole number at least 1 or null, found "
                "0",
                "phases.long.trainer.max_step: there is no such key; did you mean 'max_steps'?",
            ],
        ),
        (
            [*TWO, "phases.long.traner.max_steps=5", "phases.long.seed=3"],
            [
                "phases.long.traner: there is no such key; did you mean 'trainer'?",
                "phases.long.seed: belongs to the whole run, not to a phase; write it outside of "
                "phases",
            ],
        ),
        (
            [*TWO, "phases.long.model=classification", "phases.short.groups.model=clasification"],
            [
                "phases.short.groups.model: there is no such choice; did you mean "
                "'classification'?",
                "phases.long.model=classification: an option is chosen among the groups of a "
                "phase; phases.long.groups.model=classification",
            ],
        ),
        (
            [*TWO, "phases.long.groups.tracking=offline", "phases.short.groups.modl=binary"],
            [
                "phases.short.groups.modl: there is no such group; did you mean 'model'?",
                "phases.long.groups.tracking is chosen for the whole run, outside of phases",
            ],
        ),
        (
            [*TWO, "phases.long.data.tokenizer.vocab_size=500", "phases.short.trainer.devices=2"],
            [
                "phases.long.data.tokenizer: all phases have one vocabulary, which the first one "
                "learns or loads; what is typed outside of phases (data.tokenizer) holds in all",
                "phases.short.trainer.devices: a run stays on its device; what is typed outside of "
                "phases (trainer.devices) holds in all",
            ],
        ),
        (
            [*TWO, "phases.long.data.batching.row_tokens=1024"],
            [
                "phase long: data.batching.row_tokens=1024 is more than the encoder can read, "
                "model.encoder.max_tokens=512; change either",
            ],
        ),
        (
            TWO[:1],
            [
                "phases: expected two or more, found short; a run of one phase is written without "
                "them",
            ],
        ),
        (
            ["phases=[a,b]"],
            [
                "phases: expected the changes of each phase; a phase is written by its name, as "
                "phases.short.trainer.max_steps=1000",
            ],
        ),
        # said once, since it is no matter of phases
        ([*TWO, "trainer.max_epochs=0"], ["trainer.max_epochs: expected a whole number at least"]),
    ],
)
def test_what_is_wrong_with_phases_is_said_with_the_key_to_type(
    overrides: list[str], expected: list[str]
) -> None:
    messages = _messages(TEXT, *overrides)
    assert len(messages) == len(expected), messages
    for message, beginning in zip(messages, expected, strict=True):
        assert message.startswith(beginning)


def test_a_search_may_vary_what_a_phase_changes() -> None:
    varied = [TEXT, *TWO, "phases.short.model.optim.lr=1e-4,1e-3"]
    task = read_task_schema()
    assert find_override_errors([*varied, "-m"], task, find_search_errors=find_search_errors) == []
    [error] = find_override_errors(
        [TEXT, *TWO, "phases.short.model.optim.lr=1e-4,-1", "-m"],
        task,
        find_search_errors=find_search_errors,
    )
    assert str(error).startswith("phases.short.model.optim.lr: expected a number")


def test_a_phase_chooses_options_of_the_users_own_folder(tmp_path: Path) -> None:
    (tmp_path / "data" / "batching").mkdir(parents=True)
    (tmp_path / "data" / "batching" / "tiny_rows.yaml").write_text(
        "defaults:\n  - masked\n  - _self_\nmask_share: 0.7\n"
    )
    words = [f"--config-dir={tmp_path}", TEXT, *TWO]
    choice = "phases.short.groups={data/batching:tiny_rows}"
    try:
        phases = expand_phases(_compose(*take_config_folders([*words, choice])))
    finally:
        set_config_folders([])
    # the experiment's own values hold for it too
    assert phases["short"]["data"]["batching"] == {
        **phases["long"]["data"]["batching"],
        "mask_share": 0.7,
    }


def test_a_phase_with_nearly_the_name_of_another_is_no_new_one() -> None:
    with pytest.raises(UserErrors) as caught:
        _compose("+experiment=quickstart_phases", "phases.shrt.trainer.max_steps=6")
    assert str(caught.value) == (
        "phases.shrt: there is no phase shrt; did you mean short? A further one is added by "
        "+phases.shrt"
    )
    added = _compose("+experiment=quickstart_phases", "+phases.shorter.trainer.max_steps=6")
    assert list(added["phases"]) == ["short", "long", "label", "shorter"]
