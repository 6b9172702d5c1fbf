"""What pretraining buys, in a few minutes and without a download: `python -m src.quickstart [seed=1] [KEY=VALUE ...]`.

Pretrains a tiny encoder on generated text, fine-tunes it on few labels, does the same from scratch with the same
budget, and compares both on the same test set. All three are ordinary runs of `src.run`, kept in the tracking store;
dotted keys (`trainer.accelerator=cpu`) go to each of them.
"""

import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from src.config.options import options
from src.terms.fault import Fault
from src.training.parting import complain, part

if TYPE_CHECKING:
    from src.run import Outcome

_EXAMPLE = "trainer.accelerator=cpu"
CONF = Path(__file__).resolve().parents[1] / "conf"


def main(arguments: Sequence[str]) -> int:
    """The exit code: 0, or 2 for a person's mistake."""
    if {"-h", "--help"} & set(arguments):
        print(__doc__)
        return 0
    try:
        shared = [each for each in arguments if "." in each.partition("=")[0]]
        own = [each for each in arguments if each not in shared]
        groups = [
            each for each in own if each.lstrip("+").partition("=")[0] in ("experiment", "data", "model", "trainer")
        ]
        if groups:
            raise Fault(
                f"{groups[0]}: the quickstart's three runs have their own; dotted keys go to each, as in {_EXAMPLE}"
            )
        seed = options(own, {"seed": "1"})["seed"]
        shared.append(f"seed={seed}")
        started_at = time.monotonic()
        pretraining = _run(1, "pretrain a tiny encoder on generated text", "+experiment=mlm_quickstart", *shared)
        origin = f"init_from={pretraining.run_id}"
        pretrained = _run(2, "fine-tune it on few labels", "+experiment=quickstart", origin, *shared)
        scratch = _run(3, "the same without pretraining", "+experiment=quickstart_scratch", *shared)
    except Exception as error:
        return complain(error)
    except KeyboardInterrupt as error:
        part(error, "KILLED")
        return 130
    except SystemExit as error:
        part(error, "KILLED")
        raise
    _compare({"pretrained": pretrained, "from scratch": scratch})
    print(f"\n{time.monotonic() - started_at:.0f} seconds in all. Compare the three runs in the MLflow UI:  make ui")
    return 0


def _run(number: int, title: str, *overrides: str) -> "Outcome":
    from hydra import compose, initialize_config_dir

    from src.config.check import check
    from src.config.compose import added, plain, register
    from src.config.explain import REFUSALS, explain
    from src.config.signature import task_signature
    from src.run import run

    print(f"\n{number} of 3: {title}  (python -m src.run {' '.join(overrides)})", flush=True)
    register()
    task = task_signature()
    try:
        with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
            config = plain(compose("config", added(overrides, task)))
    except REFUSALS as error:
        raise explain(overrides, error, task) from error
    check(config, task)
    return run(**config)


def _compare(outcomes: dict[str, "Outcome"]) -> None:
    """A short table, a row for each outcome."""
    metrics = ("test/accuracy", "test/f1_macro", "test/auroc")
    print("\n" + " " * 16 + "".join(f"{name:>16}" for name in metrics))
    for title, outcome in outcomes.items():
        print(f"{title:<16}" + "".join(f"{outcome.metrics[name]:>16.3f}" for name in metrics))
    first, second = (each.metrics["test/accuracy"] for each in outcomes.values())
    print(f"{'difference':<16}{first - second:>+16.3f}   same labels, steps and test set")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
