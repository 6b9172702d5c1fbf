"""The best settings of an experiment, and what they cost: `python -m src.leaderboard [RUN ...] \
[OPTIONS]`.

RUN               only these: ids, names, a sweep (all its trials), or a filter of MLflow's in \
quotation marks
--metric NAME     rank by it (default: what checkpoints are chosen by, as best/val/accuracy)
--cost NAME       of the Pareto front: seconds (default), tokens or energy
--top N           so many settings of each board (default 10)
--html FILE       write a page that needs neither network nor script
--plot FILE.png   draw score against cost
--json            everything as JSON
--uri URI         a store other than mlruns/mlflow.db; --experiment NAME, --root FOLDER as in the \
config (tracking)

Runs that are equal in all but their seeds are one setting. Settings that were measured on other \
rows have a board
of their own. Exit codes: 0; 2 for a mistake in what was typed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ is None:
    # typed as a file where the program is not installed: python src/leaderboard.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import STORE_OPTION_NAMES, FlagParser, run_command_line
from src.core.files import check_output_file, write_text
from src.core.json_text import format_json
from src.core.printing import get_table_width, print_line
from src.core.user_errors import UserError, format_suggestion
from src.tracking.store import Store

_FLAGS = (
    "--metric",
    "--cost",
    "--top",
    "--html",
    "--plot",
    "--json",
    "--uri",
    "--experiment",
    "--root",
)
_COSTS = ("seconds", "tokens", "energy")
_MAX_TOP = 1000


def main(arguments: Sequence[str]) -> int:
    """Answer a command line; returns the exit code."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=STORE_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    options = _parse_arguments(arguments)
    store = Store(root=options.root, uri=options.uri, experiment=options.experiment)
    store.check()
    store.announce_environment()
    store.check_experiment()
    from src.comparison.leaderboard import build_leaderboard, to_plain
    from src.comparison.leaderboard_text import render_text
    from src.comparison.run_selection import select_runs

    selected = select_runs(store, options.runs)
    for line in selected.told:
        print_line(line, to_stderr=True)
    leaderboard = build_leaderboard(
        store, selected, metric=options.metric, cost=options.cost, top=int(options.top)
    )
    if options.json:
        print_line(format_json(to_plain(leaderboard)))
    else:
        print_line(render_text(leaderboard, get_table_width()))
    if options.html is not None:
        from src.comparison.leaderboard_page import render_page

        write_text(Path(options.html), render_page(leaderboard))
    if options.plot is not None:
        from src.comparison.leaderboard_page import plot_fronts

        plot_fronts(leaderboard).savefig(options.plot, format="png")
    for file in filter(None, (options.html, options.plot)):
        print_line(f"written to {file}", to_stderr=True)
    return 0


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = FlagParser("python -m src.leaderboard", _FLAGS)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--metric")
    parser.add_argument("--cost", default=_COSTS[0])
    parser.add_argument("--top", default="10")
    parser.add_argument("--html")
    parser.add_argument("--plot")
    parser.add_argument("--json", action="store_true")
    parser.add_store_flags()
    options = parser.parse(arguments)
    if options.cost not in _COSTS:
        raise UserError(f"--cost {options.cost}: {format_suggestion(options.cost, _COSTS)}")
    top = options.top
    if not (top.isascii() and top.isdigit() and 1 <= int(top) <= _MAX_TOP):
        raise UserError(key=f"--top {top}", expected=f"a whole number from 1 to {_MAX_TOP}")
    check_output_file("--html", options.html)
    check_output_file("--plot", options.plot)
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
