"""The tags that say what a run is and where it came from, known before it begins."""

from src.tracking import surroundings
from src.tracking.content import note_code, note_text
from src.tracking.vanished import this_process


def tags(kind: str, name: str, parent: str | None, code: surroundings.Code | None, *, again: bool) -> dict[str, str]:
    """All tags of a new run, or those that change when a run goes on (`again`)."""
    command = surroundings.command()
    changing = {"command": command, "process": this_process()}
    if again:
        return changing
    known = {
        "kind": kind,
        "mlflow.user": surroundings.user(),
        "mlflow.source.name": command.partition(" -m ")[2].partition(" ")[0] or command,
        "mlflow.source.type": "LOCAL",
        "mlflow.note.content": f"**{note_text(kind)}**: {note_text(name)}\n\n{note_code(command)}",
    }
    if code is not None:
        known |= {"commit": code.commit, "branch": code.branch, "dirty": str(code.dirty).lower()}
        known |= {"mlflow.source.git.commit": code.commit, "mlflow.source.git.branch": code.branch}
    if parent is not None:
        known["mlflow.parentRunId"] = parent
    return changing | known
