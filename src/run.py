"""One run: compose, train, record. `python -m src.run --help` says how; `-m` makes a run of each combination.

The whole program stands in `run()`: objects, then fit, then test, inside one tracked run.
"""

import os
import sys
import time
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.terms import startup
from src.terms.bounds import Whole
from src.terms.fault import Fault, Faults

if TYPE_CHECKING:
    from omegaconf import DictConfig

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"
_failures: list[int] = []  # exit codes of a multirun's trials that failed


class Outcome(NamedTuple):
    """A finished run: its id, its page below the UI's address, the last value of every metric, and how long it took."""

    run_id: str
    link: str
    metrics: dict[str, float]
    seconds: float

    def __str__(self) -> str:
        stage = "test/" if any(key.startswith("test/") for key in self.metrics) else "val/"
        shown = {key: value for key, value in sorted(self.metrics.items()) if key.startswith(stage)}
        shown.pop("test/support", None)
        metrics = "  ".join(f"{key} {value:.4g}" for key, value in shown.items())
        return f"run {self.run_id} FINISHED  {metrics}  {self.seconds:.0f} s  see: make ui ({self.link})"


def run(
    *,
    name: str,
    data: Mapping[str, Any],
    model: Mapping[str, Any],
    trainer: Mapping[str, Any],
    callbacks: Mapping[str, Any],
    tracking: Mapping[str, Any],
    seed: Whole,
    init_from: str | None = None,
    tags: Mapping[str, str] | None = None,
) -> Outcome:
    """Train, evaluate and record.

    Args:
        name: the beginning of the run's name.
        data, model, trainer, callbacks, tracking: nodes with a `_target_`, as composed.
        seed: of weights, dropout, order and masks.
        init_from: id of an earlier run whose encoder and tokenizer are taken.
        tags: put on the run as they are.
    """
    if init_from is not None:
        model, data = _started_from(init_from, model, data)
    config = {key: value for key, value in locals().items() if value is not None}
    started_at = time.monotonic()
    from src.training.memory import bound_kernels
    from src.training.noise import quiet

    bound_kernels()

    quiet()  # before the libraries that it speaks to are imported
    from lightning import seed_everything

    from src.config.build import build
    from src.evaluation.report import report
    from src.tracking.naming import run_name
    from src.tracking.params import flatten
    from src.tracking.record import RunRecord  # noqa: F401  # imports MLflow, while nothing is collected
    from src.training.callbacks import ending, steady
    from src.training.distributed import all_answers, load_weights, unshard
    from src.training.export import save_model
    from src.training.ranks import told
    from src.training.starting import starting

    startup.imported()
    store = build(tracking)
    store.check()
    place = told("origin")
    origin = Path(place) if place else store.model_folder(init_from) if init_from is not None else None
    datamodule = build(data, origin=origin)
    module = build(model, origin=origin)
    training = build(trainer)
    watchers = [build(each) for each in callbacks.values() if each is not None]
    for part in (datamodule.source, module.architecture):
        part.check()

    seed_everything(seed, workers=True, verbose=False)
    record = store.record(
        name=run_name(name, _overrides()),
        kind=module.objective.purpose,
        params=flatten(config),
        tags=tags,
        config_yaml=_yaml(config),
        init_from=init_from,
    )
    ranks = training.ranks(give_up=lambda error: record.__exit__(type(error), error, error.__traceback__))
    datamodule.divide(ranks.place.rank, ranks.place.size)
    with record, ranks:
        if ranks.place.rank == 0:
            print(f"run {record.run_id}: {record.name}", flush=True)
        datamodule.prepare_data()
        if "validation" not in datamodule.stores:
            raise Fault(
                "there are no rows to validate on; data.split.validation=0.1 takes a tenth of the training rows"
            )
        for split, about in datamodule.describe().items():
            record.dataset(split=split, source=datamodule.source.name, **about)
        record.metrics({f"data/{key}": count for key, count in datamodule.about["counts"].items()})
        total_steps = training.total_steps(datamodule.facts.batches_per_epoch)
        module.adapt(datamodule.facts, total_steps)

        arithmetic, reason = training.arithmetic(ranks.place)
        record.tag("precision", reason)
        checkpoints = store.runs_folder / "checkpoints" / record.run_id
        watching = [each for watcher in watchers for each in watcher.build(checkpoints)]
        ranks.go(config, origin=str(origin) if origin else None, arithmetic=arithmetic)
        loop = training.build(
            callbacks=[*watching, *starting(record.metrics), ending(total_steps), steady()],
            logger=record.logger,
            arithmetic=arithmetic,
            root=str(ROOT),
            ranks=ranks,
        )
        loop.fit(module, datamodule=datamodule)

        best = getattr(loop.checkpoint_callback, "best_model_path", "") or None
        if best is not None:
            record.tag("checkpoint", os.path.relpath(best, ROOT))
            if ranks.place.rank == 0:
                record.file(best, "checkpoints")
            load_weights(module, best)
        values = {key: float(value) for key, value in loop.callback_metrics.items()}
        if "test" in datamodule.stores:
            loop.test(module, datamodule=datamodule, verbose=False)
            values |= {key: float(value) for key, value in loop.callback_metrics.items()}
        answers = all_answers(module.test_answers())
        unshard(module.encoder)
        if ranks.place.rank > 0:  # the first rank has all that is left to do
            return Outcome(record.run_id, record.link, values, time.monotonic() - started_at)
        findings = report(module.objective.kind, answers, datamodule.facts.label_names)
        if findings is not None:
            measured = {f"test/{key}": value for key, value in findings.metrics.items()}
            record.metrics(measured, step=loop.global_step)
            values |= measured
            for title, table in findings.tables.items():
                record.table(table, f"report/{title}.json")
            for title, figure in findings.figures.items():
                record.figure(figure, f"report/{title}.png")
        with save_model(module.encoder, datamodule.tokenizer, datamodule.reading()) as folder:
            record.folder(folder, "model")
    outcome = Outcome(record.run_id, record.link, values, time.monotonic() - started_at)
    print(outcome, flush=True)
    return outcome


def _started_from(
    run_id: str, model: Mapping[str, Any], data: Mapping[str, Any]
) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """Model and data with the encoder and tokenizer of an earlier run, written `run:ID`."""
    if "name_or_path" not in model["encoder"] or "name_or_path" not in data["tokenizer"]:
        raise Fault(
            f"init_from={run_id} brings an encoder and its tokenizer, but the config makes fresh ones; "
            "add model/encoder=pretrained data/tokenizer=pretrained"
        )
    place = {"name_or_path": f"run:{run_id}"}
    return (
        {**model, "encoder": {**model["encoder"], **place}},
        {**data, "tokenizer": {**data["tokenizer"], **place}},
    )


def _overrides() -> list[str]:
    """What was typed, where Hydra started the program."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def _yaml(config: Mapping[str, Any]) -> str:
    """The composed config; the project's folder stays a reference, so that it re-composes after a move."""
    import yaml

    return yaml.safe_dump(dict(config), sort_keys=False, allow_unicode=True).replace(str(ROOT), "${project_root:}")


def main(cfg: "DictConfig") -> Outcome | None:
    """The task function: check the composed config, then run it. In a multirun a failure does not end the others."""
    from hydra.core.hydra_config import HydraConfig
    from hydra.types import RunMode

    from src.config.check import check
    from src.config.compose import plain
    from src.config.signature import task_signature

    sweeping = HydraConfig.get().mode == RunMode.MULTIRUN
    try:
        config = plain(cfg)
        check(config, task_signature())
        return run(**config)
    except Exception as error:
        if not sweeping:
            sys.exit(complain(error))  # an exception would pass through Hydra, which adds a line of its own
        print(f"trial {HydraConfig.get().job.num} ({' '.join(_overrides())}):", file=sys.stderr)
        _failures.append(complain(error))
        return None


def complain(error: Exception) -> int:
    """Say what went wrong, as shortly as it allows; returns the exit code: 2 for a person's mistake, else 1."""
    import traceback

    from src.tracking.ending import recorded

    run_id = recorded(error)  # the run that it ended, where one had begun
    if not isinstance(error, Fault | ArithmeticError | OSError | MemoryError):
        traceback.print_exception(error)
    print(f"error: {error}", file=sys.stderr)
    if run_id is not None:
        last = sorted((ROOT / "mlruns" / "checkpoints" / run_id).glob("*.ckpt"), key=lambda each: each.stat().st_mtime)
        kept = f"; last checkpoint: {os.path.relpath(last[-1], ROOT)}" if last else ""
        print(f"run {run_id} FAILED{kept}", file=sys.stderr)
    return 2 if isinstance(error, Fault) and run_id is None else 1


def cli() -> None:
    """The program. Help and version come before every import that takes time."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--rank"]:  # one more process of a run, started by its first
        from src.training.ranks import follow

        follow(run)
    if {"--help", "-h"} & set(arguments):
        from src.config.help import text

        print(text())
        return
    if "--version" in arguments:
        from src import __version__

        print(f"palimpsest {__version__}")
        return
    from src.config.compose import REFUSALS, added, register, started
    from src.config.signature import task_signature

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here instead of being printed and turned into exit code 1
    register()
    task = task_signature()
    if {"-m", "--multirun"} & set(arguments):
        from src.config.explain import mistakes

        if found := mistakes(arguments, task):
            print(f"error: {Faults(found)}", file=sys.stderr)  # before the first trial, and before Hydra makes a folder
            sys.exit(2)
    sys.argv[1:] = added(arguments, task)
    try:
        if any(each.startswith("-") for each in arguments) or not started(sys.argv[1:], main):
            import hydra

            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(main)()
    except REFUSALS as error:
        from src.config.explain import explain

        print(f"error: {explain(arguments, error, task)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    sys.exit(max(_failures, default=0))


if __name__ == "__main__":
    with startup.program():
        cli()
