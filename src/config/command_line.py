"""Parses the command lines of the small commands (`key=value` or `--flags`), and writes the text of
`--help`.

The small commands do not use Hydra, whose grammar would split a text at its commas. The help of
`src.run` is made from the config folder; nothing heavy is imported for it.
"""

import argparse
import re
import shlex
import textwrap
from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import NoReturn

from src.config.groups import list_options
from src.core.checkout import check_checkout
from src.core.files import CONF, PROJECT_ROOT
from src.core.mlflow_environment import choose_tracking_uri, read_experiment_name
from src.core.printing import print_line
from src.core.user_errors import UserError, did_you_mean, format_suggestion, suggest

# How the commands that take flags call the config keys that say which store is meant.
STORE_OPTION_NAMES = {
    "tracking.uri": "--uri",
    "tracking.experiment": "--experiment",
    "tracking.root": "--root",
}

# Flags of several commands that mean the same.
_SAME_FLAGS = (
    ("limit", "top", "n", "count"),
    ("sort", "metric"),
    ("json", "csv", "format", "export", "yaml"),
)

# What other programs call options of ours that are typed as KEY=VALUE.
_SAME_OPTIONS = {
    "file": ("input", "input_file", "inputs", "data", "path", "csv", "test_file", "data_path"),
    "output": ("out", "output_file", "predictions", "save", "to"),
    "run": ("id", "run_id", "checkpoint", "ckpt", "ckpt_path", "model_id"),
    "text": ("sentence", "query", "input_text"),
    "column": ("text_column", "text_col"),
}


class FlagParser(argparse.ArgumentParser):
    """A parser of flags that may not be abbreviated. Raises UserError for what it cannot parse.

    Args:
        program: what is typed before the flags.
        flags: the flags that exist, for the message about one that does not.
    """

    def __init__(self, program: str, flags: Sequence[str]) -> None:
        super().__init__(prog=program, add_help=False, allow_abbrev=False)
        self._flags = flags

    def add_store_flags(self) -> None:
        """Add `--uri`, `--experiment` and `--root`, which say which store is meant."""
        self.add_argument("--uri", type=choose_tracking_uri, default="")
        self.add_argument("--experiment", default=read_experiment_name())
        self.add_argument("--root", default=str(PROJECT_ROOT))

    def parse(self, arguments: Sequence[str]) -> argparse.Namespace:
        for before, argument in pairwise(["", *arguments]):
            flag, equals, value = argument.partition("=")
            name = flag.strip("-")
            if flag.startswith("-") and flag not in self._flags:
                # the dashes are not what is like
                near = self._find_same(name) or suggest(name, [x.strip("-") for x in self._flags])
                hint = did_you_mean(f"--{near}") if near else f"valid: {', '.join(self._flags)}"
                raise UserError(f"there is no option {flag}", hint=hint)
            # as it is typed behind src.run: tracking.root=FOLDER
            name = name.rpartition(".")[2]
            meant = name if f"--{name}" in self._flags else self._find_same(name)
            if not meant and re.fullmatch(r"[\w-]+", flag):
                meant = suggest(name, [x.strip("-") for x in self._flags], cutoff=0.75)
            if equals and not flag.startswith("-") and meant and before not in self._flags:
                raise UserError(
                    f"there is no option '{flag}'", hint=self._format_question(meant, value)
                )
        return self.parse_intermixed_args(arguments)

    def _find_same(self, name: str) -> str | None:
        """The flag that means what another command calls `name`; None if there is none."""
        same = (other for names in _SAME_FLAGS if name in names for other in names)
        return next((other for other in same if f"--{other}" in self._flags), None)

    def _format_question(self, name: str, value: str) -> str:
        action = self._option_string_actions.get(f"--{name}")
        if action is None or action.nargs != 0:
            return did_you_mean(f"--{name} {shlex.quote(value)}")
        if value.lower() in ("false", "no", "0", "off"):
            return f"--{name} is left out where it is not meant"
        return did_you_mean(f"--{name}")

    def error(self, message: str) -> NoReturn:
        raise UserError(f"{message} ({self.prog} --help)")


def run_command_line(
    arguments: Sequence[str],
    answer: Callable[[Sequence[str]], int],
    *,
    help_text: str | None,
    option_names: Mapping[str, str],
) -> int:
    """Run a small command and return its exit code: that of `answer`, 2 for a UserError, 130 for
    Ctrl-C.

    Args:
        arguments: what was typed after the command's name.
        answer: the command itself.
        help_text: printed for --help.
        option_names: the command's own option for each config key that a UserError may name.
    """
    if {"-h", "--help"} & set(arguments):
        print_line(help_text)
        return 0
    try:
        check_checkout()
        return answer(arguments)
    except UserError as error:
        print_line(f"error: {error.with_renamed_keys(option_names)}", to_stderr=True)
        return 2
    except KeyboardInterrupt:
        return 130


def parse_key_values(
    arguments: Sequence[str], defaults: Mapping[str, str], answers: Mapping[str, str] | None = None
) -> dict[str, str]:
    """The values of `defaults`, replaced by what was typed.

    Args:
        answers: what is said of options that other programs have and the command has not.

    Raises:
        UserError: for anything else than `KEY=VALUE` with a key of `defaults`, each once.
    """
    values, typed = dict(defaults), set()
    for argument, following in pairwise([*arguments, ""]):
        key, equals, value = argument.partition("=")
        # as it is typed for programs with flags, or behind src.run
        meant = key.lstrip("-").replace("-", "_").rpartition(".")[2]
        if meant in values and key not in values:
            raise UserError(
                f"there is no option '{key}'",
                hint=did_you_mean(f"{meant}={value if equals else following or 'VALUE'}"),
            )
        if not equals:
            raise UserError(
                f"{argument!r} is not an option",
                expected=f"key=value, with one of {', '.join(defaults)}",
                hint=_guess_keys(arguments, defaults) or _join_words(arguments, argument),
            )
        if key not in values:
            raise UserError(
                f"there is no option '{key}'",
                key=key,
                value=value,
                hint=(answers or {}).get(key.lower())
                or _name_same_option(key, value, defaults)
                or format_suggestion(key, defaults),
            )
        if key in typed:
            raise UserError(f"{key} is given twice: {values[key]} and {value}")
        values[key] = value
        typed.add(key)
    return values


def _join_words(arguments: Sequence[str], word: str) -> str | None:
    """The question whether a word belongs to the value before it, which has blanks and no quotes
    (`text=A great film.`); None if nothing stands before it.
    """
    place = arguments.index(word)
    if place == 0 or "=" not in arguments[place - 1]:
        return None
    words = [arguments[place - 1]]
    for following in arguments[place:]:
        if "=" in following:
            break
        words.append(following)
    return f"a value with blanks wants quotes: {shlex.quote(' '.join(words))}"


def _name_same_option(key: str, value: str, defaults: Mapping[str, str]) -> str | None:
    """The question about an option that other programs call otherwise; None if it is none."""
    same = next((own for own, names in _SAME_OPTIONS.items() if key.lower() in names), None)
    return did_you_mean(f"{same}={value}") if same in defaults else None


def _guess_keys(arguments: Sequence[str], defaults: Mapping[str, str]) -> str | None:
    """The question whether words that were typed without a key (`ID "A text."`) are a run, a file
    or a text.
    """
    if set(arguments) & {"help", "usage", "options"}:
        return "--help lists the options"
    typed = {argument.partition("=")[0] for argument in arguments}
    guessed = []
    for word in arguments:
        if "=" in word or word.startswith("-"):
            guessed.append(word)
            continue
        if "port" in defaults:
            key = "port"
        else:
            key = "file" if Path(word).exists() else "text" if " " in word.strip() else "run"
        if key in typed or key not in defaults:
            return None
        typed.add(key)
        guessed.append(f"{key}={word}")
    return f"did you mean {shlex.join(guessed)}?"


GROUP_DESCRIPTIONS = {
    "data": "where text comes from and how it becomes batches",
    "data/batching": "packed and masked, or one label for each text",
    "data/tokenizer": "a pretrained one, or a WordPiece learnt from the corpus",
    "data/augmentation": "how training texts are changed anew in every epoch",
    "data/shards": "a corpus that no disk holds, in shards that are fetched as they are read",
    "model": "the objective: what is learnt",
    "model/encoder": "the network: fresh by its measures, or pretrained by name or folder",
    "model/optim": "optimizer and schedule",
    "trainer": "device, precision, how long",
    "callbacks": "checkpoints, early stopping, progress",
    "report": "what is told of the answers, and how the model decides",
    "tracking": "where runs are kept",
    "preset": "a few keys at once, where they were not typed",
    "search": "with -m: what varies, by which metric, for how long",
    "search/sampler": "how the points of a search are chosen",
    "search/pruner": "when a trial is given up before its end",
}

HELP_HEADER = """\
Palimpsest pretrains and fine-tunes text encoders, and keeps a record of every run.

    python -m src.run [-m] [+experiment=NAME] [GROUP=CHOICE ...] [KEY=VALUE ...]

Four examples
    python -m src.run +experiment=imdb
    python -m src.run +experiment=files data.source.path=reviews.csv \
data.source.text=review data.source.label=stars
    python -m src.run -m +experiment=imdb model.optim.lr=1e-5,2e-5,5e-5      one run for each rate
    python -m src.run -m +experiment=imdb search=learning_rate      the best rate, found by 20 \
trials
"""

HELP_FOOTER = """\
Other
    --cfg job        print the composed config and stop
    --version        print the version
    --hydra-help     what else Hydra can do (completion: -sc install=bash; see docs/completion.md)
    init_from=ID     start from the encoder and tokenizer of an earlier run
    register=NAME    make the run's model a version of a registered model of MLflow
    phases.NAME.KEY=VALUE      several trainings in one run (docs/pretraining.md)
    resume=ID        go on with a run that has failed or was killed; with fork=true begin a new \
one from where it stands
    sweep=SWEEP      with -m: go on with a sweep, as the same command does; sweep=new begins \
another one
    make ui          compare runs in the MLflow UI

Other commands, each with --help
    python -m src.runs       list runs, show one and how to go on with it, repair what died \
without a word
    python -m src.compare    what differs between runs, and which is better
    python -m src.leaderboard  the best settings, with intervals and costs
    python -m src.predict    ask a run's model
    python -m src.export     a run's model for other programs: transformers, MLflow, ONNX, OpenVINO
    python -m src.lr_range   which learning rate, from a short run in which it rises
    python -m src.plan       what a run or a search would need: memory, disk, time
    python -m src.look       what files hold and how they would be read, without a run
    python -m src.keys       every key with what it takes, its default and its meaning
    python -m src.sync       send what was recorded offline, or could not reach its store
"""


def format_help_text() -> str:
    """The text of `--help`: examples, experiments, groups with their choices."""
    width = max(map(len, GROUP_DESCRIPTIONS)) + 2
    blank = " " * (width + 4)
    groups = [
        f"    {name:<{width}}{meaning}\n"
        + textwrap.fill(
            ", ".join(list_options(name)), 120, initial_indent=blank, subsequent_indent=blank
        )
        for name, meaning in GROUP_DESCRIPTIONS.items()
    ]
    experiments = {
        name: _read_first_comment(CONF / "experiment" / f"{name}.yaml")
        for name in list_options("experiment")
    }
    width = max(map(len, experiments), default=0) + 2
    lines = [f"    {name:<{width}}{line}" for name, line in experiments.items()]
    return "\n".join(
        [
            HELP_HEADER,
            "Experiments (+experiment=NAME)",
            *lines,
            "",
            "Groups (GROUP=CHOICE)",
            *groups,
            "",
            HELP_FOOTER,
        ]
    )


def _read_first_comment(path: Path) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and "@package" not in line:
            return line[2:].strip()
    return ""
