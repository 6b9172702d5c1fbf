"""Rows from a file, a folder or a data set of the Hugging Face hub, as a stream of `RawRecord`s."""

import hashlib
import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from encodings.aliases import aliases
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.user_errors import UserError, UserErrors, did_you_mean, format_suggestion, suggest
from src.core.validation import validate_init
from src.data import readers
from src.data.columns import ColumnSelection, build_record, find_column_error
from src.data.data_files import SplitFiles, find_split_files, missing_path_error
from src.data.decoding import InputFile
from src.data.hub import load_from_hub
from src.data.json_rows import read_json_keys, read_json_rows
from src.data.records import RawRecord
from src.data.tables import (
    CHARACTER_NAMES,
    TableStyle,
    find_delimiter_error,
    find_table_column_error,
    parse_character,
    read_table,
    read_table_header,
)

if TYPE_CHECKING:
    from datasets import DatasetDict

SPLITS = ("train", "validation", "test")
# Part of every fingerprint: raise it when the same bytes are read into other records.
_READING_VERSION = 2
_SPLIT_ALIASES = {
    "validation": ("dev", "valid", "val", "development"),
    "train": ("training",),
    "test": ("testing",),
}


@validate_init
@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows of text, with an optional second text and label. Building it reads nothing.

    `path` is a file or a folder (`src/data/data_files.py` says which files make which split) and
    goes before `hub`, a data set's name such as "stanfordnlp/imdb", with its `config` and
    `revision`.

    `text`, `pair` and `label` are columns: names, or positions from 0 where `header` is false. For
    `folders` and `label_first`, which have no columns, any `label` asks for the label, and null
    leaves it. In `folders` a class called "unsup" (aclImdb) is passed over where labels are asked
    for.

    Columns of CSV and TSV are parted by `delimiter`, a character or its name (tab, comma,
    semicolon, pipe, colon, space); null: a comma or, in TSV, a tab. `quoting` says whether `quote`
    (null: ") stands around cells; null: in CSV it does, where columns are parted by tabs only if a
    `quote` is given. `escape` is a character (backslash) before quotes inside; null: they are
    doubled.

    Plain text has one document
    per `line`, `paragraph` or `file`; with `heading`, a regular expression, one from each matching
    line to the next.

    `train`, `validation` and `test` say what each split is called at the source; null leaves it
    alone.
    """

    path: str | None = None
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "text", "folders", "label_first"] = (
        "auto"
    )
    text: str | int = "text"
    pair: str | int | None = None
    label: str | int | None = None
    encoding: str = "utf-8"
    header: bool = True
    quoting: bool | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    document: Literal["line", "paragraph", "file"] = "line"
    heading: str | None = None
    train: str | None = "train"
    validation: str | None = "validation"
    test: str | None = "test"

    def __post_init__(self) -> None:
        errors = [*self._find_column_errors(), *self._find_character_errors()]
        try:
            "a".encode(self.encoding)
        except (LookupError, UnicodeError):
            known = {
                encoding.replace("_", "-")
                for encoding in aliases.values()
                if not encoding.endswith(("_codec", "rot_13"))
            }
            near = suggest(self.encoding, known)
            common = "common ones: utf-8, utf-16, latin-1, cp1252"
            errors.append(
                UserError(
                    "no such text encoding",
                    key="data.source.encoding",
                    value=self.encoding,
                    hint=common if near is None else did_you_mean(near),
                )
            )
        try:
            re.compile(self.heading or "")
        except re.error as error:
            errors.append(
                UserError(
                    f"not a regular expression ({error})",
                    key="data.source.heading",
                    value=self.heading,
                )
            )
        names = list(self._split_names().values())
        for name in sorted({repeated for repeated in names if names.count(repeated) > 1}):
            errors.append(
                UserError(
                    f"two splits are both called '{name}' (train, validation, test)",
                    key="data.source",
                )
            )
        if errors:
            raise UserErrors(errors)

    def _find_column_errors(self) -> Iterator[UserError]:
        for key, column in self._select_columns().requested_columns().items():
            if isinstance(column, int) and self.header:
                yield UserError(
                    "a position, but the columns have names",
                    key=f"data.source.{key}",
                    value=column,
                    hint="give the name, or data.source.header=false for a table without a header",
                )
            if not self.header and (isinstance(column, str) or column < 0):
                yield UserError(
                    "data.source.header=false leaves columns without names",
                    key=f"data.source.{key}",
                    value=column,
                    hint="expected a position, counted from 0",
                )

    def _find_character_errors(self) -> Iterator[UserError]:
        for key in ("delimiter", "quote", "escape"):
            value = getattr(self, key)
            if value is not None and parse_character(value) is None:
                yield UserError(
                    f"expected one character or its name, one of {', '.join(CHARACTER_NAMES)}",
                    key=f"data.source.{key}",
                    value=value,
                )
        if self.quoting is False and self.quote is not None:
            yield UserError(
                "data.source.quoting=false makes quotes ordinary characters",
                key="data.source.quote",
                value=self.quote,
                hint="give one of the two",
            )

    def table_style(self, format: str) -> TableStyle:
        delimiter = parse_character(self.delimiter or ("comma" if format == "csv" else "tab"))
        quoted = (
            self.quoting
            if self.quoting is not None
            else (delimiter != "\t" or self.quote is not None)
        )
        return TableStyle(
            delimiter=str(delimiter),
            quote=parse_character(self.quote or "double") if quoted else None,
            escape=None if self.escape is None else parse_character(self.escape),
            encoding=self.encoding,
            header=self.header,
            guessed_delimiter=self.delimiter is None,
            guessed_quote=self.quoting is None,
        )

    @property
    def name(self) -> str:
        """The name of the data set: its name on the hub, or that of its file or folder."""
        return Path(self.path).expanduser().resolve().name if self.path else str(self.hub)

    def check(self) -> None:
        """Check paths, splits and columns without reading whole files or asking the hub.

        Raises:
            UserErrors: everything that is wrong.
        """
        if self.path is None:
            if self.hub is None:
                raise UserError(
                    "data.source has neither path nor hub; give "
                    "data.source.path=FILE_OR_FOLDER or data.source.hub=OWNER/NAME"
                )
            return
        layout = self._find_files()
        self._check_named_splits(layout)
        without = {"text": ("pair", "label"), "folders": ("pair",), "label_first": ("pair",)}.get(
            layout.format, ()
        )
        errors = [
            UserError(
                f"{layout.format} files have no {key}",
                key=f"data.source.{key}",
                value=getattr(self, key),
                hint="give null",
            )
            for key in without
            if getattr(self, key) is not None
        ]
        for files in layout.files.values():
            header = self._read_header(files[0], layout.format)
            headed = layout.format in ("csv", "tsv") and self.header
            if not header and (headed or layout.format == "jsonl"):
                errors.append(UserError("no rows in it", where=files[0].name))
            elif column_error := self._find_file_column_error(files[0], layout.format, header):
                errors.append(column_error)
        if errors:
            raise UserErrors(errors)

    def list_files(self) -> SplitFiles:
        """The files of each split and their format. Columns are not looked at."""
        return self._find_files()

    def available_splits(self) -> tuple[str, ...]:
        """Those of "train", "validation" and "test" that the source has."""
        if self.path is not None:
            there = set(self._find_files().files)
        else:
            on_hub = list(self._load_hub_dataset())
            there = {split for split, name in self._split_names().items() if name in on_hub}
            for split, name in self._split_names().items():
                # the config names it
                if split not in there and name != split:
                    raise UserError(
                        f"{self.hub} has no such split",
                        key=f"data.source.{split}",
                        value=name,
                        hint=format_suggestion(name, on_hub),
                    )
        return tuple(split for split in SPLITS if split in there)

    def read_records(self, split: str, keep_other: bool = False) -> Iterator[RawRecord]:
        """Stream the rows of a split in order; with `keep_other` all columns of a file's rows."""
        self._check_split_exists(split)
        if self.path is None:
            yield from self._read_hub_split(self._split_names()[split])
            return
        layout = self._find_files()
        for file in layout.files[split]:
            yield from readers.require_records(
                self._read_file(file, layout.format, keep_other), file.name
            )

    def fingerprint_split(self, split: str) -> str:
        """SHA-256, in hex, of a split's bytes and of the options that decide how they are read.

        Names of files and folders do not count, except for folders that name a class. For a data
        set of the hub its own fingerprint is taken.
        """
        self._check_split_exists(split)
        options: dict[str, Any] = {"rules": _READING_VERSION, "columns": self._select_columns()}
        if self.path is None:
            part: Any = self._load_hub_dataset()[self._split_names()[split]]
            return _hash_as_json({**options, "hub": self.hub, "fingerprint": part._fingerprint})
        layout = self._find_files()
        for name in ("encoding", "header", "document", "heading"):
            options[name] = getattr(self, name)
        if layout.format in ("csv", "tsv"):
            options["style"] = self.table_style(layout.format)
        contents = []
        for file in layout.files[split]:
            with file.path.open("rb") as stream:
                contents.append((file.label, hashlib.file_digest(stream, "sha256").hexdigest()))
        return _hash_as_json({**options, "format": layout.format, "contents": contents})

    def _select_columns(self) -> ColumnSelection:
        return ColumnSelection(self.text, self.pair, self.label)

    def _split_names(self) -> dict[str, str]:
        """The source's name of each split, by ours; splits that are turned off are left out."""
        return {split: name for split in SPLITS if (name := getattr(self, split)) is not None}

    def _find_files(self) -> SplitFiles:
        path = Path(str(self.path)).expanduser()
        if not str(self.path).strip():
            raise UserError(
                "is empty", key="data.source.path", expected="a file or a folder", colon=False
            )
        if "://" in str(self.path):
            raise UserError(
                "an address",
                key="data.source.path",
                value=self.path,
                hint="download it first and give the file",
            )
        if not path.exists():
            raise missing_path_error(path)
        return find_split_files(path, self.format, self._split_names(), self.label is not None)

    def _check_named_splits(self, layout: SplitFiles) -> None:
        """Raise UserError for a missing split that has a name of its own or a common other one."""
        folder = Path(str(self.path)).expanduser()
        if folder.is_file():
            return
        for split, name in self._split_names().items():
            if split in layout.files:
                continue
            if name != split:
                raise UserError(
                    f"data.source.{split}={name}: no file and no folder in {self.path} is called so"
                )
            others = find_split_files(
                folder, layout.format, {alias: alias for alias in _SPLIT_ALIASES[split]}, False
            ).files
            for other, files in others.items():
                raise UserError(
                    f"data.source.{split}={name}: {self.path} has none, but {files[0].name}; "
                    f"data.source.{split}={other} takes it, data.source.{split}=null leaves it"
                )

    def _check_split_exists(self, split: str) -> None:
        if split not in (there := self.available_splits()):
            raise UserError(
                f"{self.path or self.hub} has no {split} split; it has: "
                f"{', '.join(there) or 'none'}"
            )

    def _read_header(self, file: InputFile, format: str) -> list[str]:
        """The column names of a file; empty if it has none."""
        if format == "parquet":
            return readers.read_parquet_columns(file)
        if format == "jsonl":
            return read_json_keys(file, self._select_columns(), encoding=self.encoding)
        if format in ("csv", "tsv") and self.header:
            return read_table_header(file, self.table_style(format))
        return []

    def _find_file_column_error(
        self, file: InputFile, format: str, header: list[str]
    ) -> UserError | None:
        columns = self._select_columns()
        if format in ("csv", "tsv"):
            style = self.table_style(format)
            if not self.header:
                return find_delimiter_error(file, columns, style)
            return find_table_column_error(file, columns, header, style)
        return find_column_error(file.name, columns, header) if header else None

    def _read_file(self, file: InputFile, format: str, keep_other: bool) -> Iterator[RawRecord]:
        columns, encoding = self._select_columns(), self.encoding
        match format:
            case "csv" | "tsv":
                return read_table(file, columns, self.table_style(format), keep_other)
            case "jsonl":
                return read_json_rows(file, columns, encoding=encoding, keep_other=keep_other)
            case "parquet":
                return readers.read_parquet(file, columns, keep_other)
            case "label_first":
                return readers.read_labelled_lines(
                    file, encoding=encoding, labelled=self.label is not None
                )
            case "folders":
                return readers.read_documents(
                    file, encoding=encoding, document="file", heading=None
                )
            case _:
                return readers.read_documents(
                    file, encoding=encoding, document=self.document, heading=self.heading
                )

    def _load_hub_dataset(self) -> "DatasetDict":
        self.check()
        return load_from_hub(str(self.hub), self.config, self.revision)

    def _read_hub_split(self, name: str) -> Iterator[RawRecord]:
        from datasets import ClassLabel

        part = self._load_hub_dataset()[name].with_format(None)
        where, columns = f"{self.hub}, {name}", self._select_columns()
        if column_error := find_column_error(where, columns, part.column_names):
            raise column_error
        # the hub's "no label"
        unknown = -1 if isinstance(part.features.get(str(self.label)), ClassLabel) else None
        keep = [str(column) for column in columns.requested_columns().values()]
        for number, row in enumerate(part.select_columns(keep), start=1):
            if unknown is not None and row[str(self.label)] == unknown:
                row[str(self.label)] = None
            yield build_record(columns, row, f"{where}, row {number}")


def _hash_as_json(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
