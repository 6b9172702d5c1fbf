"""What conf/search/ describes can be built, and what does not go together is refused."""

import shutil
from collections.abc import Iterator
from itertools import cycle
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra
from omegaconf import DictConfig, OmegaConf

from src.config import compose as compose_module
from src.config.compose import to_plain_config
from src.config.groups import list_options
from src.config.overrides import (
    drop_sweep_id,
    is_multirun,
    needs_multirun_error,
    parse_sweep_id,
    search_overrides,
)
from src.core.user_errors import UserError, UserErrors
from src.search.pruners import Median, Percentile
from src.search.run.search_check import build_search
from src.search.samplers import TPE, Grid
from src.search.search_config import Search
from src.search.space import parse_space
from tests.conftest import CONF


@pytest.fixture(autouse=True)
def _hydra() -> Iterator[None]:
    GlobalHydra.instance().clear()
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        yield
    GlobalHydra.instance().clear()


def _config(*overrides: str) -> DictConfig:
    return compose("config", list(overrides))


def test_what_is_searched_where_nothing_is_said() -> None:
    assert build_search(_config()) == Search(
        sampler=Grid(), space={}, monitor="val/loss", mode="min"
    )
    found = build_search(_config("+experiment=imdb"))
    assert (found.monitors, found.modes) == (["val/accuracy"], ["max"])


def test_the_learning_rate() -> None:
    found = build_search(_config("search=learning_rate", "+experiment=imdb"))
    assert (found.sampler, found.pruner, found.max_trials) == (
        TPE(),
        Percentile(percentile=25, startup_trials=1, warmup_share=0.15),
        20,
    )
    (dimension,) = parse_space([], found.space)[0].dimensions
    assert (dimension.key, dimension.low, dimension.high, dimension.log) == (
        "model.optim.lr",
        1e-6,
        1e-3,
        True,
    )


def test_a_space_may_be_written_as_a_tree() -> None:
    config = _config("search.max_trials=3")
    OmegaConf.set_struct(config, False)
    config.search.space = {
        "model": {"optim": {"lr": "1e-5,2e-5", "beta1": "0.8,0.9"}},
        "seed": "1,2",
    }
    assert build_search(config).space == {
        "model.optim.lr": "1e-5,2e-5",
        "model.optim.beta1": "0.8,0.9",
        "seed": "1,2",
    }


def test_every_choice_can_be_built() -> None:
    samplers, pruners = list_options("search/sampler"), list_options("search/pruner")
    assert (len(samplers), len(pruners), list_options("search")) == (
        5,
        4,
        ["grid", "k_fold", "learning_curve", "learning_rate", "seeds"],
    )
    for sampler, pruner in zip(samplers, cycle(pruners), strict=False):
        found = build_search(
            _config(f"search/sampler={sampler}", f"search/pruner={pruner}", "search.max_trials=3")
        )
        assert found.pruner is not None and found.pruner.name == pruner
        assert found.sampler.name.lower().replace("-", "_") in (sampler, "cma_es")
        assert found.sampler.is_unbounded is (sampler != "grid")
    assert build_search(_config("search=learning_rate", "search.pruner=null")).pruner is None


def test_a_run_has_no_search() -> None:
    """Nor need it have what a search refers to."""
    config = _config("callbacks.checkpoint=null")
    assert "search" not in to_plain_config(config)
    with pytest.raises(UserErrors) as caught:
        build_search(config)
    assert caught.value.messages == [
        "search.monitor: taken from ${callbacks.checkpoint.monitor}, which is not there; "
        "give it, as search.monitor=val/loss",
        "search.mode: taken from ${callbacks.checkpoint.mode}, which is not there; give it, as "
        "search.mode=min",
    ]


def test_a_search_refuses_what_does_not_go_together() -> None:
    with pytest.raises(UserErrors) as caught:
        Search(
            sampler=TPE(), monitor=["val/loss", "val/loss"], mode="min", space={}, pruner=Median()
        )
    assert caught.value.messages == [
        "search.monitor=val/loss, val/loss: a metric stands there twice",
        "search.mode has 1 (min) for 2 in search.monitor (val/loss, val/loss); expected one for "
        "each",
        "search.monitor=val/loss, val/loss: a trial is given up by one metric; search.pruner=null "
        "gives up none",
        "search.sampler is TPE, which has no end: expected search.max_trials=20, search.max_hours "
        "or search.max_tokens",
    ]
    for budget in ({"max_trials": 1}, {"max_hours": 0.5}, {"max_tokens": 1}):
        Search(sampler=TPE(), monitor="test/accuracy", mode="max", space={}, **budget)
    with pytest.raises(UserError, match="given up by what validation measures"):
        Search(sampler=Grid(), monitor="test/accuracy", mode="max", space={}, pruner=Median())
    with pytest.raises(UserError, match="search.monitor is empty"):
        Search(sampler=Grid(), monitor=[], mode=[], space={})


def test_a_sweep_is_named_by_its_id_or_new() -> None:
    arguments = ["-m", "sweep='1a2b3c'", "seed=1,2", "+sweep=new"]
    assert drop_sweep_id(arguments) == ["-m", "seed=1,2"]
    assert parse_sweep_id(arguments[:3]) == "1a2b3c"
    assert parse_sweep_id(arguments[2:]) == "new"
    assert parse_sweep_id(["seed=1"]) is None
    with pytest.raises(UserErrors) as caught:
        parse_sweep_id([*arguments, "sweep=1A2B3C"])
    assert caught.value.messages == [
        "sweep=1A2B3C: expected new, or the id of a sweep: the first 6 or more hexadecimal digits "
        "of it; the same command without sweep= goes on with its own sweep, and "
        "`python -m src.runs --kind search` lists all",
        "sweep= is given twice: 1a2b3c, new, 1A2B3C",
    ]


def test_what_is_said_of_a_search() -> None:
    arguments = [
        "search=grid",
        "search.jobs=2",
        "search/sampler=tpe",
        "+sweep=new",
        "model=searched",
        "searching=1",
    ]
    assert search_overrides(arguments) == arguments[:4]
    assert (
        is_multirun(["-m"]) and is_multirun(["hydra.mode=MULTIRUN"]) and not is_multirun(arguments)
    )
    assert (
        str(needs_multirun_error("sweep=new"))
        == "sweep=new: a search makes several runs, which -m asks for (python -m src.run -m ...)"
    )


def test_one_run_composes_no_search(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Not even where an experiment says something of it."""
    GlobalHydra.instance().clear()
    shutil.copytree(CONF, tmp_path / "conf")
    mine = (
        "# @package _global_\ndefaults:\n  - override /search: learning_rate\n  - override "
        "/search/pruner: halving\n"
    )
    (tmp_path / "conf/experiment/mine.yaml").write_text(mine)
    monkeypatch.setattr(compose_module, "CONF", tmp_path / "conf")
    monkeypatch.chdir(tmp_path)
    seen: list[DictConfig] = []
    assert compose_module.run_composed_once(["seed=3"], seen.append)
    assert "search" not in seen[0] and seen[0].seed == 3
    assert compose_module.run_composed_once(["+experiment=mine"], seen.append)
    assert "search" not in to_plain_config(seen[1])
    assert not compose_module.run_composed_once(
        ["hydra.mode=MULTIRUN", "search=learning_rate"], seen.append
    )
    with pytest.raises(
        ValueError, match=r"^search.jobs=2: a search makes several runs, which -m asks for"
    ):
        compose_module.run_composed_once(["seed=3", "search.jobs=2"], seen.append)
    assert len(seen) == 2
