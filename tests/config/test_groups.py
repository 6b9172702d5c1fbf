"""The options of conf/ as they are read beside a composition."""

import os
from pathlib import Path

import pytest
from omegaconf import OmegaConf

from src.config import groups


def test_an_option_that_has_changed_is_read_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trainer").mkdir()
    file = tmp_path / "trainer" / "cpu.yaml"
    monkeypatch.setattr(groups, "CONF", tmp_path)
    file.write_text("threads: 1")
    assert groups.load_option("trainer", "cpu") == {"threads": 1}
    file.write_text("threads: 2")
    # the clock of the disk may not have ticked between the two
    os.utime(file, ns=(1, 1))
    assert groups.load_option("trainer", "cpu") == {"threads": 2}


def test_a_number_is_what_it_is_to_hydra(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "optim").mkdir()
    monkeypatch.setattr(groups, "CONF", tmp_path)
    written = ("1e-3", "5E4", "-2e+1", "1.5e3", ".5e-2", "2.e1", "0.1", "7", "e5", "1e", "x1e5")
    lines = [f"key{place}: {word}" for place, word in enumerate(written)]
    file = tmp_path / "optim" / "own.yaml"
    file.write_text("\n".join(lines))
    expected = OmegaConf.to_container(OmegaConf.load(file))
    assert isinstance(expected, dict)
    found = groups.load_option("optim", "own")
    assert found == expected
    assert [*map(type, found.values())] == [*map(type, expected.values())]
    assert found["key0"] == 0.001


def test_what_an_option_is_built_on_stays_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "trainer").mkdir()
    (tmp_path / "trainer" / "one.yaml").write_text("threads: 1\ndevices: 1")
    (tmp_path / "trainer" / "two.yaml").write_text("defaults: [one, _self_]\nthreads: 2")
    monkeypatch.setattr(groups, "CONF", tmp_path)
    for _ in range(2):
        assert groups.load_option("trainer", "two") == {"threads": 2, "devices": 1}
        assert groups.load_option("trainer", "one") == {"threads": 1, "devices": 1}
