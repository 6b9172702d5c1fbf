"""What pretraining buys, in a few minutes and without a download: `python -m src.quickstart \
[seed=1] [KEY=VALUE ...]`.

Pretrains a tiny encoder on generated text, fine-tunes it on few labels, does the same from scratch
with the same budget, and compares both on the same test set. All three are ordinary runs of
`src.run`, kept in the tracking store; dotted keys (`trainer.accelerator=cpu`) go to each of them.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ is None:
    # typed as a file where the program is not installed: python src/quickstart.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import parse_key_values
from src.core.checkout import check_checkout
from src.core.printing import print_line
from src.core.user_errors import UserError
from src.pipeline.resume_hint import print_resume_hint, report_error

if TYPE_CHECKING:
    from src.pipeline.run_parts import RunOutcome

_EXAMPLE_OVERRIDE = "trainer.accelerator=cpu"


def main(arguments: Sequence[str]) -> int:
    """Do the three runs and compare them; returns the exit code."""
    if {"-h", "--help"} & set(arguments):
        print_line(__doc__)
        return 0
    try:
        check_checkout()
        shared = [argument for argument in arguments if "." in argument.partition("=")[0]]
        own = [argument for argument in arguments if argument not in shared]
        groups = [
            argument
            for argument in own
            if argument.lstrip("+").partition("=")[0] in ("experiment", "data", "model", "trainer")
        ]
        if groups:
            raise UserError(
                "the quickstart's three runs have their own",
                where=groups[0],
                hint=f"dotted keys go to each, as in {_EXAMPLE_OVERRIDE}",
            )
        seed = parse_key_values(own, {"seed": "1"})["seed"]
        shared.append(f"seed={seed}")
        started_at = time.monotonic()
        pretraining = _run_experiment(
            1, "pretrain a tiny encoder on generated text", "+experiment=mlm_quickstart", *shared
        )
        origin = f"init_from={pretraining.run_id}"
        pretrained = _run_experiment(
            2, "fine-tune it on few labels", "+experiment=quickstart", origin, *shared
        )
        scratch = _run_experiment(
            3, "the same without pretraining", "+experiment=quickstart_scratch", *shared
        )
    except Exception as error:
        return report_error(error)
    except KeyboardInterrupt as error:
        print_resume_hint(error, "KILLED")
        return 130
    except SystemExit as error:
        print_resume_hint(error, "KILLED")
        raise
    _print_comparison({"pretrained": pretrained, "from scratch": scratch})
    print_line(
        f"\n{time.monotonic() - started_at:.0f} seconds in all. Compare the three runs in the "
        "MLflow UI:  make ui"
    )
    return 0


def _run_experiment(number: int, title: str, *overrides: str) -> "RunOutcome":

    from src.config.compose import register_resolvers
    from src.config.compose_run import compose_run
    from src.pipeline.run import read_task_schema, run

    print_line(f"\n{number} of 3: {title}  (python -m src.run {' '.join(overrides)})")
    register_resolvers()
    return run(**compose_run(overrides, read_task_schema()))


def _print_comparison(outcomes: dict[str, "RunOutcome"]) -> None:
    """A short table, a row for each outcome."""
    metrics = ("test/accuracy", "test/f1_macro", "test/auroc")
    print_line("\n" + " " * 16 + "".join(f"{name:>16}" for name in metrics))
    for title, outcome in outcomes.items():
        print_line(f"{title:<16}" + "".join(f"{outcome.metrics[name]:>16.3f}" for name in metrics))
    first, second = (outcome.metrics["test/accuracy"] for outcome in outcomes.values())
    print_line(f"{'difference':<16}{first - second:>+16.3f}   same labels, steps and test set")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
