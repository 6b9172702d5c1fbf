"""Ours beside its peers, on this machine: `python -m benchmarks.speed`; writes
docs/results/speed.md and speed.json.

only=mlm_small,sst2   these benchmarks, in this order, into .cache/benchmarks/speed.md; all: {names}
keep=true             with `only`: in their places in docs/results; others stay as they are
quick=true            a run through everything, too short to quote
REAL_DATA=FOLDER      in the environment: imdb/, sst2/, wikitext2/ for benchmarks on real text
"""

import json
import sys
import time
import traceback
from collections.abc import Callable, Mapping, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from benchmarks import races
from benchmarks.curves import Curve, Growth, draw
from benchmarks.material import PLACE, Unavailable
from benchmarks.setting import AT_START, RESULTS, Row, write
from src.config.command_line import parse_key_values
from src.core.user_errors import UserError, format_suggestion

# name: module, function that returns rows (or `Growth`), whether it takes `quick`
SIMPLE: dict[str, tuple[str, str, bool]] = {
    "budget": ("budget", "rows", True),
    "data": ("data", "rows", False),
    "overhead": ("overhead", "rows", False),
    "predict": ("predict", "rows", False),
    "startup": ("startup", "rows", False),
    "memory": ("memory", "rows", True),
    "bounded": ("memory", "bounded", False),
}
GROWTH: dict[str, tuple[str, str, bool]] = {
    "growth": ("memory", "growth", True),
    "data_growth": ("data", "growth", False),
    "store_growth": ("overhead", "growth", False),
}
NAMES = (*races.TASKS, *SIMPLE, *GROWTH)
# beside speed.md
PICTURE = "growth.png"


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0; 1 where something could not be run; 2 for a person's mistake. A missed gate
    is a result.
    """
    try:
        asked = parse_key_values(arguments, {"only": "", "keep": "false", "quick": "false"})
        chosen = asked["only"].split(",") if asked["only"] else list(NAMES)
        for name in chosen:
            if name not in NAMES:
                raise UserError(
                    f"only={name}: there is no such benchmark; {format_suggestion(name, NAMES)}"
                )
        for key in ("keep", "quick"):
            if asked[key] not in ("true", "false"):
                raise UserError(f"{key}={asked[key]}: expected true or false")
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    quick, whole = asked["quick"] == "true", chosen == list(NAMES)
    # a part is no result by itself
    folder = RESULTS if (whole or asked["keep"] == "true") and not quick else PLACE
    parts = _kept(folder / "speed.json") if not whole and folder == RESULTS else {}
    absent = []
    for name in chosen:
        try:
            parts[name] = measured(name, quick)
        except Unavailable as reason:
            absent.append(f"- {name}: not run, {reason}")
        except Exception as error:
            traceback.print_exc()
            absent.append(f"- {name}: failed: {str(error).splitlines()[0]}")
        else:
            print(
                "\n".join(parts[name]["lines"]),
                f"{name}: {parts[name]['seconds']:.0f} s",
                sep="\n",
                flush=True,
            )
    typed = " ".join(["REAL_DATA=FOLDER python -m benchmarks.speed", *arguments])
    write("speed", "Speed, side by side", typed, [*lines(parts, quick), *absent], folder)
    curves = [Curve(**each) for name in GROWTH if name in parts for each in parts[name]["figures"]]
    if curves:
        draw(
            curves,
            folder / PICTURE,
            "How cost grows",
            parts[next(name for name in GROWTH if name in parts)]["setting"],
        )
    (folder / "speed.json").write_text(json.dumps(parts, indent=1) + "\n", encoding="utf-8")
    return 1 if absent else 0


def measured(name: str, quick: bool) -> dict[str, Any]:
    """One benchmark: the setting and the seconds, its lines in the tables, and the figures behind
    them.
    """
    began_at = time.monotonic()
    if name in races.TASKS:
        outcome = races.run(races.TASKS[name](), name, quick=quick)
        found: dict[str, Any] = {"lines": [races.line(outcome)], "notes": [races.notes(outcome)]}
        found["figures"] = races.figures(outcome)
    elif name in SIMPLE:
        rows = _call(SIMPLE[name], quick)
        found = {"lines": [*map(line, rows)], "figures": [row._asdict() for row in rows]}
    else:
        growth: Growth = _call(GROWTH[name], quick)
        found = {"lines": growth.text, "figures": [curve._asdict() for curve in growth.curves]}
    return {"setting": AT_START, "seconds": time.monotonic() - began_at, **found}


def lines(parts: Mapping[str, Mapping[str, Any]], quick: bool) -> list[str]:
    """The result file's content, from all that is known; how to read it stands in
    docs/results/README.md.
    """
    minutes = sum(part["seconds"] for part in parts.values()) / 60
    lines = [
        f"{minutes:.0f} minutes in all. docs/results/README.md says what is compared and how.",
        "",
    ]
    if quick:
        lines += ["**Too short to quote (quick=true).**", ""]
    settings = list(dict.fromkeys(part["setting"] for part in parts.values()))
    if len(settings) > 1:
        for setting in settings:
            names = [name for name in NAMES if name in parts and parts[name]["setting"] == setting]
            lines += [f"- measured {setting}: {', '.join(names)}"]
        lines.append("")
    raced = [parts[name] for name in races.TASKS if name in parts]
    if raced:
        lines += ["Units per second of one thread's processor time.", "", *races.HEADER]
        lines += [*_all(raced, "lines"), "", *_all(raced, "notes"), ""]
    if rows := [parts[name] for name in SIMPLE if name in parts]:
        lines += [*HEADER, *_all(rows, "lines"), ""]
    if grown := [name for name in GROWTH if name in parts]:
        lines += ["## how cost grows", "", f"![How cost grows]({PICTURE})", ""]
        for name in grown:
            lines += [f"### {name.replace('_', ' ')}", "", *parts[name]["lines"], ""]
    return lines


def _all(parts: Sequence[Mapping[str, Any]], key: str) -> list[str]:
    return [each for part in parts for each in part[key]]


def _kept(file: Path) -> dict[str, Any]:
    """What was measured before, by name."""
    return json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}


HEADER = [
    "| benchmark | unit | ours | theirs | ratio | gate | reached | note |",
    "| --- " * 8 + "|",
]


def line(row: Row) -> str:
    """A row of the table."""
    theirs = "" if row.theirs is None else f"{row.theirs:,.4g}"
    ratio = f"{row.ratio:.2f}" if row.ratio else ""
    cells = (row.name, row.unit, f"{row.ours:,.4g}", theirs, ratio, row.gate, row.verdict, row.note)
    return f"| {' | '.join(cells)} |"


def _call(place: tuple[str, str, bool], quick: bool) -> Any:
    """The rows or lines of another module, which may not be there."""
    module, function, takes_quick = place
    try:
        found: Callable[..., Any] = getattr(import_module(f"benchmarks.{module}"), function)
    except (ModuleNotFoundError, AttributeError) as error:
        raise Unavailable(f"{error}") from error
    return found(quick=quick) if takes_quick else found()


__doc__ = (__doc__ or "").format(names=", ".join(NAMES))

if __name__ == "__main__":
    if {"-h", "--help"} & set(sys.argv[1:]):
        print(__doc__)
        sys.exit(0)
    sys.exit(main(sys.argv[1:]))
