"""docs/keys.md: every key, with a meaning, and nothing that is no key."""

from pathlib import Path

import pytest

from src.config.groups import list_groups, list_options, load_option
from src.config.key_reference import format_key_reference, list_key_sections
from src.keys import main

DOCS = Path(__file__).resolve().parents[2] / "docs"


def test_the_written_reference_is_the_current_one() -> None:
    current = format_key_reference(list_key_sections())
    assert (DOCS / "keys.md").read_text(encoding="utf-8") == current, "make keys writes it anew"


def test_every_key_of_the_config_folder_is_listed_with_its_meaning() -> None:
    keys = {key.key: key for section in list_key_sections() for key in section.keys}
    assert [key.key for key in keys.values() if not key.meaning] == []
    for group in list_groups() - {"experiment"}:
        for option in list_options(group):
            content = load_option(group, option)
            if not str(content.get("_target_", "")).startswith("src."):
                continue
            names = [name for name, value in content.items() if not isinstance(value, dict)]
            prefix = group.replace("/", ".")
            missing = {f"{prefix}.{name}" for name in names if name != "_target_"} - set(keys)
            assert missing == set(), f"{group}={option}"


def test_defaults_are_those_of_the_config_files() -> None:
    keys = {key.key: key for section in list_key_sections() for key in section.keys}
    assert keys["callbacks.early_stopping.patience"].default == "3"
    assert keys["data.split.validation"].default == "0.1"
    # encoders differ in it
    assert keys["model.encoder.width"].default == "by option"
    assert keys["model.objective.label_smoothing"].type == "a number at least 0 and below 1"


def test_words_choose_among_the_keys(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["early", "PATIENCE"]) == 0
    shown = capsys.readouterr().out
    assert "callbacks.early_stopping.patience= (default: 3)\n    a whole number" in shown
    assert "model." not in shown


def test_a_word_in_no_key_is_a_mistake(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["zebra"]) == 2
    assert "no key has zebra" in capsys.readouterr().err


def test_a_key_of_another_trainer_is_found(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["lr_scheduler_type"]) == 0
    assert capsys.readouterr().out.startswith("model.optim.schedule=")
