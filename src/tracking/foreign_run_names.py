"""What is typed where a run is expected and names none, as other programs take it: `last`, the path
of a checkpoint, `run=ID`, a verb.
"""

import re

from src.core.user_errors import did_you_mean

# The word that stands for the newest run.
LATEST = "latest"
_LATEST_WORDS = ("last", "newest", "recent", "previous", "true", "yes", "auto", "-1", "current")
_ID = re.compile(r"(?<![0-9a-f])[0-9a-f]{32}(?![0-9a-f])")
_NAMED_ID = re.compile(r"[a-z_]+[=:]([0-9a-f]{6,31})")
_METRIC = re.compile(r"(best/)?(test|val|train)/[\w/]+")

_IN_UI = "python -m src.ui deletes, restores, renames and tags runs"
_DETAILS = "python -m src.runs ID --json has all that is known of a run"
_BEST = "the best run is the first of python -m src.runs --sort test/accuracy"
_WORDS = {
    **dict.fromkeys(("rename", "tag", "restore", "undelete", "archive", "note"), _IN_UI),
    **dict.fromkeys(("clean", "prune", "gc", "purge"), _IN_UI),
    **dict.fromkeys(("metrics", "params", "export", "csv", "download", "artifacts"), _DETAILS),
    **dict.fromkeys(("best", "top", "winner"), _BEST),
    **dict.fromkeys(
        ("stop", "kill", "cancel", "abort"),
        "a run is ended by Ctrl-C, or kill, where it runs; it keeps a checkpoint",
    ),
    **dict.fromkeys(
        ("vs", "and", "with", "to", "versus", "vs."),
        "runs are named one behind the other: python -m src.compare A B",
    ),
    **dict.fromkeys(("help", "usage"), "--help lists the options"),
    "resume": "a run goes on by python -m src.run resume=ID",
    "compare": "runs are compared by python -m src.compare A B",
    "open": "runs are looked at by python -m src.ui",
}


def explain_foreign_run(typed: str) -> str | None:
    """The end of the message about a word that names no run; None if it is unknown."""
    word = typed.strip()
    if found := _ID.search(word.lower()):
        return did_you_mean(found[0])
    if found := _NAMED_ID.fullmatch(word.lower()):
        return did_you_mean(found[1])
    if _METRIC.fullmatch(word):
        return f"the best by a metric come first with python -m src.runs --sort {word}"
    if word.lower() in _LATEST_WORDS:
        return did_you_mean(LATEST)
    if word.endswith((".ckpt", ".pt", ".pth", ".bin")):
        return "a run goes on from its own checkpoints, and is named by its id"
    return explain_run_word(word)


def explain_run_word(word: str) -> str | None:
    """The same of a verb (`rename`), as it is or as `rename=ID`; None if it is none."""
    return _WORDS.get(word.partition("=")[0].lstrip("-").lower())
