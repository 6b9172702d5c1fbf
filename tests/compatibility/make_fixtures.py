"""Make what lies in fixtures/: a project as commit d1ababe leaves it, and what that commit makes of
it.

    git worktree add /tmp/d1ababe d1ababe
    unshare --uts sh -c "hostname laptop; python -m tests.compatibility.make_fixtures /tmp/d1ababe"

The archive was made once, by that commit, and is not made again: what it holds is what people have
on their disks. The project is made in /tmp/palimpsest-fixture, and holds

    pretrained   a finished masked language model
    finetuned    a finished classifier that began from it (init_from)
    interrupted  a classifier that SIGTERM ended in the midst of its second epoch
    killed       a masked language model that SIGKILL ended: RUNNING in the store, part of its
                 journal not delivered
    offline      a run with tracking=offline, that waits in mlruns/outbox
    sweep        a search (TPE, median) that Ctrl-C ended in its third trial of four

`expected.json` has their ids, and what d1ababe itself makes of them afterwards, in a copy;
`surface.json` and `targets.json` what surface.py finds of it.
"""

import json
import os
import re
import shutil
import signal
import sqlite3
import subprocess
import sys
import tarfile
import time
from contextlib import closing
from pathlib import Path
from typing import Any

from tests.compatibility.project import (
    FIXTURES,
    LABELLED,
    MASKED,
    Points,
    Project,
    from_run,
    newest,
    until,
)
from tests.compatibility.surface import surface, targets

COMMIT = "d1ababe27846b34323b2bf763fd5fa0d99a174ba"
PLACE = Path("/tmp/palimpsest-fixture")
YEAR_SECONDS = 365 * 24 * 3600
QUESTION = "a great film with a dull story"
LONG = ("trainer.max_epochs=5", "trainer.val_check_steps=20", "callbacks.progress.line_seconds=0")
SWEEP = (
    "-m",
    *(each for each in LABELLED if not each.startswith("model.optim.lr=")),
    "trainer.max_epochs=null",
    "trainer.max_steps=400",
    "trainer.val_check_steps=50",
    "search/sampler=tpe",
    "search/pruner=median",
    "search.max_trials=4",
    "search.jobs=1",
    "model.optim.lr=tag(log, interval(1e-4, 1e-1))",
)
TRIALS = """
    select number, state, param_name, param_value, value from trials
    join trial_params using (trial_id) left join trial_values using (trial_id) order by number
"""


def make(project: Project) -> dict[str, Any]:
    """The runs; their ids."""
    made: dict[str, Any] = {}
    project.say("run", "name=pretrained", *MASKED)
    made["pretrained"] = newest(project)
    project.say("run", "name=finetuned", *from_run(made["pretrained"]), "trainer.max_epochs=1")
    made["finetuned"] = newest(project)

    process = project.begin(
        "run",
        "name=interrupted",
        "callbacks=early_stopping",
        "callbacks.early_stopping.patience=6",
        "callbacks.early_stopping.monitor=val/accuracy",
        "callbacks.early_stopping.mode=max",
        *LABELLED,
        *LONG,
    )
    list(until(process, "validated at step 60/"))
    process.send_signal(signal.SIGTERM)
    process.communicate()
    assert process.returncode == 143
    made["interrupted"] = newest(project)

    before = {each.name for each in (project.runs / "outbox").glob("*")}
    project.say(
        "run",
        "name=offline",
        *LABELLED,
        "tracking=offline",
        "tracking.system_metrics=false",
        "tags={purpose: a fixture}",
    )
    [made["offline"]] = {each.name for each in (project.runs / "outbox").iterdir()} - before

    process = project.begin("run", *SWEEP)
    list(until(process, "trial 2 validation 1"))
    process.send_signal(signal.SIGINT)
    process.communicate()
    assert process.returncode == 130
    [(made["sweep"],)] = project.rows("search.db", "select study_name from studies")

    process = project.begin(
        "run",
        "name=killed",
        "callbacks.checkpoint.every_steps=10",
        "tracking.flush_seconds=0.01",
        *MASKED,
        *LONG,
    )
    list(until(process, "validated at step 40/"))
    process.kill()
    process.communicate()
    made["killed"] = newest(project)
    return made


def settle(project: Project) -> None:
    """Have the databases be one file each, and small; nothing that is read from them changes."""
    for file in project.runs.glob("*.db"):
        with closing(sqlite3.connect(file)) as database:
            database.execute("pragma wal_checkpoint(truncate)")
            database.execute("vacuum")
            database.execute("pragma wal_checkpoint(truncate)")
        for suffix in ("-wal", "-shm"):
            file.with_name(file.name + suffix).unlink(missing_ok=True)


def date_back(project: Project, run_id: str) -> None:
    """Have the last sign of life of a run be a year old: nobody waits for it, whatever the clock
    says.
    """
    for path in (
        project.runs / "alive" / run_id,
        *(project.runs / "outbox" / run_id).glob("*.jsonl"),
    ):
        path.write_text(
            re.sub(
                r"\b\d{10}(?= every )",
                lambda each: str(int(each[0]) - YEAR_SECONDS),
                path.read_text(),
            )
        )
        os.utime(path, (time.time() - YEAR_SECONDS,) * 2)
    beat, _, every = project.tags(run_id)["heartbeat"].partition(" ")
    with closing(sqlite3.connect(project.runs / "mlflow.db")) as database:
        beat = f"{int(beat) - YEAR_SECONDS} {every}"
        database.execute(
            "update tags set value = ? where run_uuid = ? and key = 'heartbeat'", [beat, run_id]
        )
        database.commit()


def pack(project: Project) -> None:
    with tarfile.open(FIXTURES / "project.tar.xz", "w:xz", preset=9) as archive:  # type: ignore[call-arg,unused-ignore]
        archive.add(project.runs, "mlruns", filter=_neutral)


def _neutral(entry: tarfile.TarInfo) -> tarfile.TarInfo:
    entry.uid = entry.gid = 0
    entry.uname = entry.gname = ""
    return entry


def expected(project: Project, made: dict[str, Any]) -> dict[str, Any]:
    """What this very commit goes on to make of the project."""
    found: dict[str, Any] = {"commit": COMMIT, "question": QUESTION, "runs": made}
    [(found["resumed_at"],)] = project.rows(
        "mlflow.db",
        "select max(step) from metrics where run_uuid = ? and key = 'train/loss'",
        made["interrupted"],
    )
    project.say("run", f"resume={made['interrupted']}")
    found["interrupted"] = listed(project.points(made["interrupted"]))
    project.say("run", f"resume={made['killed'][:8]}")
    found["killed"] = listed(project.points(made["killed"]))
    found["predict"] = project.say(
        "predict", f"run={made['finetuned']}", f"text={QUESTION}"
    ).splitlines()[-3:]
    project.say("run", "name=from_old", *from_run(made["pretrained"]), "trainer.max_epochs=1")
    found["from_old"] = listed(project.points(newest(project)))
    found["trials"] = project.rows("search.db", TRIALS)
    project.say("run", "-m", f"sweep={made['sweep']}")
    found["trials_after"] = project.rows("search.db", TRIALS)
    project.say("sync")
    [(sent,)] = project.rows(
        "mlflow.db",
        "select run_uuid from tags where key = 'local_id' and value = ?",
        made["offline"],
    )
    found["offline"] = listed(project.points(str(sent)))
    return found


def listed(points: Points) -> list[list[Any]]:
    return sorted([key, step, value] for (key, step), value in points.items())


def readable(found: dict[str, Any]) -> str:
    """JSON with a line for each point."""
    text = json.dumps(found, indent=1)
    return re.sub(r"\[[^\[\]{}]*\]", lambda each: re.sub(r"\s*\n\s*", " ", each[0]), text) + "\n"


def main(checkout: Path) -> None:
    head = subprocess.run(
        ["git", "rev-parse", "HEAD"], cwd=checkout, capture_output=True, text=True, check=True
    )
    assert head.stdout.strip() == COMMIT, f"expected a checkout of {COMMIT}"
    copy = PLACE.with_name(f"{PLACE.name}-copy")
    for each in (PLACE, copy):
        shutil.rmtree(each, ignore_errors=True)
    project = Project(PLACE, checkout)
    made = make(project)
    time.sleep(1)
    date_back(project, made["killed"])
    settle(project)
    pack(project)
    other = Project(copy, checkout)
    shutil.copytree(project.runs, other.runs)
    shutil.rmtree(PLACE)
    (FIXTURES / "expected.json").write_text(readable(expected(other, made)))
    shutil.rmtree(copy)
    (FIXTURES / "surface.json").write_text(
        json.dumps(surface(Project(copy, checkout)), indent=1) + "\n"
    )
    (FIXTURES / "targets.json").write_text(json.dumps(targets(copy / "conf"), indent=1) + "\n")
    shutil.rmtree(copy)


if __name__ == "__main__":
    main(Path(sys.argv[1]).resolve())
