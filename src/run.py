"""One run: compose, train, record. `python -m src.run --help` says how; `-m` makes a run of each combination.

The whole program stands in `run()`: objects, then fit, then test, inside one tracked run.
"""

import os
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.config.origin import started_from
from src.terms import startup
from src.terms.bounds import Whole
from src.terms.fault import Fault, Faults
from src.tracking.redaction import hidden_arguments, spoken

if TYPE_CHECKING:
    from lightning.pytorch import Trainer
    from omegaconf import DictConfig

    from src.config.signature import Signature
    from src.model.module import EncoderModule

ROOT = Path(__file__).resolve().parents[1]
CONF = ROOT / "conf"


class Outcome(NamedTuple):
    """A finished run: its id, its page below the UI's address ("" where no store has it yet), the last value of every
    metric, and how long it took."""

    run_id: str
    link: str
    metrics: dict[str, float]
    seconds: float

    def __str__(self) -> str:
        stage = "test/" if any(key.startswith("test/") for key in self.metrics) else "val/"
        shown = {key: value for key, value in sorted(self.metrics.items()) if key.startswith(stage)}
        shown.pop("test/support", None)
        metrics = "  ".join(f"{key} {value:.4g}" for key, value in shown.items())
        look = f"see: make ui ({self.link})" if self.link else f"to the store: python -m src.sync {self.run_id}"
        return f"run {self.run_id} FINISHED  {metrics}  {self.seconds:.0f} s  {look}"


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
    resume: str | None = None,
    fork: bool = False,
) -> Outcome:
    """Train, evaluate and record.

    Args:
        name: the beginning of the run's name.
        data, model, trainer, callbacks, tracking: nodes with a `_target_`, as composed.
        seed: of weights, dropout, order and masks.
        init_from: id of an earlier run whose encoder and tokenizer are taken.
        tags: put on the run as they are.
        resume: id of an earlier run with this very config, which goes on where it stopped.
        fork: begin a new run from that one's last checkpoint instead, with what of the config is another.
    """
    if init_from is not None:
        model, data = started_from(init_from, model, data)
    config = {key: value for key, value in locals().items() if value is not None and key not in ("resume", "fork")}
    started_at = time.monotonic()
    from src.training.memory import bound_kernels
    from src.training.noise import quiet

    bound_kernels()

    quiet()  # before the libraries that it speaks to are imported
    from lightning import seed_everything

    from src.config.build import build
    from src.config.resuming import judging, written
    from src.evaluation.report import report
    from src.search.watching import watching
    from src.terms.world import Standing
    from src.tracking.again import command
    from src.tracking.naming import run_name
    from src.tracking.params import flatten
    from src.tracking.record import RunRecord
    from src.tracking.vanished import RANKS
    from src.training.beginning import begin
    from src.training.callbacks import ending, steady
    from src.training.checkpoints import Ties
    from src.training.distributed import all_answers, load_weights, unshard
    from src.training.export import save_model
    from src.training.fitting import fit
    from src.training.following import told
    from src.training.obeying import obeying
    from src.training.parting import Left, remember
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
    for part in (datamodule.source, module.architecture, datamodule.tokenizer_choice):
        part.check()

    seed_everything(seed, workers=True, verbose=False)
    record: RunRecord
    ranks = training.ranks(
        give_up=lambda error: record.__exit__(type(error), error, error.__traceback__),
        first_gone=store.close_vanished,
    )
    begun = begin(store, resume=resume, fork=fork, first=ranks.place.rank == 0, judge=judging(config, fork=fork))
    watch = watching()
    typed = watch.shown or _overrides() or [f"{key}={value}" for key, value in begun.changed.items() if key != "name"]
    record = store.record(
        name=run_name(name, hidden_arguments(typed)),
        kind=module.objective.purpose,
        params=flatten(config),
        tags={**(tags or {}), **watch.tags, RANKS: str(ranks.place.size)},
        config_yaml=written(config),
        parent=watch.parent,
        init_from=init_from,
        forked_from=begun.forked_from,
        resume=begun.resumed,
    )
    datamodule.divide(ranks.place.rank, ranks.place.size)
    if begun.earlier is not None:  # before the run is touched
        datamodule.prepare_data()
        begun.check_data({split: about["digest"] for split, about in datamodule.describe().items()})
    standing = Standing(config)
    with begun, record, ranks, standing:
        checkpoints = store.runs_folder / "checkpoints" / record.run_id
        way_back = command(record.run_id, root=store.root, uri=store.uri, offline=store.offline)
        remember(record.run_id, Left(checkpoints, watch.way_on or way_back))
        watch.begin(record)
        if ranks.place.rank == 0:
            print(f"run {record.run_id}: {spoken(record.name)}", flush=True)
            begun.note(record.tag)
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

        arithmetic, reason = begun.arithmetic or training.arithmetic(ranks.place)
        record.tag("precision", reason)
        ties = Ties(about={"run_id": record.run_id}, persist=record.persist, mirror=record.mirror, tag=record.tag)
        start = told("checkpoint") or begun.place(checkpoints)
        ranks.go(
            config,
            origin=str(origin) if origin else None,
            arithmetic=arithmetic,
            checkpoint=str(start) if start else None,
            foreign="yes" if begun.foreign else None,
        )

        def trainer_of_its_own() -> "Trainer":
            asked = [each for watcher in (*watchers, watch) for each in watcher.build(checkpoints, ties)]
            own = [*starting(record.metrics), ending(total_steps), steady(), obeying(record.signals)]
            return training.build(
                callbacks=[*asked, *own], logger=record.logger, arithmetic=arithmetic, root=str(ROOT), ranks=ranks
            )

        def fresh_module() -> "EncoderModule":
            seed_everything(seed, workers=True, verbose=False)
            again: EncoderModule = build(model, origin=origin)
            again.adapt(datamodule.facts, total_steps)
            return again

        module, loop = fit(
            module,
            datamodule,
            loop=trainer_of_its_own,
            fresh=fresh_module,
            start=Path(start) if start else None,
            foreign=bool(told("foreign") or begun.foreign),
            folder=checkpoints,
            most_skips=training.max_skips if training.on_non_finite == "skip" else None,
            record=record,
        )
        if watch.pruned is not None:  # a trial that was given up is not tested, and leaves no model
            watch.give_up()
            return Outcome(record.run_id, record.link, record.latest, time.monotonic() - started_at)
        standing.words = f"training itself was complete (optimizer step {loop.global_step})"

        best = getattr(loop.checkpoint_callback, "best_model_path", "") or None
        if best is not None:
            record.tag("checkpoint", os.path.relpath(best, ROOT))
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
            measured = {f"test/{key}": value for key, value in findings.metrics.items() if f"test/{key}" not in values}
            record.metrics(measured, step=loop.global_step)
            values |= measured
            for title, table in findings.tables.items():
                record.table(table, f"report/{title}.json")
            for title, figure in findings.figures.items():
                record.figure(figure, f"report/{title}.png")
        watch.end(best, values)
        with save_model(module.encoder, datamodule.tokenizer, datamodule.reading()) as folder:
            record.folder(folder, "model")
    outcome = Outcome(record.run_id, record.link, values, time.monotonic() - started_at)
    print(outcome, flush=True)
    return outcome


def _overrides() -> list[str]:
    """What was typed, where Hydra started the program."""
    from hydra.core.hydra_config import HydraConfig

    return list(HydraConfig.get().overrides.task) if HydraConfig.initialized() else []


def main(cfg: "DictConfig") -> Outcome | int:
    """The task function: check the composed config, then run it; or conduct a trial, for which it is an exit code."""
    from src.config.check import check
    from src.config.compose import plain
    from src.config.signature import task_signature
    from src.search.trial import conduct, current
    from src.training.parting import complain, part

    try:
        config = plain(cfg)
        if current() is not None:  # one job of Hydra's launchers
            return conduct(run, config)
        check(config, task_signature())
        return run(**config)
    except Exception as error:
        sys.exit(complain(error))  # an exception would pass through Hydra, which adds a line of its own
    except (KeyboardInterrupt, SystemExit) as error:
        part(error, "KILLED")
        raise


def go_on(arguments: Sequence[str], task: "Signature") -> int:
    """Go on with an earlier run, or fork it, as `resume=ID` asks: by its own config, not conf/. The exit code."""
    from src.config.build import build
    from src.config.resuming import read
    from src.tracking.again import command
    from src.training.parting import complain, part

    try:
        asked = read(arguments, task)
        store = build(asked.tracking)
        store.check()
        found = store.find(asked.run_id, key="resume")
        if found.tags.get("kind") == "search":
            way = command(found.id, root=store.root, uri=store.uri, sweep=found.id)
            raise Fault(f"resume={asked.run_id}: run {found.id} is a sweep of several; go on with it: {way}")
        run(**asked.config(store.config(found.id, key="resume"), task), resume=found.id, fork=asked.fork)
    except Exception as error:
        return complain(error)
    except (KeyboardInterrupt, SystemExit) as error:
        part(error, "KILLED")
        raise
    return 0


def cli() -> None:
    """The program. Help and version come before every import that takes time."""
    arguments = sys.argv[1:]
    if arguments[:1] == ["--rank"]:  # one more process of a run, started by its first
        from src.training.following import follow

        follow(run)
    if {"--help", "-h"} & set(arguments):
        from src.config.help import text

        print(text())
        return
    if "--version" in arguments:
        from src import __version__

        print(f"palimpsest {__version__}")
        return
    from src.config.compose import REFUSALS, added, register, resuming, started
    from src.config.signature import task_signature
    from src.config.sweeps import several

    os.environ["HYDRA_FULL_ERROR"] = "1"  # exceptions come here instead of being printed and turned into exit code 1
    register()
    task = task_signature()
    if resuming(arguments):
        sys.exit(go_on(arguments, task))
    flags = {each for each in arguments if each.startswith("-")}
    many = several(arguments)
    if flags or many:
        from src.config.explain import mistakes
        from src.config.flags import wrong_flags

        if found := wrong_flags(arguments, task) or (mistakes(arguments, task) if many else []):
            # before the first trial, and before Hydra makes a folder
            print(f"error: {spoken(Faults(found))}", file=sys.stderr)
            sys.exit(2)
    try:
        if many and flags <= {"-m", "--multirun"}:
            from src.config.multirun import swept

            sys.exit(swept([each for each in arguments if each not in flags], task, main))
        sys.argv[1:] = added(arguments, task)
        if flags or not started(sys.argv[1:], main):
            import hydra

            hydra.main(version_base="1.3", config_path=str(CONF), config_name="config")(main)()
    except REFUSALS as error:
        from src.config.explain import explain

        print(f"error: {spoken(explain(arguments, error, task))}", file=sys.stderr)
        sys.exit(2)
    except Fault as fault:
        print(f"error: {spoken(fault)}", file=sys.stderr)
        sys.exit(2)
    except KeyboardInterrupt:
        sys.exit(130)
    except Exception as error:  # of a search; a run by itself has said its own
        from src.training.parting import complain

        sys.exit(complain(error))
    sys.exit(0)


if __name__ == "__main__":
    with startup.program(), startup.interruptible():
        cli()
