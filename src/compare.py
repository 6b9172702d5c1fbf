"""What differs between runs, and which is better: `python -m src.compare RUN RUN [...] [OPTIONS]`.

RUN               a run's id or 6 or more digits of it, its name, `latest`, a sweep (all its \
trials), or a filter
                  of MLflow's in quotation marks: "params.`model.optim.lr` = '0.001'"; without \
any, all runs of the experiment
--metric NAME     the metric that decides, such as test/f1_macro
--html FILE       write a page that needs neither network nor script
--json            everything as JSON
--uri URI         a store other than mlruns/mlflow.db; --experiment NAME, --root FOLDER as in the \
config (tracking)

Runs that are equal in all but their seeds are one group. Two groups of seeds are compared by \
Welch's t test;
two single runs on the test predictions that they keep, by a paired bootstrap and McNemar's test.
Exit codes: 0; 2 for a mistake in what was typed.
"""

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

if __package__ is None:
    # typed as a file where the program is not installed: python src/compare.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import STORE_OPTION_NAMES, FlagParser, run_command_line
from src.core.files import check_output_file, write_text
from src.core.json_text import format_json
from src.core.printing import get_table_width, print_line
from src.tracking.store import Store

_FLAGS = ("--metric", "--html", "--json", "--uri", "--experiment", "--root")


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
    from src.comparison.comparison import compare_runs, to_plain
    from src.comparison.comparison_page import render_page
    from src.comparison.comparison_text import render_text
    from src.comparison.run_selection import select_runs

    selected = select_runs(store, options.runs)
    for line in selected.told:
        print_line(line, to_stderr=True)
    comparison = compare_runs(store, selected, options.metric)
    if options.html is not None:
        write_text(Path(options.html), render_page(comparison))
    if options.json:
        print_line(format_json(to_plain(comparison)))
    else:
        print_line(render_text(comparison, get_table_width()))
    if options.html is not None:
        print_line(f"written to {options.html}", to_stderr=True)
    return 0


def _parse_arguments(arguments: Sequence[str]) -> argparse.Namespace:
    parser = FlagParser("python -m src.compare", _FLAGS)
    parser.add_argument("runs", nargs="*")
    parser.add_argument("--metric")
    parser.add_argument("--html")
    parser.add_argument("--json", action="store_true")
    parser.add_store_flags()
    options = parser.parse(arguments)
    check_output_file("--html", options.html)
    return options


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
