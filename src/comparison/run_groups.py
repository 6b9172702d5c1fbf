"""Groups of runs that are equal in all but their seeds, with what is known of every run's code,
data and environment.
"""

import hashlib
from collections.abc import Callable, Sequence
from functools import cache
from typing import NamedTuple

from src.search.replicates import REPLICATE_KEYS
from src.tracking.environment import parse_environment
from src.tracking.run_files import is_on_this_machine, read_artifact
from src.tracking.run_table import RunTable
from src.tracking.store import Store

# keys that do not reach what a run learns
_IRRELEVANT = ("tracking.", "callbacks.progress")
# those by which runs of one group may have other rows in train and validation
_SPLIT_KEYS = ("data.split.seed", "data.split.fold")
# what a parameter says whose value lies in a file
_IN_FILE = " characters: artifact "
# files fetched over the network; on this machine there is no limit
_MAX_FETCHED_RUNS = 20

Columns = dict[str, list[str | None]]


class RunFacts(NamedTuple):
    """What is known of runs beside their metrics, in columns by key.

    `remarks` are sentences about what could not be looked at.
    """

    params: Columns
    code: Columns
    environment: Columns
    data: Columns
    remarks: list[str]


class RunGroup(NamedTuple):
    """Runs that are equal in all but their seeds.

    Attributes:
        label: A, B, ... in the order of the groups.
        places: one run for every seed.
        repeats: runs that have config and seed of another one, so that they add nothing.
    """

    label: str
    places: tuple[int, ...]
    repeats: tuple[int, ...]


def gather_facts(store: Store, table: RunTable) -> RunFacts:
    """Read what runs keep in files of their own, and split their tags into facts."""
    remarks: list[str] = []
    runs = table.runs
    readable = all(map(is_on_this_machine, runs)) or len(runs) <= _MAX_FETCHED_RUNS

    def read_files(artifact: str) -> list[bytes | None]:
        return [read_artifact(store, run, artifact) for run in runs]

    code = {key: table.tags[key] for key in ("commit",) if key in table.tags}
    environment: Columns = {}
    params = table.params
    if readable:
        params = _open_long_params(params, read_files)
        if "true" in table.tags.get("dirty", ()):
            code["changes.patch"] = [
                _describe_patch(patch) for patch in read_files("changes.patch")
            ]
        files = read_files("environment.txt")
        if lost := [run.id[:8] for run, file in zip(runs, files, strict=True) if file is None]:
            more = "" if len(lost) <= 5 else f", and {len(lost) - 5:,} more"
            remarks.append(
                f"environments are not compared: there is none of {', '.join(lost[:5])}{more}"
            )
        else:
            environment = _split_environments(files)
    else:
        remarks.append(
            f"the environments and patches of {len(runs):,} runs were not fetched: at most "
            f"{_MAX_FETCHED_RUNS} are, where files are not on this machine"
        )
        code |= {key: table.tags[key] for key in ("dirty",) if key in table.tags}
    if "precision" in table.tags:
        # without the reason, which holds a time measured anew by each run
        environment["precision"] = [
            value and value.partition(":")[0] for value in table.tags["precision"]
        ]
    return RunFacts(params, code, environment, split_fingerprints(table), remarks)


def _open_long_params(params: Columns, read_files: Callable[[str], list[bytes | None]]) -> Columns:
    """Parameters in which a long value that lies in a file is told apart by its content."""
    opened = dict(params)
    for key, column in params.items():
        for value in {value for value in column if value and _IN_FILE in value}:
            artifact = value.rpartition(_IN_FILE)[2].rstrip(")")
            contents = read_files(artifact)
            opened[key] = [
                f"{cell} {_digest(content)}" if cell == value and content else cell
                for cell, content in zip(opened[key], contents, strict=True)
            ]
    return opened


def _describe_patch(patch: bytes | None) -> str:
    if not patch:
        return "none"
    return f"{_digest(patch)}, {len(patch.splitlines())} lines"


def _digest(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()[:8]


def _split_environments(files: Sequence[bytes | None]) -> Columns:
    parsed = [None if content is None else _parse_file(content) for content in files]
    keys = dict.fromkeys(key for facts in parsed if facts for key in facts)
    return {key: [None if facts is None else facts.get(key) for facts in parsed] for key in keys}


@cache
def _parse_file(content: bytes) -> dict[str, str]:
    return parse_environment(content.decode(errors="replace"))


def split_fingerprints(table: RunTable) -> Columns:
    """The digest of every data split, by `train`, `validation`, `test`."""
    prints = table.tags.get("data.fingerprint")
    if prints is None:
        return {}
    parsed = [
        dict(part.split("=", 1) for part in (text or "").split() if "=" in part) for text in prints
    ]
    keys = dict.fromkeys(key for one in parsed for key in one)
    return {key: [one.get(key) for one in parsed] for key in keys}


def list_varying_keys(columns: Columns) -> list[str]:
    """The keys by which runs differ; a value that one of them lacks is a difference."""
    return [key for key, column in columns.items() if len(set(column)) > 1]


def group_by_setting(table: RunTable, facts: RunFacts) -> list[RunGroup]:
    """Groups in the order of their first runs, which are in the order of the table."""
    varying = [key for key in list_varying_keys(facts.params) if not key.startswith(_IRRELEVANT)]
    seeds = [key for key in varying if key in REPLICATE_KEYS]
    has_other_splits = any(key in _SPLIT_KEYS for key in varying)
    data = {
        key: column for key, column in facts.data.items() if key == "test" or not has_other_splits
    }
    columns = [facts.params[key] for key in varying if key not in REPLICATE_KEYS]
    for part in (facts.code, data):
        columns += [part[key] for key in list_varying_keys(part)]
    seed_columns = [facts.params[key] for key in seeds]
    groups: dict[tuple, dict[tuple, int]] = {}
    repeats: dict[tuple, list[int]] = {}
    for place in range(len(table.runs)):
        setting = tuple(column[place] for column in columns)
        seed = tuple(column[place] for column in seed_columns)
        if seed in (members := groups.setdefault(setting, {})):
            repeats.setdefault(setting, []).append(place)
        else:
            members[seed] = place
    return [
        RunGroup(label_group(number), tuple(members.values()), tuple(repeats.get(setting, ())))
        for number, (setting, members) in enumerate(groups.items())
    ]


def label_group(number: int) -> str:
    """A to Z, then AA, AB, ..."""
    letters = ""
    number += 1
    while number:
        number, rest = divmod(number - 1, 26)
        letters = chr(65 + rest) + letters
    return letters
