"""Everything with a name that users rely on is still there; more may be.

fixtures/surface.json has it as commit d1ababe has it, a list for each part of it; surface.py finds
out what there is.
"""

import json

import pytest

from tests.compatibility.project import FIXTURES, Project
from tests.compatibility.surface import Surface, surface

pytestmark = pytest.mark.long

BEFORE: Surface = json.loads((FIXTURES / "surface.json").read_text())
TARGETS: dict[str, dict[str, str]] = json.loads((FIXTURES / "targets.json").read_text())
SPLITS = ("train", "validation", "test")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory) -> Project:
    return Project(tmp_path_factory.mktemp("surface") / "project")


@pytest.fixture(scope="module")
def now(project: Project) -> Surface:
    return surface(project)


def test_nothing_that_has_a_name_is_lost(now: Surface) -> None:
    lost = {part: sorted(set(some) - set(now.get(part, []))) for part, some in BEFORE.items()}
    # counts of rows filled the first pages of charts as metrics; they are in a tag now
    counts = {f"data/{split}/{kind}" for split in SPLITS for kind in ("read", "kept")}
    for kind in ("fine-tuning", "pretraining", "trial"):
        assert "data/summary" in now[f"tags of {kind}"]
        lost[f"metrics of {kind}"] = sorted(set(lost[f"metrics of {kind}"]) - counts)
    assert {part: some for part, some in lost.items() if some} == {}


@pytest.mark.parametrize("turn", range(5))
def test_every_target_of_a_stored_config_is_still_known(project: Project, turn: int) -> None:
    """Written out as it stands in configs of before, beside a mistake elsewhere: nothing is said of
    the targets.
    """
    # by key, target and option that has it
    alternatives: dict[str, dict[str, str]] = {}
    for option, named in TARGETS.items():
        for key, target in named.items():
            alternatives.setdefault(key, {}).setdefault(target, option)
    assert max(map(len, alternatives.values())) == 5
    command = ["search.max_trials=9", "trainer.max_epochs=no,2"]
    for key, found in alternatives.items():
        target, option = list(found.items())[turn % len(found)]
        group, _, choice = option.rpartition("/")
        if (
            not choice.startswith("_")
            and group != "hydra/sweeper"
            and f"{group}={choice}" not in command
        ):
            command.append(f"{group}={choice}")
        command.append(f"{key}={target}")
    said = project.say("run", "-m", *command, code=2)
    assert "trainer.max_epochs: expected a whole number at least 1 or null, found 'no'" in said
    assert "_target_: " not in said
    assert "there is no module" not in said


def test_a_target_of_a_users_own_needs_to_be_allowed(project: Project) -> None:
    words = ("+callbacks.mine._target_=mine.Mine", "seed=no")
    (project.root / "mine.py").write_text("class Mine:\n    def __init__(self) -> None: ...\n")
    refused = project.say("run", *words, code=2)
    assert "seed: expected a whole number" in refused and "mine.Mine" in refused
    allowed = project.say("run", *words, code=2, PALIMPSEST_ALLOWED_TARGETS="mine.Mine")
    assert "seed: expected a whole number" in allowed and "mine.Mine" not in allowed
