"""What may be typed beside `resume=ID`: read, laid on the run's own config, compared with it."""

from typing import Any

import pytest
import yaml
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.config.allowed_changes import EarlierRun, check_changed_keys, diff_configs
from src.config.compose import is_resume, to_plain_config
from src.config.resume import load_stored_config, parse_resume_request
from src.core.files import CONF, PROJECT_ROOT
from src.core.user_errors import UserError
from src.pipeline.run import read_task_schema

ID = "0123abcd"
TASK = read_task_schema()


@pytest.fixture(scope="module")
def config() -> dict[str, Any]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return to_plain_config(compose("config", ["+experiment=imdb"]))


@pytest.fixture(scope="module")
def text(config: dict[str, Any]) -> str:
    """A run's artifact config.yaml."""
    return yaml.safe_dump(config, sort_keys=False).replace(str(PROJECT_ROOT), "${project_root:}")


def differing(text: str, *arguments: str, **known: Any) -> tuple[list[str], list[str]]:
    """The changes that are accepted, and the remarks."""
    asked = parse_resume_request((f"resume={ID}", *arguments), TASK)
    changes, remarks = check_changed_keys(
        load_stored_config(text),
        asked.merge_stored_config(text, TASK),
        run=EarlierRun(asked.run_id, **known),
        fork=asked.fork,
    )
    return [str(each) for each in changes], remarks


def refused(text: str, *arguments: str, **known: Any) -> str:
    with pytest.raises(UserError) as caught:
        differing(text, *arguments, **known)
    return str(caught.value)


@pytest.mark.parametrize(
    "arguments", [["resume=ab"], ["++resume=ab"], ["fork=true"], ["seed=2", "resume=ab"]]
)
def test_a_command_line_that_goes_on(arguments: list[str]) -> None:
    assert is_resume(arguments)


@pytest.mark.parametrize(
    "arguments", [[], ["+experiment=imdb"], ["name=resume=ab"], ["data.resume=ab"]]
)
def test_a_command_line_that_begins(arguments: list[str]) -> None:
    assert not is_resume(arguments)


def test_the_config_is_the_runs_own(config: dict[str, Any], text: str) -> None:
    asked = parse_resume_request([f"resume={ID}"], TASK)
    assert (asked.run_id, asked.fork) == (ID, False)
    assert asked.merge_stored_config(text, TASK) == config


def test_an_id_of_digits_stays_text() -> None:
    assert parse_resume_request(["resume=001234"], TASK).run_id == "001234"
    assert parse_resume_request(["resume='12e456'", "fork=True"], TASK)[:2] == ("12e456", True)


def test_the_store_is_the_one_that_was_asked(text: str) -> None:
    asked = parse_resume_request(
        [f"resume={ID}", "tracking.root=/elsewhere", "tracking.flush_seconds=5"], TASK
    )
    assert asked.tracking["root"] == "/elsewhere"
    found = asked.merge_stored_config(
        text.replace("system_metrics: true", "system_metrics: false"), TASK
    )["tracking"]
    assert (found["root"], found["flush_seconds"], found["system_metrics"]) == (
        "/elsewhere",
        5,
        False,
    )


def test_what_cannot_change_the_result_is_accepted(text: str) -> None:
    free = (
        "callbacks.progress.style=off",
        "data.num_workers=2",
        "data.cache=/tmp/c",
        "tracking.root=/x",
        "+tags.a=b",
    )
    changes, remarks = differing(text, *free)
    assert changes == [
        f"data.cache ({PROJECT_ROOT}/.cache -> /tmp/c)",
        "data.num_workers (0 -> 2)",
        "callbacks.progress.style (auto -> off)",
        "tags.a (absent -> b)",
    ]
    assert remarks == []


def test_what_changes_nothing_is_accepted(text: str) -> None:
    assert differing(text, "seed=1", "model.optim.lr=1e-4", "model.optim.weight_decay=0.01") == (
        [],
        [],
    )


def test_a_key_of_a_newer_version_that_is_null_is_no_change() -> None:
    old = {"data": {"train_rows": None}, "seed": 1}
    newer = {"data": {"train_rows": None, "label_map": None}, "seed": 1}
    assert diff_configs(old, newer) == []
    asked = {"data": {"train_rows": None, "label_map": {"1": "a"}}, "seed": 1}
    assert [str(change) for change in diff_configs(old, asked)] == [
        "data.label_map.1 (absent -> a)"
    ]
    # what is taken away is a change
    assert [change.key for change in diff_configs(old, {"seed": 1})] == ["data.train_rows"]


def test_what_changes_the_last_bits_is_said(text: str) -> None:
    changes, [remark] = differing(text, "trainer.threads=3")
    assert changes == ["trainer.threads (null -> 3)"]
    assert remark.startswith("trainer.threads (null -> 3): sums are added up in another order")


def test_a_change_of_the_result_is_refused_and_fork_named(text: str) -> None:
    assert refused(text, "model.optim.lr=0.001", "trainer.max_steps=50") == (
        "resume=0123abcd goes on as the run began, and what was typed would change it: "
        "model.optim.lr (0.0001 -> 0.001), trainer.max_steps (null -> 50); "
        "fork=true makes a new run of it that begins where this one is"
    )


def test_a_fork_takes_another_schedule(text: str) -> None:
    changes, _ = differing(
        text, "fork=true", "model.optim.lr=0.001", "trainer.max_steps=50", "name=longer"
    )
    assert changes == [
        "model.optim.lr (0.0001 -> 0.001)",
        "trainer.max_steps (null -> 50)",
        "name (imdb -> longer)",
    ]


@pytest.mark.parametrize(
    "override",
    [
        "seed=2",
        "data.seed=2",
        "model.freeze=2",
        "model.encoder.name_or_path=x",
        "data.batching.batch_size=20",
        "model.optim._target_=src.model.optim.Muon",
        "trainer.limit_batches=3",
    ],
)
def test_what_not_even_a_fork_can_take(text: str, override: str) -> None:
    key = override.partition("=")[0]
    assert refused(text, override).endswith(
        f"; for {key} a new run is needed (init_from=0123abcd begins one from its encoder)"
    )
    message = refused(text, override, "fork=true")
    assert message.startswith(
        "resume=0123abcd fork=true takes weights, optimizer and place in the data from that run"
    )
    assert key in message


@pytest.mark.parametrize(
    ("command", "offered"),
    [
        (
            "python -m src.run +experiment=imdb seed=1 'name=a b'",
            "python -m src.run +experiment=imdb 'name=a b' seed=2",
        ),
        ("palimpsest +experiment=imdb", "palimpsest +experiment=imdb seed=2"),
        ("python -m src.run -m +experiment=imdb", "what began it, typed again with that"),
        ("python -m src.run resume=ab fork=true", "what began it, typed again with that"),
        ("python -m src.rerun abcdef", "what began it, typed again with that"),
        ("python notebook.py", "what began it, typed again with that"),
        ("", "what began it, typed again with that"),
    ],
)
def test_what_begins_a_run_where_no_encoder_was_left(text: str, command: str, offered: str) -> None:
    message = refused(text, "seed=2", has_encoder=False, command=command)
    assert message.endswith(f"; for seed a new run is needed ({offered})")


def test_other_devices_keep_the_rows_of_a_step(text: str) -> None:
    text = text.replace("devices: 1", "devices: 2")
    changes, [remark] = differing(text, "trainer.devices=1", "data.batching.batch_size=64")
    assert changes == [
        "data.batching.batch_size (32 -> 64)",
        "trainer.devices (2 -> 1)",
        "trainer.batch_ranks (null -> 1)",
    ]
    assert "each step still has the same rows" in remark
    # the batch of each device stays: fewer take several, more take smaller ones
    for devices in ("1", "3", "4", "auto"):
        changes, _ = differing(text, f"trainer.devices={devices}")
        assert changes == [
            f"trainer.devices (2 -> {devices})",
            "trainer.batch_ranks (null -> 2)",
        ]
    # where memory has run out
    changes, _ = differing(text, "data.batching.batch_size=16")
    assert changes == ["data.batching.batch_size (32 -> 16)", "trainer.batch_ranks (null -> 4)"]
    assert differing(text) == ([], [])
    for words in (("data.batching.batch_size=20",), ("trainer.batch_ranks=4",)):
        assert words[0].partition("=")[0] in refused(text, *words)
    sharded = text.replace("strategy: auto", "strategy: fsdp")
    assert "trainer.devices" in refused(sharded, "trainer.devices=1", "data.batching.batch_size=64")
    limited = text.replace("batch_tokens: null", "batch_tokens: 4096")
    assert "trainer.devices" in refused(limited, "trainer.devices=1", "data.batching.batch_size=64")
    assert differing(
        limited,
        "trainer.devices=1",
        "data.batching.batch_size=64",
        "data.batching.batch_tokens=8192",
    )


def test_a_run_that_went_on_elsewhere_keeps_the_rows_of_its_beginning(text: str) -> None:
    forked = text.replace("batch_ranks: null", "batch_ranks: 1").replace("devices: 1", "devices: 4")
    assert differing(forked) == ([], [])
    changes, [remark] = differing(forked, "trainer.devices=2")
    assert changes == ["trainer.devices (4 -> 2)"] and "the same rows" in remark
    changes, _ = differing(forked, "data.batching.batch_size=8")
    assert changes == ["data.batching.batch_size (32 -> 8)", "trainer.batch_ranks (1 -> 4)"]


def test_devices_whose_number_was_left_open(text: str) -> None:
    text = text.replace("devices: 1", "devices: auto")
    # an earlier version did not write it down
    assert "trainer.devices (auto -> 1)" in refused(text, "trainer.devices=1")
    assert differing(text, ranks=2)[0] == ["trainer.batch_ranks (null -> 2)"]
    assert differing(text, "trainer.devices=1", ranks=2)[0] == [
        "trainer.devices (auto -> 1)",
        "trainer.batch_ranks (null -> 2)",
    ]


def test_all_mistakes_at_once(text: str) -> None:
    assert refused(text, "model.optim.lrr=3", "trainer.max_steps=abc", "model=masked_lm") == (
        "model.optim.lrr: there is no such key; did you mean 'lr'?\n"
        "model=masked_lm: beside resume= nothing is composed, the run has its own config; with "
        "model=masked_lm it is "
        "another run, which begins without resume=\n"
        "trainer.max_steps: expected a whole number at least 1 or null, found 'abc'"
    )


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["resume="], "resume= names no run: expected its id, or the first 6 or more digits of it"),
        (["fork=true"], "fork=true goes with resume=ID, the run that the new one begins from"),
        (["resume=ab", "fork=maybe"], "fork=maybe: expected true or false"),
        (["resume=ab", "resume=cd"], "resume= is given twice: ab, cd"),
        (["resume=ab", "-m"], "-m makes several runs, and resume= goes on with one, as it began"),
        (["resume=ab", "--cfg"], "--cfg does not go with resume=, for which nothing is composed"),
        (
            ["resume=ab", "seed=1,2"],
            "seed=1,2: several values make several runs, and resume= goes on with one",
        ),
        (
            ["resume=ab", "tracking=locl"],
            "tracking=locl: there is no such choice; did you mean 'local'?",
        ),
        (
            ["resume=ab", "tracking.rot=/x"],
            "tracking.rot: there is no such key; did you mean 'root'?",
        ),
        (
            ["resume=ab", "tracking.flush_seconds=-1"],
            "tracking.flush_seconds: expected a number at least 0, found -1",
        ),
    ],
)
def test_what_is_refused_before_any_store_is_opened(arguments: list[str], message: str) -> None:
    with pytest.raises(UserError) as caught:
        parse_resume_request(arguments, TASK)
    assert str(caught.value) == message


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("+experiment=imdb", "leave it out, or leave resume= out to begin a new run with it"),
        ("trainer=nowhere", "leave it out"),
        ("trainer=auto", "which has all of trainer=auto already; leave it out"),
        ("data=sst2", "with data=sst2 it is another run, which begins without resume="),
        (
            "trainer=cpu",
            "what shall differ is typed by its keys. trainer=cpu would be trainer.accelerator=cpu",
        ),
        ("seed=${data.seed}", "beside resume= a value is written out, not taken from another key"),
    ],
)
def test_groups_and_references(text: str, override: str, message: str) -> None:
    assert message in refused(text, override)


def test_a_secret_must_be_given_again(text: str) -> None:
    text = text.replace("hub: stanfordnlp/imdb", "hub: https://me:***@hub/imdb")
    assert refused(text) == (
        "data.source.hub: the run does not hold this secret; give it again, as "
        "data.source.hub=VALUE"
    )
    changes, _ = differing(text, "data.source.hub=stanfordnlp/imdb")
    assert changes == []


@pytest.mark.parametrize("text", ["- a\n- b", "", "a: [b", "7"])
def test_a_config_that_is_none(text: str) -> None:
    with pytest.raises(UserError, match="the run's config.yaml"):
        load_stored_config(text)


def test_a_resume_looks_in_the_store_of_the_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    task = read_task_schema()
    assert parse_resume_request(["resume=abcdef"], task).tracking["uri"] == "http://tracking:5000"
    typed = parse_resume_request(["resume=abcdef", "tracking.uri=sqlite:///other.db"], task)
    assert typed.tracking["uri"] == "sqlite:///other.db"
