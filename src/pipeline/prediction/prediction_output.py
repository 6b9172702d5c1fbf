"""Files of answers: every row of the file that was read, with what the model says of it."""

import contextlib
import csv
import json
import os
import sys
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatch
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any, NamedTuple

from src.core.files import atomic_write
from src.core.user_errors import UserError
from src.data.reading.data_path import is_pattern, list_matches

if TYPE_CHECKING:
    import pyarrow

# The character between columns by the suffix of the file; None for JSON lines.
DELIMITERS: dict[str, str | None] = {"": ",", ".csv": ",", ".tsv": "\t", ".jsonl": None}
DELIMITERS[".ndjson"] = None
PARQUET = ".parquet"
STDOUT = "-"


class AnswerColumns(NamedTuple):
    """How the columns of the answers are called.

    Args:
        row: the number of the row in what was read, from 0.
        columns: those of the file.
        prediction: the likeliest label, or the value.
        probabilities: of every label.
        error: what is wrong with a row that could not be read; empty where all could.
        renamed: columns of the answers that stand in the file already, with their names here.
    """

    row: str
    columns: tuple[str, ...]
    prediction: str
    probabilities: tuple[str, ...]
    error: tuple[str, ...]
    renamed: dict[str, str]

    @property
    def names(self) -> tuple[str, ...]:
        """All columns in their order."""
        return (self.row, *self.columns, self.prediction, *self.probabilities, *self.error)


def name_answer_columns(
    columns: Sequence[str],
    label_names: Sequence[str],
    answer: str = "prediction",
    *,
    has_errors: bool = False,
) -> AnswerColumns:
    """Name the columns of the answers so that none is called as one of the file's.

    Args:
        answer: what the column of the answer is called if nothing else is.
        has_errors: whether some rows could not be read.
    """
    taken = set(columns)
    names: list[str] = []
    wanted = ["row", answer, *label_names, *(["error"] if has_errors else [])]
    for name in wanted:
        number, unique = 2, name
        while unique in taken:
            number, unique = number + 1, f"{name}_{number}"
        taken.add(unique)
        names.append(unique)
    renamed = {name: unique for name, unique in zip(wanted, names, strict=True) if name != unique}
    end = 2 + len(label_names)
    return AnswerColumns(
        names[0], tuple(columns), names[1], tuple(names[2:end]), tuple(names[end:]), renamed
    )


def resolve_output(file: str, output: str, suffix: str = ".csv") -> str:
    """Where the answers go: what was typed, or beside the file; `-` is the standard output.

    Args:
        file: the file or folder that is read, or `-`.
        suffix: of a file whose name is not typed.

    Raises:
        UserError: several files are read, so that no name is that of their answers.
    """
    if output or file == STDOUT:
        return output or STDOUT
    if is_pattern(Path(file).expanduser()):
        raise UserError(
            "several files may match, and their answers are one file",
            key="file",
            value=file,
            hint=f"output=answers{suffix} names it, in a folder that the pattern leaves out",
        )
    source = Path(file).expanduser().absolute()
    return str(source.with_name(f"{source.name}.predictions{suffix}"))


def _check_is_not_read(target: Path, source: Path, output: str) -> None:
    """Raise UserError if answers would lie among the files that are read, or do already: another
    call would take them for texts.
    """
    if is_pattern(source):
        if answers := [file for file in list_matches(source) if ".predictions." in file.name]:
            raise UserError(
                f"{answers[0]} has answers, and matches too",
                key="file",
                value=source,
                hint="move it, or take a pattern that leaves it out",
            )
        # `**` are any number of folders
        has_any = "**" in source.parts
        is_read = fnmatch(str(target), str(source)) if has_any else target.match(str(source))
    else:
        is_read = source.is_dir() and target.is_relative_to(source)
    if is_read:
        raise UserError(
            f"lies among the files that {source} reads, and another call would read it",
            key="output",
            value=output,
            hint="the answers need another folder",
            colon=False,
        )


def check_output(output: str, file: str, *, overwrite: bool) -> None:
    """Raise UserError if the answers cannot be written there, or would replace a file."""
    if output == STDOUT:
        return
    target = Path(output).expanduser()
    if target.suffix.lower() not in (*DELIMITERS, PARQUET):
        raise UserError(
            "what kind of file is this?",
            key="output",
            value=output,
            expected="a name that ends in .csv, .tsv, .jsonl or .parquet",
        )
    if not target.parent.is_dir():
        raise UserError(f"there is no folder {target.parent}", key="output", value=output)
    if file != STDOUT:
        _check_is_not_read(target.absolute(), Path(file).expanduser().absolute(), output)
    if file != STDOUT and target.resolve() == Path(file).expanduser().resolve():
        raise UserError(
            "is the file that is read",
            key="output",
            value=output,
            hint="the answers need another name",
            colon=False,
        )
    if target.is_dir():
        raise UserError("is a folder", key="output", value=output, colon=False)
    if target.exists() and not overwrite:
        raise UserError(
            "is there already",
            key="output",
            value=output,
            hint="overwrite=true replaces it, output=FILE takes another name",
            colon=False,
        )
    if not os.access(target.parent, os.W_OK | os.X_OK):
        raise UserError(f"this user may not write to {target.parent}", key="output", value=output)


@contextlib.contextmanager
def open_output(
    output: str,
    names: Sequence[str],
    stdout_suffix: str = ".csv",
    schema: "pyarrow.Schema | None" = None,
) -> Iterator[Callable[[Mapping[str, Any]], None]]:
    """Yield a function that writes a row of answers, given by column.

    A file is there once it is whole; nothing is left behind when the block raises.

    Args:
        schema: of a Parquet file.

    Raises:
        UserError: the file cannot be written.
    """
    if output == STDOUT:
        yield _make_writer(sys.stdout, names, DELIMITERS[stdout_suffix])
        sys.stdout.flush()
        return
    target = Path(output).expanduser()
    if schema is not None:
        from src.pipeline.prediction.parquet_output import ParquetTable

        with (
            atomic_write(target) as partial,
            ParquetTable(partial, schema, format_cell) as table,
        ):
            yield table.write
        return
    with (
        atomic_write(target) as partial,
        partial.open("w", newline="", encoding="utf-8", errors="backslashreplace") as sink,
    ):
        yield _make_writer(sink, names, DELIMITERS[target.suffix.lower()])


def _make_writer(
    sink: IO[str], names: Sequence[str], delimiter: str | None
) -> Callable[[Mapping[str, Any]], None]:
    if delimiter is None:

        def write_json(row: Mapping[str, Any]) -> None:
            sink.write(json.dumps(row, ensure_ascii=False, default=_to_plain) + "\n")

        return write_json
    table = csv.writer(sink, delimiter=delimiter, lineterminator="\n")
    table.writerow(names)

    def write_cells(row: Mapping[str, Any]) -> None:
        table.writerow([format_cell(row.get(name)) for name in names])

    return write_cells


def format_cell(value: Any) -> str:
    """A value as the text in a cell of a table; lists and objects are JSON."""
    if value is None:
        return ""
    if isinstance(value, str):
        return value
    if isinstance(value, bool | list | tuple | dict):
        return json.dumps(value, ensure_ascii=False, default=_to_plain)
    return str(_to_plain(value))


def _to_plain(value: Any) -> Any:
    """A value of Parquet that JSON does not have, as a text."""
    if isinstance(value, bytes):
        return value.decode("utf-8", errors="backslashreplace")
    return value if isinstance(value, int | float) else str(value)
