"""The files of a record of the order of rows, among a run's checkpoints: their names, and what is
read from them.
"""

import json
from pathlib import Path
from typing import NamedTuple


class StepRows(NamedTuple):
    """What one optimizer step has seen, on all ranks together.

    Attributes:
        step: counted from 1.
        rows: row numbers of the training split, ascending; with packing those of packed rows.
        contents: a digest of the tokens of all sequences, as they were after masking, whatever
            their order and their division into batches.
    """

    step: int
    epoch: int
    rows: tuple[int, ...]
    contents: str


def row_file(folder: Path, step: int) -> Path:
    """Where the steps are recorded that end with this one."""
    return folder / f"rows-{step}.jsonl"


def list_row_files(folder: Path) -> dict[int, Path]:
    """The files of a record by their last steps, in the order of these."""
    files = {int(path.stem.partition("-")[2]): path for path in folder.glob("rows-*.jsonl")}
    return dict(sorted(files.items()))


def read_row_order(folder: Path) -> list[StepRows]:
    """The record of a run, from the folder of its checkpoints."""
    lines = [
        json.loads(line)
        for path in list_row_files(folder).values()
        for line in path.read_text(encoding="utf-8").splitlines()
    ]
    return [
        StepRows(line["step"], line["epoch"], tuple(line["rows"]), line["contents"])
        for line in lines
    ]
