"""Numbers in files of a config that YAML reads otherwise."""

from pathlib import Path

import pytest

from src.config.compose import prefix_optional_inputs
from src.config.config_folders import take_config_folders
from src.config.groups import set_config_folders
from src.core.user_errors import UserError
from src.pipeline.run import read_task_schema

MINE = """\
# @package _global_
seed: {}
trainer:
  max_minutes: 90
tags:
  version: {}
"""


def _take(tmp_path: Path, seed: str, version: str) -> None:
    (tmp_path / "experiment").mkdir()
    (tmp_path / "experiment" / "mine.yaml").write_text(MINE.format(seed, version))
    try:
        take_config_folders([f"--config-dir={tmp_path}", "+experiment=mine", "seed=1"])
    finally:
        set_config_folders([])


@pytest.mark.parametrize(
    ("seed", "version", "read", "line"),
    [
        ("010", "1", "YAML reads 010 as the number 8; write 10 or, for a text, '010'", 2),
        ("1:30", "1", "YAML reads 1:30 as the number 90; write 90 or, for a text, '1:30'", 2),
        ("[1, 017]", "1", "YAML reads 017 as the number 15; write 17 or, for a text, '017'", 2),
        ("1", "1.10", "YAML reads 1.10 as the number 1.1; write 1.1 or, for a text, '1.10'", 6),
    ],
)
def test_a_number_that_is_read_as_another(
    tmp_path: Path, seed: str, version: str, read: str, line: int
) -> None:
    with pytest.raises(UserError) as caught:
        _take(tmp_path, seed, version)
    assert str(caught.value) == f"{tmp_path}/experiment/mine.yaml, line {line}: {read}"


@pytest.mark.parametrize("seed", ["1_000", "0", "00", "'010'", "0.10", "1e-3", "2024-01-01", "\t"])
def test_other_numbers_are_left_alone(tmp_path: Path, seed: str) -> None:
    _take(tmp_path, seed, "'1.10'")


def test_a_tag_that_is_typed_is_a_text() -> None:
    typed = ["tags.version=1.10", "tags.day=2024", "tags.what=a b", "seed=1.10"]
    assert prefix_optional_inputs(typed, read_task_schema()) == [
        "++tags.version='1.10'",
        "++tags.day='2024'",
        "++tags.what=a b",
        "seed=1.10",
    ]
