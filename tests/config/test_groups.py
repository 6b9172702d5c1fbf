"""The options of conf/ as they are read beside a composition."""

import os
from pathlib import Path

import pytest

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
