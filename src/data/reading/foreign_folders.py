"""Folders that other programs write and that are read in another way than their files, or not."""

import re
from collections.abc import Sequence
from itertools import chain
from pathlib import Path

from src.core.formatting import format_python_command
from src.core.user_errors import UserError
from src.data.reading.file_names import PATH_KEY, abbreviate_names, infer_format

_PARTITION = re.compile(r"[^=/]+=[^=]+")
# A file of what people say to an agent of Dialogflow, beside that of the intent.
_REQUESTS = re.compile(r"_usersays_[\w-]+\.json")


def find_saved_set_error(folder: Path) -> UserError | None:
    """The error of a data set as the library `datasets` saves it; None of another folder."""
    if not (folder / "dataset_dict.json").is_file() and not any(folder.glob("*.arrow")):
        return None
    return UserError(
        "a data set as the library `datasets` saves it to disk",
        key=PATH_KEY,
        value=folder,
        hint="its to_parquet('train.parquet') writes a split as a file that is read",
    )


def find_folder_error(folder: Path, filled: Sequence[Sequence[Path]]) -> UserError | None:
    """The error of a folder of which no file is called as a split is; None if nothing is known of
    it.

    Args:
        filled: the files of data in it and in its sub-folders, where there are some.
    """
    files = list(chain.from_iterable(filled))
    if all(_PARTITION.fullmatch(part[0].parent.name) for part in filled):
        kind = infer_format(files[0]) or "parquet"
        program = (
            "import pyarrow.dataset as d, pyarrow.parquet as p; p.write_table(d.dataset("
            f"{str(folder)!r}, format={kind!r}, partitioning='hive').to_table(), 'train.parquet')"
        )
        found = [str(file.relative_to(folder)) for file in files]
        return UserError(
            f"folders that are called COLUMN=VALUE: {abbreviate_names(found)}",
            key=PATH_KEY,
            value=folder,
            hint=f"join them first: {format_python_command(program)}; then {{key}}=train.parquet",
        )
    for file in files:
        if (ending := _REQUESTS.search(file.name)) is not None:
            pattern = file.parent / f"*{ending[0]}"
            return UserError(
                "an agent of Dialogflow, with two files for every intent",
                key=PATH_KEY,
                value=folder,
                hint=f"'{{key}}=\"{pattern}\"' data.source.format=class_files "
                "data.source.text=data reads what is said",
            )
    return None
