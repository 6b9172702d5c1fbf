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

from src.config.build import build
from src.config.check import check
from src.config.choices import CONF, at, choices, content, groups, having, without
from src.config.compose import added, plain, register, started
from src.config.signature import Signature, signature
from src.terms.fault import Fault

EXPERIMENTS = choices("experiment")
DATA = {name: content("data", name).get("task", "classification") for name in choices("data")}
FULLY = {"generated", "generated_text", "stsb"}  # one for each model: with every encoder; the others with two
TRIPLES = [
    (data, model, encoder)
    for data, model, encoder in product(DATA, choices("model"), choices("model/encoder"))
    if DATA[data] == model and (data in FULLY or encoder in ("tiny", "pretrained"))
]
Compose = Callable[..., dict[str, Any]]


def _task() -> Signature:
    found = signature("src.run.run")
    assert found is not None
    return found


def _given(name: str) -> list[str]:
    """What a person must still say: a file where the data, or the experiment with them, are files of one's own."""
    return ["data.source.path=reviews.csv"] if "files" in name else []


def test_as_many_as_there_are() -> None:
    assert len(EXPERIMENTS) == len(list((CONF / "experiment").glob("*.yaml"))) == 12
    assert len(DATA) == 9
    assert choices("model") == ["classification", "masked_lm", "regression"]
    assert len(choices("model/encoder")) == 7
    assert len(TRIPLES) == 3 * 7 + 6 * 2


@pytest.mark.parametrize("name", EXPERIMENTS)
def test_experiment(name: str, composed: Compose) -> None:
    config = composed(f"+experiment={name}", "++init_from=0123456789abcdef", *_given(name))
    check(config, _task())
    assert config["name"] == name
    for part in ("data", "model", "trainer", "tracking"):
        build(config[part], origin=Path("model"))
    watchers = [build(each) for each in config["callbacks"].values()]
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
def test_what_fits_together_is_sound(data: str, model: str, encoder: str, composed: Compose) -> None:
    own = content("model/encoder", encoder)["_target_"].endswith("Pretrained")
    tokenizer = "pretrained" if own else "wordpiece"  # an encoder from scratch has no tokenizer to read
    choice = [f"data={data}", f"model={model}", f"model/encoder={encoder}", f"data/tokenizer={tokenizer}"]
    config = composed(*choice, *_given(data))
    check(config, _task())
    datamodule, module = build(config["data"]), build(config["model"])
    assert datamodule.task == module.objective.kind


def test_tracking_and_callbacks_choices_are_sound(composed: Compose) -> None:
    for group in ("trainer", "callbacks", "tracking", "data/cleaning"):
        assert choices(group)
        for choice in choices(group):
            check(composed(f"{group}={choice}"), _task())
    watched = composed("+experiment=imdb", "callbacks=early_stopping")["callbacks"]["early_stopping"]
    assert (watched["monitor"], watched["mode"]) == ("val/accuracy", "max")


def test_groups_and_choices() -> None:
    assert {"data", "data/batching", "model/encoder", "experiment"} <= groups()
    assert "_text" not in choices("data")
    assert content("data/tokenizer", "wordpiece_2k")["lowercase"] is True  # inherited
    assert content("data/tokenizer", "wordpiece_2k")["vocab_size"] == 2000  # its own
    assert having("data.batching.mask_fraction") == "data/batching=masked"
    assert without("data.batching.mask_fraction") == "data/batching=labelled"
    assert having("model.encoder.name_or_path") == "model/encoder=pretrained"
    assert having("nowhere.at.all") == having("name") == ""
    assert at({"a": {"b": 0}}, "a.b") == 0
    assert at({"a": {"b": 0}}, "a.b.c") is at({"a": []}, "a.b") is at(None, "a") is None


def test_optional_inputs_are_added_for_hydra() -> None:
    typed = ["init_from=ab", "tags.a=b", "tags={a: 1}"]
    assert added(typed, _task()) == [f"++{each}" for each in typed]
    others = ["+experiment=imdb", "init_fromm=1", "data.seed=1", "++init_from=x", "-m"]
    assert added(others, _task()) == others


def test_plain_keeps_what_it_cannot_resolve() -> None:
    from omegaconf import OmegaConf

    register()
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
    found = plain(config)
    assert isinstance(found["a"], Fault)
    assert str(found["a"]) == "takes its value from b.c, and there is no such key"
    assert str(found["e"]) == str(found["f"][1]) == ""  # b.d is reported itself
    assert str(found["g"]) == ""  # a second reference into the same node says nothing new
    assert str(found["h"]).startswith("${oc.env:NO} cannot be resolved: ")
    assert (found["b"], found["f"][0], found["i"]) == ({"d": "???"}, 1, None)


def test_project_root_is_this_project(composed: Compose) -> None:
    assert composed()["tracking"]["root"] == str(CONF.parent)


def test_build_says_what_a_constructor_refuses() -> None:
    with pytest.raises(Fault, match=r"AdamW\.lr: expected a number above 0 and at most 1, found 3"):
        build({"_target_": "src.model.optim.AdamW", "lr": 3})


def test_build_replaces_the_name_of_a_run() -> None:
    node = {"_target_": "src.model.architecture.Pretrained", "name_or_path": "run:abc"}
    assert build(node, origin=Path("there")).name_or_path == "there"
    assert build(node).name_or_path == "run:abc"


def test_config_files_are_plain_yaml() -> None:
    for file in CONF.rglob("*.yaml"):
        assert isinstance(yaml.safe_load(file.read_text(encoding="utf-8")), dict), file


@pytest.mark.parametrize("run_id", ["123456", "12e45678", "780cc25c"])
def test_a_run_id_that_looks_like_a_number_stays_a_text(run_id: str) -> None:
    from src.config.compose import added
    from src.config.signature import task_signature

    [override] = added([f"init_from={run_id}"], task_signature())
    assert OverridesParser.create().parse_override(override).value() == run_id


@pytest.fixture
def registered() -> Iterator[None]:
    register()
    yield
    GlobalHydra.instance().clear()


@pytest.mark.usefixtures("registered")
def test_a_run_is_started_as_hydra_starts_it_but_composed_once(monkeypatch: pytest.MonkeyPatch) -> None:
    composed: list[object] = []
    compose_config = Hydra.compose_config
    monkeypatch.setattr(Hydra, "compose_config", lambda *a, **k: composed.append(a) or compose_config(*a, **k))
    seen: list[Any] = []

    def task(config: DictConfig) -> None:
        assert "hydra" not in config
        seen.append((config.model.optim.lr, HydraConfig.get().mode, list(HydraConfig.get().overrides.task)))

    assert started(["model.optim.lr=0.5"], task)
    assert seen == [(0.5, RunMode.RUN, ["model.optim.lr=0.5"])]
    assert len(composed) == 1


@pytest.mark.usefixtures("registered")
def test_a_config_that_asks_for_many_runs_is_left_to_hydra() -> None:
    assert not started(["hydra.mode=MULTIRUN"], lambda _: pytest.fail("this is no single run"))


@pytest.mark.usefixtures("registered")
def test_what_a_task_raises_is_raised() -> None:
    def task(_: DictConfig) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        started([], task)
