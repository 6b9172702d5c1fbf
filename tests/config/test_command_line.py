"""`--help` is written from the config folder, and costs nothing."""

import json
import subprocess
import sys

import src.config.command_line
from src.config.groups import list_groups, list_options
from src.config.overrides import put_flags_last
from src.core.files import CONF

COMMAND = """
import json, sys
from src.run import run_program
sys.argv = ["run", "--help"]
run_program()
print(json.dumps(sorted(sys.modules)))
"""


def test_everything_that_can_be_chosen_is_named() -> None:
    text = src.config.command_line.format_help_text()
    for group in src.config.command_line.GROUP_DESCRIPTIONS:
        assert group in list_groups()
        assert ", ".join(list_options(group)) in " ".join(text.split())
    for name in list_options("experiment"):
        first = (CONF / "experiment" / f"{name}.yaml").read_text(encoding="utf-8").splitlines()[1]
        assert f"    {name} " in text and first.removeprefix("# ") in text
    # files that others share are no choices
    assert " _text" not in text and " _encoder" not in text
    assert max(map(len, text.splitlines())) <= 160


def test_help_imports_nothing_heavy() -> None:
    done = subprocess.run(
        [sys.executable, "-c", COMMAND], capture_output=True, text=True, cwd=CONF.parent, check=True
    )
    modules = {name.partition(".")[0] for name in json.loads(done.stdout.splitlines()[-1])}
    assert not modules & {
        "hydra",
        "omegaconf",
        "yaml",
        "torch",
        "numpy",
        "lightning",
        "mlflow",
        "transformers",
    }
    assert done.stderr == ""
    assert done.stdout.startswith("Palimpsest pretrains and fine-tunes")


def test_flags_may_stand_between_overrides() -> None:
    typed = ["+experiment=imdb", "--cfg", "job", "seed=4", "--resolve"]
    assert put_flags_last(typed) == ["+experiment=imdb", "seed=4", "--cfg", "job", "--resolve"]
