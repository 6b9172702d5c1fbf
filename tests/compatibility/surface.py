"""Everything with a name that users rely on, as the program at hand has it, section by section.

It is found by commands and read off files: `surface(project)` of commit d1ababe is
fixtures/surface.json.
"""

import json
import re
import signal
import subprocess
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

import torch
import yaml

from tests.compatibility.project import LABELLED, MASKED, Project, from_run, newest, until

Surface = dict[str, list[str]]
EARLY = ("callbacks=early_stopping", "callbacks.early_stopping.patience=90")
# a class of the user's own, in the project's folder
WITNESS = "witness.Witness"
_WITNESS = '''
import json
import os
from pathlib import Path

from lightning.pytorch import Callback


class Witness:
    """A node of `callbacks` that a person has written: it notes what it finds."""

    def __init__(self, *, file: str = "witness.jsonl") -> None:
        self.file = file

    def build(self, folder, ties=None):
        return [Noting(Path(self.file), Path(folder))]


class Noting(Callback):
    def __init__(self, file, folder):
        self.file, self.folder = file, folder

    def on_fit_end(self, trainer, pl_module):
        outbox = self.folder.parents[1] / "outbox" / self.folder.name
        journals = sorted(outbox.glob("*.jsonl"))
        lines = [line for path in journals for line in path.read_text().splitlines()]
        noted = {
            "environment": sorted(key for key in os.environ if key.startswith("PALIMPSEST_")),
            "state_keys": sorted(each.state_key for each in trainer.callbacks if each.state_dict()),
            "journal": sorted({json.loads(line)["kind"] for line in lines}),
        }
        with self.file.open("a") as file:
            file.write(json.dumps(noted) + "\\n")
'''


def surface(project: Project) -> Surface:
    """Made by five runs in a project without any."""
    (project.root / "witness.py").write_text(_WITNESS)
    repository(project.root)
    witness = (f"+callbacks.witness={{_target_: {WITNESS}}}",)
    allowed = {"PALIMPSEST_ALLOWED_TARGETS": WITNESS}
    found: Surface = {}

    project.say(
        "run", *MASKED, "tracking=offline", "tracking.system_metrics=false", "+tags={mine: yes}"
    )
    [waiting] = (project.runs / "outbox").iterdir()
    entries = [
        json.loads(line)
        for path in sorted(waiting.glob("*.jsonl"))
        for line in path.read_text().splitlines()
    ]
    found["outbox of an offline run"] = names(waiting)
    found["outbox: run.json"] = keys(
        json.loads((waiting / "run.json").read_text()), deep=("create",)
    )
    found["journal entries"] = [f"{each['kind']}: {key}" for each in entries for key in each]
    project.say("sync")
    pretrained = newest(project)
    run(found, "pretraining", project, pretrained)

    words = (
        *from_run(pretrained),
        *EARLY,
        *witness,
        "trainer.max_epochs=20",
        "trainer.val_check_steps=10",
    )
    process = project.begin("run", *words, **allowed)
    list(until(process, "validated at step 20/"))
    process.send_signal(signal.SIGTERM)
    process.communicate(timeout=60)
    found["exit codes"] = [f"SIGTERM {process.returncode}"]
    stopped = newest(project)
    found["tags of a run that was ended"] = list(project.tags(stopped))
    project.say("run", f"resume={stopped}", "fork=true", "trainer.max_epochs=2", **allowed)
    finetuned = newest(project)
    run(found, "fine-tuning", project, finetuned)
    found["tags of an origin"] = list(project.tags(stopped)) + list(project.tags(pretrained))

    words = (
        "-m",
        *LABELLED,
        *witness,
        "trainer.max_epochs=1",
        "data.label_names=[negative,positive],[good,bad]",
    )
    process = project.begin("run", *words, **allowed)
    process.communicate(timeout=120)
    found["exit codes"].append(f"a failed trial {process.returncode}")
    [(sweep,)] = project.rows("search.db", "select study_name from studies")
    trials = dict(
        project.rows("mlflow.db", "select value, run_uuid from tags where key = 'search.trial'")
    )
    run(found, "sweep", project, str(sweep))
    run(found, "trial", project, str(trials["0"]))
    run(found, "failed trial", project, str(trials["1"]))
    for table in ("study_user_attributes", "study_system_attributes", "trial_user_attributes"):
        found[f"Optuna: {table}"] = [
            str(key) for (key,) in project.rows("search.db", f"select key from {table}")
        ]
    [(about,)] = project.rows(
        "search.db", "select value_json from study_user_attributes where key = 'about'"
    )
    found["Optuna: about"] = keys(json.loads(str(about)), deep=("search",))

    noted = [json.loads(line) for line in (project.root / "witness.jsonl").read_text().splitlines()]
    for section in ("environment", "state_keys", "journal"):
        found[f"within a run: {section}"] = [each for some in noted for each in some[section]]
    for title, run_id in (
        ("pretraining", pretrained),
        ("fine-tuning", finetuned),
        ("trial", str(trials["0"])),
    ):
        found[f"checkpoint of {title}"] = checkpoint(project, run_id)
    found["mlruns"] = names(project.runs)
    found |= conf(project.root / "conf")
    return {section: sorted(set(some)) for section, some in sorted(found.items())}


def run(found: Surface, title: str, project: Project, run_id: str) -> None:
    """Metrics, parameters, tags, data sets and artifacts of a run in the store."""
    metrics = project.rows(
        "mlflow.db", "select distinct key from metrics where run_uuid = ?", run_id
    )
    params = project.rows("mlflow.db", "select key from params where run_uuid = ?", run_id)
    inputs = (
        "select input_tags.value from input_tags join inputs using (input_uuid) where "
        "destination_id = ?"
    )
    found[f"metrics of {title}"] = [str(key) for (key,) in metrics]
    found[f"parameters of {title}"] = [str(key) for (key,) in params]
    found[f"tags of {title}"] = list(project.tags(run_id))
    found[f"artifacts of {title}"] = [neutral(each) for each in project.artifacts(run_id)]
    found[f"data sets of {title}"] = [
        str(split) for (split,) in project.rows("mlflow.db", inputs, run_id)
    ]


def checkpoint(project: Project, run_id: str) -> list[str]:
    """Its keys; of callbacks and weights with what is in them, of Lightning's own without."""
    folder = project.runs / "artifacts" / "palimpsest" / run_id / "artifacts" / "checkpoints"
    path = max(folder.glob("*.ckpt"), key=lambda each: each.stat().st_mtime)
    state = torch.load(path, weights_only=True)
    rank = {"palimpsest.ranks": state["palimpsest"]["ranks"][0]}
    own = keys(state, deep=("callbacks", "state_dict", "palimpsest"))
    return own + keys(rank, deep=("palimpsest.ranks",))


def conf(folder: Path) -> Surface:
    """Every file of conf/, and every key that it gives a value."""
    found: Surface = {"conf": []}
    for path in sorted(folder.rglob("*.yaml")):
        name = path.relative_to(folder).with_suffix("").as_posix()
        node = yaml.safe_load(path.read_text()) or {}
        found["conf"].append(name)
        found[f"conf/{name}"] = [key for key, _ in leaves(node) if not key.startswith("defaults")]
    return found


def targets(folder: Path) -> dict[str, dict[str, str]]:
    """The callables that conf/ names: by option the dotted keys and what stands there, for those
    that are new.
    """
    found: dict[str, dict[str, str]] = {}
    for path in sorted(folder.rglob("*.yaml")):
        option = path.relative_to(folder).with_suffix("")
        for key, value in leaves(yaml.safe_load(path.read_text()) or {}):
            if key.endswith("_target_"):
                found.setdefault(option.as_posix(), {})[
                    f"{'.'.join(option.parent.parts)}.{key}"
                ] = value
    return found


def leaves(node: Mapping[str, Any], path: str = "") -> Iterator[tuple[str, Any]]:
    """Dotted keys and their values."""
    for key, value in node.items():
        dotted = f"{path}.{key}" if path else str(key)
        if isinstance(value, Mapping) and value:
            yield from leaves(value, dotted)
        else:
            yield dotted, value


def keys(node: Mapping[str, Any], *, deep: Iterable[str]) -> list[str]:
    """The keys of a mapping, and below those named in `deep` the keys in them."""
    found = []
    for key, value in node.items():
        found.append(str(key))
        if key in deep and isinstance(value, Mapping):
            found += [f"{key}: {each}" for each in value]
            if key == "callbacks":
                found += [f"{key}: {each}: {more}" for each in value for more in value[each]]
    return found


def names(folder: Path) -> list[str]:
    """Paths of files below a folder, with what is another each time put neutrally."""
    return [
        neutral(path.relative_to(folder).as_posix()) for path in folder.rglob("*") if path.is_file()
    ]


def neutral(path: str) -> str:
    path = re.sub(r"[0-9a-f]{32}", "ID", path)
    return re.sub(r"\d+", "N", re.sub(r"\btmp\w{8}\b", "TMP", path))


def repository(folder: Path) -> None:
    """Have the project be under version control, with a change that was not committed."""
    git = ["git", "-c", "user.name=a", "-c", "user.email=a@b.example", "-C", str(folder)]
    (folder / ".gitignore").write_text("*\n!pyproject.toml\n!.gitignore\n")
    (folder / "pyproject.toml").write_text("")
    for words in (["init", "-q"], ["add", "-A"], ["commit", "-qm", "first"]):
        subprocess.run([*git, *words], check=True, capture_output=True)
    (folder / "pyproject.toml").write_text("# changed\n")
