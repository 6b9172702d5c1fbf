"""Explains overrides that Hydra's parser refuses, and shows how their value is typed."""

import os
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

from src.config.foreign_keys import explain_pretrained
from src.config.groups import list_options
from src.config.search_distributions import explain_distribution
from src.core.command_names import COMMANDS
from src.core.user_errors import UserError, did_you_mean, suggest

# a key of a mapping in quotes, with what stands before and behind it
_QUOTED_KEY = re.compile(r"""([{,]\s*)(["'])(.*?)\2(\s*:)""")
# a text of a list, or of a mapping behind its key, without quotes
_BARE_TEXT = re.compile(r"""([\[,:]\s*)([^\s\[\]{},:"'][^\[\]{},:"']*)(?=\s*[\]},])""")
_BARE_KEY = re.compile(r"""[{,]([^{}\[\],:"']+):""")
_KEY_PATTERN = re.compile(r"[+~]{0,2}[a-z_][\w./@]*=")
# a key without its equals sign, as other programs' command lines and files have it
_KEY_ALONE = re.compile(
    r"((data|model|trainer|callbacks|tracking|search|report|tags)(\.\w+)+|name|seed|resume|init_from)"
    r":?"
)
_NUMBER = re.compile(r"[+-]?(\d+\.?\d*|\.\d+)(e[+-]?\d+)?", re.IGNORECASE)
_DATA_FILE = re.compile(
    r".*\.(csv|tsv|txt|jsonl?|ndjson|parquet|xlsx|conllu?|zip|gz|tgz|xz)", re.IGNORECASE
)
_MEANING_SIGN = re.compile(r"[\\(){}\[\]:=,]")
# such as bert-base-uncased
_HUB_NAME = re.compile(r"[\w-]+/[\w.-]+|[a-z]\w*(-[\w.]+)+", re.IGNORECASE)
_STAGES = "a run trains, validates and tests by itself: the word is left out"
_JUDGED = (
    "a run is tested by itself; a file is judged by python -m src.predict run=ID file=FILE, and "
    "runs are compared by python -m src.compare A B"
)
_UI = "runs are looked at by python -m src.ui"
_HELP = "python -m src.run --help names keys, experiments and commands"
_RUNS = "runs are listed by python -m src.runs, experiments by python -m src.run --help"
_SEARCH = "the best learning rate is found by -m search=learning_rate"
_WORD_ANSWERS = {
    **dict.fromkeys(("train", "fit", "finetune", "fine-tune", "pretrain", "start"), _STAGES),
    **dict.fromkeys(("test", "eval", "evaluate", "validate", "score"), _JUDGED),
    **dict.fromkeys(("help", "commands", "usage", "experiments", "options"), _HELP),
    **dict.fromkeys(("list", "ls", "history"), _RUNS),
    **dict.fromkeys(("search", "tune", "sweep", "hpo", "optimize"), _SEARCH),
    **dict.fromkeys(("server", "serve", "dashboard", "mlflow", "board"), _UI),
    "version": "the version is printed by --version",
    "resume": "a run goes on by its id: resume=ID",
    "continue": "a run goes on by its id: resume=ID",
    "debug": "for a short try: trainer.max_epochs=null trainer.max_steps=5 data.train_rows=64",
    "upgrade": "a checkout is brought up to date by git pull and make setup",
    "update": "a checkout is brought up to date by git pull and make setup",
    "install": "everything is installed by make setup",
}


def find_spaced_overrides(words: Sequence[str]) -> tuple[list[UserError], list[str]]:
    """The errors of overrides that are typed with blanks around their equals sign, which a shell
    makes several words of (`seed = 3`), and the words without those.
    """
    errors, rest = [], list(words)
    for place in range(len(rest) - 1):
        first, second = rest[place : place + 2]
        if _KEY_ALONE.fullmatch(first) and "=" not in second and second:
            typed = f"{first.rstrip(':')}={second}"
            errors.append(UserError(f"'{first} {second}' has no '='", hint=did_you_mean(typed)))
            rest[place : place + 2] = ["", ""]
            continue
        if second == "=" and place + 2 < len(rest):
            taken, typed = 3, f"{first}={rest[place + 2]}"
        elif (second.startswith("=") and second != "=") or (
            first.endswith("=") and first.count("=") == 1
        ):
            taken, typed = 2, f"{first}{second}"
        else:
            continue
        if typed.count("=") != 1 or not _KEY_PATTERN.match(typed):
            continue
        shown = " ".join(rest[place : place + taken])
        errors.append(UserError(f"'{shown}' has blanks around '='", hint=did_you_mean(typed)))
        rest[place : place + taken] = [""] * taken
    return errors, list(filter(None, rest))


def explain_parse_failure(text: str) -> UserError:
    """The error of an override that Hydra's parser refuses."""
    if "=" not in text:
        return UserError(
            f"'{text}' is no override",
            expected="KEY=VALUE, as in model.optim.lr=1e-5 (spaces want quotes)",
            hint=explain_data_path(text) or _name_command(text),
        )
    key, _, value = text.partition("=")
    problem = f"'{text}' cannot be read"
    plain_key = re.sub(r"\s*:\s*", ".", key).strip()
    if plain_key != key and _is_readable(f"{plain_key}={value.strip()}"):
        return UserError(problem, hint=did_you_mean(f"{plain_key}={value.strip()}"))
    if meant := _guess_typed(key, value):
        return UserError(problem, hint=meant)
    if value.endswith(",") or "()" in value:
        return UserError(f"{problem}: a value is missing in the list")
    if how := explain_distribution(key, value):
        return UserError(problem, hint=how)
    if "interval(" in value:
        return UserError(
            problem,
            expected=f"two numbers, as in {key}=interval(0,1) or tag(log, interval(1e-6,1))",
        )
    if (unquoted := _unquote_keys(value)) is not None:
        return UserError(
            f"{problem}: the keys of a mapping are typed without quotes",
            hint=shlex.quote(f"{key}={unquoted}"),
        )
    if (quoted := _quote_parts(value)) is not None:
        return UserError(
            f"{problem}: a text with special characters wants quotes of its own",
            hint=shlex.quote(f"{key}={quoted}"),
        )
    if (part := _find_untypable_key(value)) is not None:
        return UserError(
            f"{problem}: {part!r} cannot be typed as the key of a mapping, in quotes or without",
            hint=f"write the mapping in a file of conf/experiment, or of --config-dir, as {key}",
        )
    reason = (
        "a bracket or quote is left open"
        if _is_left_open(value)
        else "a value with special characters wants quotes"
    )
    return UserError(
        f"{problem}: {reason}", hint=f"as a text it is typed {quote_override(key, value)}"
    )


def explain_data_path(word: str) -> str | None:
    """How a file or folder of data is given that is typed where none is read; None if a word is no
    name of one.
    """
    is_named = _DATA_FILE.fullmatch(word) or (os.sep in word and Path(word).exists())
    if not is_named:
        return None
    typed = f"data.source.path={word}"
    shown = shlex.quote(typed) if _is_readable(typed) else quote_override("data.source.path", word)
    look = shlex.quote(typed)
    return f"data is given as {shown}; python -m src.look {look} shows what it holds"


def _guess_typed(key: str, value: str) -> str | None:
    """What is said of an override that cannot be read and is not meant as a text; None of others.

    These are several overrides in one pair of quotes, a number with a long dash or written as a
    product, and one with a sign behind it.
    """
    if re.search(rf"\s{_KEY_PATTERN.pattern}", value):
        words = f"{key}={value}".split()
        if all(map(_is_readable, words)):
            return f"without quotes around all of them it is {shlex.join(words)}"
    product = re.fullmatch(r"(\d[\d.]*)\s*[*x×]\s*10\s*(?:\^|\*\*)\s*([-–—−]?\d+)", value)
    plain = f"{product[1]}e{product[2]}" if product else value
    plain = re.sub(r"[–—−]", "-", plain).rstrip(";")
    if plain != value and _NUMBER.fullmatch(plain):
        return f"did you mean {key}={plain}?"
    return None


def _is_readable(text: str) -> bool:
    """Whether Hydra's parser takes an override."""
    from hydra.core.override_parser.overrides_parser import OverridesParser
    from hydra.errors import HydraException

    try:
        OverridesParser.create().parse_override(text)
    except HydraException:
        return False
    return True


def _unquote_keys(value: str) -> str | None:
    """A mapping whose keys stand in quotes, as Hydra's parser takes it: without these, and with
    backslashes before signs that mean something; None if it is no such mapping.
    """

    def unquote(found: re.Match[str]) -> str:
        return f"{found[1]}{_MEANING_SIGN.sub(_escape_sign, found[3])}{found[4]}"

    unquoted = _QUOTED_KEY.sub(unquote, value)
    if not value.startswith("{") or unquoted == value:
        return None
    return unquoted if _is_readable(f"key={unquoted}") else None


def _quote_parts(value: str) -> str | None:
    """A list or mapping with quotes around those of its texts that want them; None where that does
    not make it readable.
    """

    def quote(found: re.Match[str]) -> str:
        text = found[2].rstrip()
        return found[1] + (text if _is_readable(f"key={text}") else f'"{text}"')

    quoted = _BARE_TEXT.sub(quote, value)
    return quoted if quoted != value and _is_readable(f"key={quoted}") else None


def _find_untypable_key(value: str) -> str | None:
    """The first key of a mapping that Hydra's parser does not take; None if there is none."""
    if not re.fullmatch(r"\{.*\}", value, re.DOTALL):
        return None
    keys = (found[1].strip() for found in _BARE_KEY.finditer(value))
    return next((key for key in keys if not _is_readable(f"key={{{key}: x}}")), None)


def _escape_sign(found: re.Match[str]) -> str:
    return f"\\{found[0]}"


def _name_command(word: str) -> str | None:
    """What a word was probably meant for that is no override: an experiment, a command, a flag, a
    stage of a run, a file of a config or a pretrained model; None if it is unknown.
    """
    if word in list_options("experiment"):
        return did_you_mean(f"+experiment={word}")
    if answer := _WORD_ANSWERS.get(word.lower()):
        return answer
    path = Path(word)
    if path.suffix in (".yaml", ".yml"):
        return explain_config_path(word)
    # "run" is rather the end of a value with a space
    known = [name for name in COMMANDS if word != "run"]
    if (meant := suggest(word, known)) is not None:
        return f"a command is typed python -m src.{meant}"
    if near := suggest(word, list_options("experiment"), cutoff=0.8):
        return did_you_mean(f"+experiment={near}")
    return explain_pretrained(word) if _HUB_NAME.fullmatch(word) else None


def explain_config_path(value: str) -> str:
    """How configs of one's own are added, where a folder of them or one of its files was named."""
    path = Path(value)
    if path.suffix not in (".yaml", ".yml"):
        return f"a folder of your own configs is added by --config-dir={value}"
    return (
        f"a file of your own is an experiment: as FOLDER/experiment/{path.name} it is chosen by "
        f"--config-dir=FOLDER +experiment={path.stem}"
    )


def _is_left_open(value: str) -> bool:
    """True if a bracket or a quote in a value has no partner."""
    counts = Counter(value)
    return any(counts[a] != counts[b] for a, b in ("[]", "{}", "()")) or any(
        counts[quote] % 2 for quote in "\"'"
    )


def quote_override(key: str, value: str) -> str:
    """An override whose value is any text, as it is typed in a shell: `'key="a, b"'`."""
    plain = value[1:-1] if len(value) > 1 and value[0] == value[-1] in "\"'" else value
    # backslashes count only before a quote, and are doubled there
    escaped = re.sub(
        r'(\\*)("|$)', lambda match: match[1] * 2 + "\\" * bool(match[2]) + match[2], plain
    )
    return shlex.quote(f'{key}="{escaped}"')
