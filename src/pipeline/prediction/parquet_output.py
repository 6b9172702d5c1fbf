"""Parquet files of answers: the types of columns, and a writer that holds few rows at once."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import pyarrow

# Rows that are held before they are written, or looked at for the types of their values.
_ROWS = 4096
# What pyarrow raises for values of several kinds, numbers too large, and halves of characters.
_CONVERSION_ERRORS = (TypeError, ValueError, OverflowError)


class ColumnTypes:
    """Finds the type that all values of a column have.

    Where there is none, as for a column of numbers and texts, it is a text, in which lists and
    objects are JSON.

    Args:
        declared: the types of columns that are known already.
    """

    def __init__(self, declared: "Mapping[str, pyarrow.DataType] | None" = None) -> None:
        self._declared = dict(declared or {})
        self._found: dict[str, pyarrow.DataType] = {}
        self._waiting: list[Mapping[str, Any]] = []

    def add(self, row: Mapping[str, Any]) -> None:
        """Take the values of a row into account."""
        self._waiting.append(row)
        if len(self._waiting) == _ROWS:
            self._infer()

    def build_schema(self, names: Sequence[str]) -> "pyarrow.Schema":
        """The schema of a file with these columns; those that no row had are texts."""
        import pyarrow

        self._infer()
        types = {**self._found, **self._declared}
        return pyarrow.schema(
            [
                (name, found if _is_writable(found := types.get(name)) else pyarrow.string())
                for name in names
            ]
        )

    def _infer(self) -> None:
        import pyarrow

        rows, self._waiting = self._waiting, []
        for name in dict.fromkeys(name for row in rows for name in row):
            if name in self._declared:
                continue
            try:
                found = pyarrow.array([row.get(name) for row in rows]).type
                found = _unify(self._found.get(name, found), found)
            except _CONVERSION_ERRORS:
                found = pyarrow.string()
            self._found[name] = found


def _unify(one: "pyarrow.DataType", other: "pyarrow.DataType") -> "pyarrow.DataType":
    """The type that has the values of both. Raises TypeError or ValueError if there is none."""
    import pyarrow

    schemas = [pyarrow.schema([("value", found)]) for found in (one, other)]
    return pyarrow.unify_schemas(schemas, promote_options="permissive").field(0).type


def _is_writable(found: "pyarrow.DataType | None") -> bool:
    """Whether Parquet has a type; it has no objects without keys."""
    from pyarrow import types

    if found is None or types.is_null(found):
        return False
    parts = [found.field(place).type for place in range(found.num_fields)]
    return not (types.is_struct(found) and not parts) and all(map(_is_writable, parts))


class ParquetTable:
    """Writes rows to a Parquet file, a few thousand at a time.

    Args:
        format_cell: makes a text of any value.
    """

    def __init__(
        self, path: Path, schema: "pyarrow.Schema", format_cell: Callable[[Any], str]
    ) -> None:
        from pyarrow.parquet import ParquetWriter

        self._schema = schema
        self._format_cell = format_cell
        self._rows: list[Mapping[str, Any]] = []
        self._writer = ParquetWriter(path, schema)

    def __enter__(self) -> "ParquetTable":
        return self

    def __exit__(self, *error: object) -> None:
        if error[0] is None:
            self._flush()
        self._writer.close()

    def write(self, row: Mapping[str, Any]) -> None:
        """Write a row, given by the names of its columns."""
        self._rows.append(row)
        if len(self._rows) == _ROWS:
            self._flush()

    def _flush(self) -> None:
        import pyarrow

        rows, self._rows = self._rows, []
        columns = []
        for field in self._schema:
            values = [row.get(field.name) for row in rows]
            if field.type == pyarrow.string():
                values = [None if value is None else self._format_text(value) for value in values]
            columns.append(pyarrow.array(values, field.type))
        self._writer.write_table(pyarrow.table(columns, schema=self._schema))

    def _format_text(self, value: Any) -> str:
        text = value if isinstance(value, str) else self._format_cell(value)
        return text if text.isascii() else text.encode("utf-8", "backslashreplace").decode()
