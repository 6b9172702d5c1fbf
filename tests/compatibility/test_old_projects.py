"""A project that commit d1ababe has left, in another folder and under today's program: everything
in it goes on.

The fixture and what d1ababe itself makes of it are made by make_fixtures.py.
"""

import re
from typing import Any

import pytest

from tests.compatibility.make_fixtures import QUESTION, TRIALS
from tests.compatibility.project import Points, Project, from_run, newest, unpacked

pytestmark = pytest.mark.long

SAME = {"rel": 1e-6, "abs": 1e-6}
# what the report of d1ababe did not measure
NEWER = ("calibration/", "report/", "test/balanced_accuracy", "test/average_precision")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return unpacked(tmp_path_factory.mktemp("moved") / "project")


@pytest.fixture(scope="module")
def made(expected: dict[str, Any]) -> dict[str, str]:
    """The ids of the runs, by what they are."""
    found: dict[str, str] = expected["runs"]
    return found


def points(rows: list[list[Any]]) -> Points:
    return {(key, step): value for key, step, value in rows}


def test_a_run_that_was_interrupted_goes_on_to_the_same_end(
    project: Project, made: dict[str, str], expected: dict[str, Any]
) -> None:
    """With the state of its early stopping; it is the first to open the store, which the project's
    new place mends.
    """
    run_id, wanted = made["interrupted"], points(expected["interrupted"])
    before = project.points(run_id)
    assert (
        project.status(run_id) == "KILLED" and 50 < max(step for _, step in before) < 100
        # in the second epoch
    )
    said = project.say("run", f"resume={run_id[:8]}")
    assert (
        f"the project was moved; its runs now find their files in {project.runs / 'artifacts'}"
        in said
    )
    assert "resumed at optimizer step 61 (step=61.ckpt)" in said
    assert project.status(run_id) == "FINISHED" and project.tags(run_id)["resumed"] == "1"
    found = project.points(run_id)
    known = {point: value for point, value in found.items() if not point[0].startswith(NEWER)}
    assert known == pytest.approx(wanted, **SAME)
    assert found.items() >= before.items()
    assert len(wanted) > len(before)


def test_a_run_that_was_killed_is_delivered_and_goes_on(
    project: Project, made: dict[str, str], expected: dict[str, Any]
) -> None:
    """It was RUNNING, and two checkpoints, some points and its metrics waited in its outbox."""
    run_id, wanted = made["killed"], points(expected["killed"])
    said = project.say("run", f"resume={run_id[:8]}")
    assert re.search(r"resumed at optimizer step [1-9]\d+ ", said)
    assert project.status(run_id) == "FINISHED" and not (project.runs / "outbox" / run_id).exists()
    assert project.points(run_id) == pytest.approx(wanted, **SAME)


def test_a_run_that_was_kept_offline_is_sent_once(
    project: Project, made: dict[str, str], expected: dict[str, Any]
) -> None:
    wanted = points(expected["offline"])
    assert f"run {made['offline']}: " in project.say("sync", made["offline"][:6])
    [(run_id,)] = project.rows(
        "mlflow.db",
        "select run_uuid from tags where key = 'local_id' and value = ?",
        made["offline"],
    )
    assert project.points(str(run_id)) == pytest.approx(wanted, **SAME)
    assert (
        project.status(str(run_id)) == "FINISHED"
        and project.tags(str(run_id))["purpose"] == "a fixture"
    )
    assert {
        "config.yaml",
        "model/model.safetensors",
        "checkpoints/step=50.ckpt",
    } <= project.artifacts(str(run_id))
    assert "nothing waits" in project.say("sync")
    assert project.points(str(run_id)) == pytest.approx(wanted, **SAME)


def test_a_sweep_goes_on_and_keeps_what_has_finished(
    project: Project, made: dict[str, str], expected: dict[str, Any]
) -> None:
    before = [tuple(row) for row in expected["trials"]]
    wanted = [tuple(row) for row in expected["trials_after"]]
    states = [row[1] for row in before]
    assert (
        states == ["COMPLETE", "COMPLETE", "WAITING"]
        and project.rows("search.db", TRIALS) == before
    )
    runs = trials(project, made["sweep"])
    said = project.say("run", "-m", f"sweep={made['sweep'][:8]}")
    assert "trial 2 goes on" in said or ("trial 2" in said and "trial 0 begins" not in said)
    found = project.rows("search.db", TRIALS)
    assert found[:2] == before[:2]
    assert [row[:3] for row in found] == [row[:3] for row in wanted]
    for column in (3, 4):
        assert [row[column] for row in found] == pytest.approx(
            [row[column] for row in wanted], **SAME
        )
    after = trials(project, made["sweep"])
    assert after.items() >= runs.items() and set(after) == {"0", "1", "2", "3"}
    assert {project.status(run_id) for run_id in (*after.values(), made["sweep"])} == {"FINISHED"}


def trials(project: Project, sweep: str) -> dict[str, str]:
    """The runs of a sweep by the numbers of their trials."""
    found = project.rows(
        "mlflow.db",
        "select mine.value, mine.run_uuid from tags mine join tags theirs using (run_uuid) "
        "where mine.key = 'search.trial' and theirs.key = 'mlflow.parentRunId' and theirs.value "
        "= ?",
        sweep,
    )
    return {str(number): str(run_id) for number, run_id in found}


def test_a_model_answers_as_it_did(
    project: Project, made: dict[str, str], expected: dict[str, Any]
) -> None:
    said = project.say("predict", f"run={made['finetuned'][:8]}", f"text={QUESTION}").splitlines()
    assert [line.split()[0] for line in said[-3:]] == [
        line.split()[0] for line in expected["predict"]
    ]
    for now, before in zip(said[-2:], expected["predict"][-2:], strict=True):
        assert float(now.split()[1]) == pytest.approx(
            float(before.split()[1]),
            abs=1.1e-4,
            # as it is printed
        )


def test_a_run_begins_from_an_old_one(
    project: Project, made: dict[str, str], expected: dict[str, Any]
) -> None:
    project.say("run", "name=from_old", *from_run(made["pretrained"]), "trainer.max_epochs=1")
    run_id = newest(project)
    assert project.tags(run_id)["init_from"] == made["pretrained"]
    assert run_id in project.tags(made["pretrained"])["used_by"]
    # counts of rows are in a tag now, and reference lines came later
    wanted = {
        key: value for key, value in points(expected["from_old"]).items() if key[0][:5] != "data/"
    }
    found = {
        key: value
        for key, value in project.points(run_id).items()
        # counts of leakage, too
        if not key[0].startswith(("reference/", "data/", *NEWER))
    }
    assert found == pytest.approx(wanted, **SAME)
