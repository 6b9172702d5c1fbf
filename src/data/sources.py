"""Rows from a file, a folder or a data set of the Hugging Face hub, as a stream of `RawRecord`s."""

import hashlib
import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.user_errors import UserError, UserErrors, format_suggestion
from src.core.validation import validate_init
from src.data.columns import ColumnSelection
from src.data.data_files import SplitFiles, check_named_splits, find_path, find_split_files
from src.data.file_formats import (
    TABLE_FORMATS,
    ReadingOptions,
    find_file_errors,
    find_format_errors,
    read_file,
)
from src.data.hub import load_from_hub, read_hub_rows
from src.data.json_shapes import split_parts
from src.data.records import RawRecord
from src.data.source_options import find_option_errors
from src.data.tables import TableStyle, parse_character

if TYPE_CHECKING:
    from datasets import DatasetDict

SPLITS = ("train", "validation", "test")
# Part of every fingerprint: raise it when the same bytes are read into other records.
_READING_VERSION = 3


@validate_init
@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows of text, with an optional second text and label. Building it reads nothing.

    `path` is a file, a folder (`src/data/data_files.py` says which files make which split) or an
    archive, unpacked into the cache; it may lead on inside the archive. It goes before `hub`, a
    data set's name such as "stanfordnlp/imdb", with its `config` and `revision`.

    Of several names of an `encoding` each file has the first that fits it.

    `text`, `pair` and `label` are columns: names, or positions from 0 where `header` is false.
    Several columns of `text`, [title, body], are joined, a line for each that is not empty. A table
    without a header may be given the names of all its `columns`. For `folders` and `label_first`,
    which have no columns, any `label` asks for the label, and null leaves it. In `folders` a class
    called "unsup" (aclImdb) is passed over where labels are asked for.

    Columns of CSV and TSV are parted by `delimiter`, a character or its name (tab, comma,
    semicolon, pipe, colon, space); null: a comma or, in TSV, a tab. `quoting` says whether `quote`
    (null: ") stands around cells; null: in CSV it does, where columns are parted by tabs only if a
    `quote` is given. `escape` is a character (backslash) before quotes inside; null: they are
    doubled.

    Of a spreadsheet `sheet` is read; null: the only one with rows. Plain text has one document
    per `line`, `paragraph` or `file`; with `heading`, a regular expression, one from each matching
    line to the next.

    `train`, `validation` and `test` say what each split is called at the source; null leaves it
    alone.
    """

    path: str | None = None
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    format: Literal[
        "auto", "csv", "tsv", "jsonl", "parquet", "xlsx", "text", "folders", "label_first"
    ] = "auto"
    text: str | int | list[str | int] = "text"
    pair: str | int | None = None
    label: str | int | None = None
    encoding: str | list[str] = "utf-8"
    header: bool = True
    columns: list[str] | None = None
    sheet: str | None = None
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
        if errors := list(find_option_errors(self)):
            raise UserErrors(errors)

    @property
    def encodings(self) -> tuple[str, ...]:
        return (self.encoding,) if isinstance(self.encoding, str) else tuple(self.encoding)

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
            encoding=self.encodings[0],
            header=self.header and self.columns is None,
            names=None if self.columns is None else tuple(self.columns),
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
        layout = self.list_files()
        check_named_splits(find_path(self.path), layout, self.split_names())
        options = self.reading_options(layout.format)
        errors = list(find_format_errors(options))
        for split, files in layout.files.items():
            found = list(find_file_errors(files[0], options))
            if split != "train" and not errors:
                found = [_say_how_to_leave(split, error) for error in found]
            errors += found
        if errors:
            raise UserErrors(errors)

    def list_files(self) -> SplitFiles:
        """The files of each split and their format. Columns are not looked at."""
        path = find_path(str(self.path))
        names = self.split_names()
        layout = find_split_files(path, self.format, names, self.label is not None)
        return split_parts(layout, names, self.encodings) if path.is_file() else layout

    def reading_options(self, format: str) -> ReadingOptions:
        """The options that decide how a file of this format is read."""
        style = self.table_style(format) if format in TABLE_FORMATS else None
        return ReadingOptions(
            format=format,
            columns=self.select_columns(),
            encodings=self.encodings,
            style=style,
            header=self.header,
            names=None if self.columns is None else tuple(self.columns),
            sheet=self.sheet,
            document=self.document,
            heading=self.heading,
        )

    def available_splits(self) -> tuple[str, ...]:
        """Those of "train", "validation" and "test" that the source has."""
        if self.path is not None:
            there = set(self.list_files().files)
        else:
            on_hub = list(self._load_hub_dataset())
            there = {split for split, name in self.split_names().items() if name in on_hub}
            for split, name in self.split_names().items():
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
            name = self.split_names()[split]
            part = self._load_hub_dataset()[name]
            yield from read_hub_rows(part, self.select_columns(), f"{self.hub}, {name}")
            return
        layout = self.list_files()
        options = self.reading_options(layout.format)
        for file in layout.files[split]:
            yield from read_file(file, options, keep_other=keep_other)

    def fingerprint_split(self, split: str) -> str:
        """SHA-256, in hex, of a split's bytes and of the options that decide how they are read.

        Names of files and folders do not count, except for folders that name a class. For a data
        set of the hub its own fingerprint is taken.
        """
        self._check_split_exists(split)
        options: dict[str, Any] = {"rules": _READING_VERSION, "columns": self.select_columns()}
        if self.path is None:
            part: Any = self._load_hub_dataset()[self.split_names()[split]]
            return _hash_as_json({**options, "hub": self.hub, "fingerprint": part._fingerprint})
        layout = self.list_files()
        options |= self.reading_options(layout.format)._asdict()
        contents = []
        for file in layout.files[split]:
            with file.path.open("rb") as stream:
                contents.append(
                    (file.label, file.member, hashlib.file_digest(stream, "sha256").hexdigest())
                )
        return _hash_as_json({**options, "contents": contents})

    def select_columns(self) -> ColumnSelection:
        """The columns that are taken of a row."""
        return ColumnSelection(self.text, self.pair, self.label)

    def split_names(self) -> dict[str, str]:
        """The source's name of each split, by ours; splits that are turned off are left out."""
        return {split: name for split in SPLITS if (name := getattr(self, split)) is not None}

    def _check_split_exists(self, split: str) -> None:
        if split not in (there := self.available_splits()):
            raise UserError(
                f"{self.path or self.hub} has no {split} split; it has: "
                f"{', '.join(there) or 'none'}"
            )

    def _load_hub_dataset(self) -> "DatasetDict":
        self.check()
        return load_from_hub(str(self.hub), self.config, self.revision)


def _say_how_to_leave(split: str, error: UserError) -> UserError:
    """An error of a split other than train, which may have no labels, with the way to go on."""
    if error.key == "data.source.label":
        error.hint = f"{error.hint}; data.source.{split}=null leaves {split} out"
        error.alternative = None
    return error


def _hash_as_json(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()
