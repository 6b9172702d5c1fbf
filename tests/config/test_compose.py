"""Everything that the config folder offers composes, is sound and can be built."""

import re
from collections.abc import Callable, Iterator
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra._internal.hydra import Hydra
from hydra.core.global_hydra import GlobalHydra
from hydra.core.hydra_config import HydraConfig
from hydra.core.override_parser.overrides_parser import OverridesParser
from hydra.types import RunMode
from omegaconf import DictConfig

from src.config.build_nodes import build_node
from src.config.compose import (
    apply_init_from,
    prefix_optional_inputs,
    register_resolvers,
    run_composed_once,
    to_plain_config,
)
from src.config.config_folders import take_config_folders
from src.config.groups import (
    list_groups,
    list_options,
    load_option,
    options_with_key,
    options_without_key,
    set_config_folders,
)
from src.config.override_errors import find_override_errors
from src.config.validate_config import validate_config
from src.core.files import CONF
from src.core.nested_config import get_by_path
from src.core.user_errors import UserError, UserErrors
from src.pipeline.run import read_task_schema

EXPERIMENTS = list_options("experiment")
DATA = {
    name: load_option("data", name).get("task", "classification") for name in list_options("data")
}
# one for each model: with every encoder; the others with two
FULLY = {"generated", "generated_text", "generated_topics", "stsb"}
TRIPLES = [
    (data, model, encoder)
    for data, model, encoder in product(DATA, list_options("model"), list_options("model/encoder"))
    if DATA[data] == model and (data in FULLY or encoder in ("tiny", "pretrained"))
]
Compose = Callable[..., dict[str, Any]]


def _given(name: str) -> list[str]:
    """What a person must still say: a file where the data, or the experiment with them, are files
    of one's own.
    """
    return ["data.source.path=reviews.csv"] if "files" in name else []


def test_as_many_as_there_are() -> None:
    assert len(EXPERIMENTS) == len(list((CONF / "experiment").glob("*.yaml"))) == 20
    assert len(DATA) == 13
    assert list_options("model") == [
        "binary",
        "causal_lm",
        "classification",
        "denoising",
        "distillation",
        "masked_lm",
        "masked_lm_with_next_sentence",
        "multi_label",
        "ordinal",
        "regression",
        "replaced_tokens",
        "token_classification",
    ]
    assert len(list_options("model/encoder")) == 11
    assert len(TRIPLES) == 4 * 11 + 9 * 2


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment(name: str, composed: Compose) -> None:
    config = composed(f"+experiment={name}", "++init_from=0123456789abcdef", *_given(name))
    validate_config(config, read_task_schema())
    assert config["name"] == name
    for part in ("data", "model", "trainer", "tracking"):
        build_node(config[part])
    watchers = [build_node(each) for each in config["callbacks"].values()]
    assert len(watchers) >= 3


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment_opens_with_its_story(name: str) -> None:
    lines = (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()
    assert lines[0] == "# @package _global_"
    assert lines[1].startswith("# ") and len(lines[1]) > 20
    assert lines[2].startswith("# Numbers: ")
    assert lines[3].startswith("# Expected: ")
    command = re.fullmatch(r"# python -m src\.run \+experiment=(\w+).*", lines[4])
    assert command is not None and command.group(1) == name
    assert not lines[5].startswith("#")


@pytest.mark.parametrize(("data", "model", "encoder"), TRIPLES)
def test_what_fits_together_is_sound(
    data: str, model: str, encoder: str, composed: Compose
) -> None:
    own = load_option("model/encoder", encoder)["_target_"].endswith("Pretrained")
    # an encoder from scratch has no tokenizer to read
    tokenizer = "pretrained" if own else "wordpiece"
    choice = [
        f"data={data}",
        f"model={model}",
        f"model/encoder={encoder}",
        f"data/tokenizer={tokenizer}",
    ]
    config = composed(*choice, *_given(data))
    validate_config(config, read_task_schema())
    datamodule, module = build_node(config["data"]).build(), build_node(config["model"]).build()
    assert datamodule.config.task == module.objective.kind


def test_tracking_and_callbacks_choices_are_sound(composed: Compose) -> None:
    for group in ("trainer", "callbacks", "tracking", "data/cleaning"):
        assert list_options(group)
        for choice in list_options(group):
            # what is the user's to say
            own = {
                "milestone": ["callbacks.milestone.step=9", "callbacks.milestone.mark=0.5"],
                "probe": ["callbacks.probe.source.path=rows"],
            }
            typed = [f"{group}={choice}", *own.get(choice, [])]
            validate_config(composed(*typed), read_task_schema())
    watched = composed("+experiment=imdb", "callbacks=early_stopping")["callbacks"][
        "early_stopping"
    ]
    assert (watched["monitor"], watched["mode"]) == ("val/accuracy", "max")


def test_groups_and_choices() -> None:
    assert {"data", "data/batching", "model/encoder", "experiment"} <= list_groups()
    assert "_text" not in list_options("data")
    # inherited
    assert load_option("data/tokenizer", "wordpiece_2k")["lowercase"] is True
    # its own
    assert load_option("data/tokenizer", "wordpiece_2k")["vocab_size"] == 2000
    assert options_with_key("data.batching.mask_schedule") == "data/batching=masked"
    assert (
        options_without_key("data.batching.mask_fraction")
        == "data/batching=causal|denoising|labelled"
    )
    assert options_with_key("model.encoder.name_or_path") == "model/encoder=pretrained"
    assert options_with_key("nowhere.at.all") == options_with_key("name") == ""
    assert get_by_path({"a": {"b": 0}}, "a.b") == 0
    assert (
        get_by_path({"a": {"b": 0}}, "a.b.c")
        is get_by_path({"a": []}, "a.b")
        is get_by_path(None, "a")
        is None
    )


def test_optional_inputs_are_added_for_hydra() -> None:
    # what stands below one may be a number, and is none in quotes
    below = ["report.mistakes=0", "report.near_train=1", "phases.short.trainer.max_steps=4"]
    typed = ["init_from=ab", "tags.a=b", "tags={a: 1}", *below]
    assert prefix_optional_inputs(typed, read_task_schema()) == [f"++{each}" for each in typed]
    others = ["+experiment=imdb", "init_fromm=1", "data.seed=1", "++init_from=x", "-m"]
    assert prefix_optional_inputs(others, read_task_schema()) == others


def test_plain_keeps_what_it_cannot_resolve() -> None:
    from omegaconf import OmegaConf

    register_resolvers()
    config = OmegaConf.create(
        {
            "a": "${b.c}",
            "b": {"d": "???"},
            "e": "run:${b.d}",
            "f": [1, "${b.d}"],
            "g": "${b.x}",
            "h": "${oc.env:NO}",
            "i": None,
        }
    )
    found = to_plain_config(config)
    assert isinstance(found["a"], UserError)
    assert str(found["a"]) == "takes its value from b.c, and there is no such key"
    # b.d is reported itself
    assert str(found["e"]) == str(found["f"][1]) == ""
    # a second reference into the same node says nothing new
    assert str(found["g"]) == ""
    assert str(found["h"]).startswith("${oc.env:NO} cannot be resolved: ")
    assert (found["b"], found["f"][0], found["i"]) == ({"d": "???"}, 1, None)


def test_project_root_is_this_project(composed: Compose) -> None:
    assert composed()["tracking"]["root"] == str(CONF.parent)


def test_build_says_what_a_constructor_refuses() -> None:
    with pytest.raises(
        UserError, match=r"AdamW\.lr: expected a number above 0 and at most 1, found 3"
    ):
        build_node({"_target_": "src.model.optim.AdamW", "lr": 3})


def test_build_replaces_the_name_of_a_run(composed: Compose) -> None:
    config = composed("+experiment=quickstart", "++init_from=abc")
    model, data = apply_init_from("abc", config["model"], config["data"])
    for node, part in ((model, "encoder"), (data, "tokenizer")):
        spec = build_node(node)
        assert getattr(spec, part).name_or_path == "run:abc"
        assert getattr(spec.build().config, part).name_or_path == "run:abc"
        assert getattr(spec.build(Path("there")).config, part).name_or_path == "there"


def test_config_files_are_plain_yaml() -> None:
    for file in CONF.rglob("*.yaml"):
        assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict), file


@pytest.mark.parametrize("run_id", ["123456", "12e45678", "780cc25c"])
def test_a_run_id_that_looks_like_a_number_stays_a_text(run_id: str) -> None:
    from src.config.compose import prefix_optional_inputs
    from src.pipeline.run import read_task_schema

    [override] = prefix_optional_inputs([f"init_from={run_id}"], read_task_schema())
    assert OverridesParser.create().parse_override(override).value() == run_id


@pytest.fixture
def registered() -> Iterator[None]:
    register_resolvers()
    yield
    GlobalHydra.instance().clear()


@pytest.mark.usefixtures("registered")
def test_a_run_is_started_as_hydra_starts_it_but_composed_once(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    composed: list[object] = []
    compose_config = Hydra.compose_config
    monkeypatch.setattr(
        Hydra, "compose_config", lambda *a, **k: composed.append(a) or compose_config(*a, **k)
    )
    seen: list[Any] = []

    def task(config: DictConfig) -> None:
        assert "hydra" not in config
        seen.append(
            (config.model.optim.lr, HydraConfig.get().mode, list(HydraConfig.get().overrides.task))
        )

    assert run_composed_once(["model.optim.lr=0.5"], task)
    assert seen == [(0.5, RunMode.RUN, ["model.optim.lr=0.5"])]
    assert len(composed) == 1


@pytest.mark.usefixtures("registered")
def test_a_config_that_asks_for_many_runs_is_left_to_hydra() -> None:
    assert not run_composed_once(
        ["hydra.mode=MULTIRUN"], lambda _: pytest.fail("this is no single run")
    )


@pytest.mark.usefixtures("registered")
def test_what_a_task_raises_is_raised() -> None:
    def task(_: DictConfig) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        run_composed_once([], task)


def test_the_environment_names_the_store_unless_one_is_typed(
    composed: Compose, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert composed()["tracking"]["uri"] is None
    assert composed()["tracking"]["experiment"] == "palimpsest"
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "http://tracking:5000")
    monkeypatch.setenv("MLFLOW_EXPERIMENT_NAME", "reviews")
    tracking = composed()["tracking"]
    assert (tracking["uri"], tracking["experiment"]) == ("http://tracking:5000", "reviews")
    assert composed("tracking=offline")["tracking"]["uri"] is None
    typed = composed("tracking.uri=null", "tracking.experiment=mine")["tracking"]
    assert (typed["uri"], typed["experiment"]) == (None, "mine")
    # set but empty is not set, as for MLflow itself
    monkeypatch.setenv("MLFLOW_TRACKING_URI", "")
    assert composed()["tracking"]["uri"] is None


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    """A config folder with one experiment of its own."""
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "own.yaml").write_text("# @package _global_\nname: own\nseed: 7\n")
    yield tmp_path
    set_config_folders([])


def test_the_experiments_of_another_folder_are_known(folder: Path) -> None:
    asked = ["-m", "+experiment=own", "seed=1,2"]
    for typed in (["--config-dir", str(folder)], [f"hydra.searchpath=[{folder}]"]):
        arguments = take_config_folders([*typed, *asked])
        assert arguments == [*asked, f"hydra.searchpath=['{folder}']"]
        assert {"own", "imdb"} <= set(list_options("experiment"))
        assert find_override_errors(arguments, read_task_schema()) == []
        wrong = [text.replace("own", "owm") for text in arguments]
        (error,) = find_override_errors(wrong, read_task_schema())
        assert "own" in str(error)


def test_a_config_folder_that_is_not_there_is_named() -> None:
    with pytest.raises(UserError, match="--config-dir=/no/such: there is no such folder"):
        take_config_folders(["+experiment=own", "--config-dir=/no/such"])


@pytest.mark.parametrize("value", ["{a: [1]}", "{a: {b: c}}", "{a: null}"])
def test_a_tag_is_one_value(value: str, composed: Compose) -> None:
    with pytest.raises(UserErrors, match="tags: expected a mapping to"):
        validate_config(composed(f"++tags={value}"), read_task_schema())


def test_names_and_values_of_tags_may_be_numbers(composed: Compose) -> None:
    validate_config(composed("++tags={2024: pilot, year: 2024, done: true}"), read_task_schema())
