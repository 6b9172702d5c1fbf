"""Ours beside its peers, on this machine: `python -m benchmarks.speed`; writes docs/results/speed.md and speed.json.

only=mlm_small,sst2   these benchmarks, in this order, into .cache/benchmarks/speed.md; all: {names}
quick=true            a run through everything, too short to quote
REAL_DATA=FOLDER      in the environment: imdb/, sst2/ and wikitext2/ for the benchmarks on real text
"""

import json
import sys
import time
import traceback
from collections.abc import Callable, Sequence
from importlib import import_module
from typing import Any

from benchmarks import races
from benchmarks.curves import Growth, draw
from benchmarks.material import PLACE, Unavailable
from benchmarks.setting import AT_START, RESULTS, Row, write
from src.config.options import options
from src.terms.fault import Fault, suggestion

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
PICTURE = "growth.png"  # beside speed.md


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0; 1 where something could not be run; 2 for a person's mistake. A missed gate is a result."""
    try:
        asked = options(arguments, {"only": "", "quick": "false"})
        chosen = asked["only"].split(",") if asked["only"] else list(NAMES)
        for name in chosen:
            if name not in NAMES:
                raise Fault(f"only={name}: there is no such benchmark; {suggestion(name, NAMES)}")
        if asked["quick"] not in ("true", "false"):
            raise Fault(f"quick={asked['quick']}: expected true or false")
    except Fault as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    quick = asked["quick"] == "true"
    began_at = time.monotonic()
    report = Report()
    for name in chosen:
        report.take(name, quick)
    minutes = (time.monotonic() - began_at) / 60
    typed = " ".join(["REAL_DATA=FOLDER python -m benchmarks.speed", *arguments])
    folder = RESULTS if chosen == list(NAMES) and not quick else PLACE  # a part is no result to keep
    write("speed", "Speed, side by side", typed, report.lines(minutes, quick), folder)
    if curves := [curve for growth in report.growth.values() for curve in growth.curves]:
        draw(curves, folder / PICTURE, "How cost grows", AT_START)
    content = {"setting": AT_START, "minutes": minutes, **report.figures}
    (folder / "speed.json").write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
    return 1 if report.absent else 0


class Report:
    """What came of the benchmarks that were run, as lines of Markdown and as figures."""

    def __init__(self) -> None:
        self.races: list[races.Outcome] = []
        self.rows: list[Row] = []
        self.growth: dict[str, Growth] = {}
        self.absent: list[str] = []
        self.figures: dict[str, Any] = {}

    def take(self, name: str, quick: bool) -> None:
        """Run one benchmark; one that cannot be run is reported, and does not keep the others from running."""
        began_at = time.monotonic()
        try:
            if name in races.TASKS:
                outcome = races.run(races.TASKS[name](), name, quick=quick)
                self.races.append(outcome)
                self.figures[name] = races.figures(outcome)
                print(races.line(outcome), flush=True)
            elif name in SIMPLE:
                rows = _call(SIMPLE[name], quick)
                self.rows += rows
                self.figures[name] = [row._asdict() for row in rows]
                print("\n".join(map(line, rows)), flush=True)
            else:
                growth: Growth = _call(GROWTH[name], quick)
                self.growth[name] = growth
                self.figures[name] = [curve._asdict() for curve in growth.curves]
                print("\n".join(growth.text), flush=True)
        except Unavailable as reason:
            self.absent.append(f"- {name}: not run, {reason}")
        except Exception as error:
            traceback.print_exc()
            self.absent.append(f"- {name}: failed: {str(error).splitlines()[0]}")
        print(f"{name}: {time.monotonic() - began_at:.0f} s", flush=True)

    def lines(self, minutes: float, quick: bool) -> list[str]:
        """The result file's content; how to read it stands in docs/results/README.md."""
        lines = [f"{minutes:.0f} minutes in all. docs/results/README.md says what is compared and how.", ""]
        if quick:
            lines += ["**Too short to quote (quick=true).**", ""]
        if self.races:
            lines += ["Units per second of one thread's processor time.", "", *races.HEADER]
            lines += [*map(races.line, self.races), "", *map(races.notes, self.races), ""]
        if self.rows:
            lines += [*HEADER, *map(line, self.rows), ""]
        if self.growth:
            lines += ["## how cost grows", "", f"![How cost grows]({PICTURE})", ""]
        for name, growth in self.growth.items():
            lines += [f"### {name.replace('_', ' ')}", "", *growth.text, ""]
        return [*lines, *self.absent]


HEADER = ["| benchmark | unit | ours | theirs | ratio | gate | reached | note |", "| --- " * 8 + "|"]


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
