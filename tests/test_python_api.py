"""`palimpsest` from Python: everything that docs/python-api.md shows, and mistakes."""

import re
import shutil
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

import palimpsest
from palimpsest import UserError, compose, run
from src.config.compose import to_plain_config
from src.core.files import PROJECT_ROOT
from src.tracking.store import Store

PAGE = (PROJECT_ROOT / "docs" / "python-api.md").read_text(encoding="utf-8")
BLOCKS = re.findall(r"```python\n(.*?)```", PAGE, re.S)


@pytest.fixture
def place(tmp_path: Path, blank_database: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder with a store, in which all that is composed is kept; the runs there are small."""
    (tmp_path / "mlruns").mkdir()
    shutil.copy(blank_database, tmp_path / "mlruns" / "mlflow.db")

    def in_this_place(config: Any, typed: Sequence[str]) -> dict[str, Any]:
        plain = to_plain_config(config, typed)
        plain["tracking"] |= {"root": str(tmp_path), "system_metrics": False}
        plain["data"]["cache"] = str(tmp_path / ".cache")
        plain["data"]["source"] |= {"train": 40, "validation": 20, "test": 20}
        return plain

    monkeypatch.setattr("src.config.compose_run.to_plain_config", in_this_place)
    return tmp_path


def test_the_page(place: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert len(BLOCKS) == 4
    code = "".join(BLOCKS).replace("fork=True", f'"tracking.root={place}", fork=True')
    names: dict[str, Any] = {}
    exec(code, names)
    said = capsys.readouterr().out
    assert "model.optim.lrr: there is no such key; did you mean 'lr'?" in said
    client = Store(root=str(place)).open().client
    runs = client.search_runs([client.get_experiment_by_name("palimpsest").experiment_id])
    assert [run.info.status for run in runs] == ["FINISHED"] * 4
    assert {run.info.run_name for run in runs} == {
        "quickstart_scratch trainer=cpu max_epochs=null max_steps=4",
        "rate 0.0001 trainer=cpu max_epochs=null max_steps=4",
        "rate 0.001 trainer=cpu max_epochs=null max_steps=4",
        "quickstart_scratch max_steps=6",
    }
    outcome = names["outcome"]
    assert client.get_run(outcome.run_id).data.metrics["test/accuracy"] == pytest.approx(
        outcome.metrics["test/accuracy"]
    )


def test_mistakes_are_raised() -> None:
    with pytest.raises(UserError, match="a search makes several runs"):
        compose("search=learning_rate")
    with pytest.raises(UserError, match="flags belong to the command line"):
        compose("-m")
    with pytest.raises(UserError, match="several values make several runs"):
        compose("seed=1,2")
    with pytest.raises(UserError, match="there is no such folder"):
        compose(config_dir="nowhere")
    config = compose()
    config["seed"] = -1
    with pytest.raises(UserError, match="seed"):
        run(config)
    with pytest.raises(UserError, match="resume"):
        palimpsest.resume("123")


def test_a_list_of_overrides_is_refused() -> None:
    with pytest.raises(UserError, match=r"compose\(\*overrides\)"):
        compose(["+experiment=quickstart_scratch"])  # type: ignore[arg-type]


def test_what_is_no_config_is_refused() -> None:
    for wrong in ("+experiment=quickstart_scratch", ["seed=1"]):
        with pytest.raises(UserError, match=r"is no config: expected one that is composed, as run"):
            run(wrong)  # type: ignore[arg-type]


def test_configs_of_ones_own(tmp_path: Path) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text("# @package _global_\nseed: 7\n")
    assert compose("+experiment=mine", config_dir=tmp_path)["seed"] == 7
    with pytest.raises(UserError, match="mine"):
        compose("+experiment=mine")


def test_hydra_of_the_callers_is_left_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    own: Any = object()
    monkeypatch.setattr(GlobalHydra.instance(), "hydra", own)
    compose()
    assert GlobalHydra.instance().hydra is own
