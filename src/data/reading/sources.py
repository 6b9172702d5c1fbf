"""Rows from a file, a folder or a data set of the Hugging Face hub, as a stream of `RawRecord`s."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.core.user_errors import UserError, UserErrors
from src.core.validation import validate_init
from src.data.reading.class_files import find_list_errors
from src.data.reading.columns import ColumnSelection
from src.data.reading.conll import WordColumns
from src.data.reading.data_path import find_path
from src.data.reading.file_digests import hash_as_json, hash_input_file
from src.data.reading.file_formats import (
    TABLE_FORMATS,
    ReadingOptions,
    find_file_errors,
    find_format_errors,
    read_file,
    read_header,
)
from src.data.reading.file_names import SplitFiles, describe_other_name
from src.data.reading.first_rows import find_first_row_errors, say_how_to_leave
from src.data.reading.format_guesses import describe_unread_table
from src.data.reading.hub import (
    find_hub_classes,
    load_from_hub,
    match_hub_splits,
    read_hub_rows,
)
from src.data.reading.label_cells import LabelReading
from src.data.reading.named_splits import check_named_splits, find_named_splits
from src.data.reading.parted_tables import check_parted_tables
from src.data.reading.readers import read_parquet_classes
from src.data.reading.source_options import find_option_errors
from src.data.reading.split_column import SplitValues, describe_unused_column
from src.data.reading.table_rows import TableStyle, parse_character, parse_delimiter
from src.data.rows.records import RawRecord
from src.data.rows.text_template import find_template_columns

if TYPE_CHECKING:
    from datasets import DatasetDict

SPLITS = ("train", "validation", "test")
# Part of every fingerprint: raise it when the same bytes are read into other records.
_READING_VERSION = 6


@validate_init
@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows of text, with an optional second text and label. Building it reads nothing.

    Args:
        path: a file, a folder (`src/data/reading/data_files.py` says which files make which split),
            a pattern such as logs/*.csv, or an archive, inside which it may lead on. It goes before
            `hub`.
        hub: name of a data set on the Hugging Face hub, such as stanfordnlp/imdb.
        config: of the data set on the hub; null: its only one.
        revision: branch, tag or commit on the hub; null: the newest.
        format: of the files; `auto` takes it from their names. In `folders` a file is a text and
            its folder a class, in `class_files` a file is a class and holds texts, a `document`
            each, or a table of them; `label_first` are lines such as "1 some sentence"; in
            `parallel` a file holds texts and another their labels (train.text, train.labels);
            `conll` has a word and its tag in each line, and a blank line between sentences.
        text: column of the text: a name, or a position from 0 where `header` is false. Several,
            [title, body], are joined, a line for each that is not empty.
        template: how columns are joined, which are then named here and not in `text`:
            "{title}: {body}". A row is empty where all of them are.
        pair: column of the second text; null: there is none.
        label: column of the label; null leaves it. Several, [anger, joy], each hold 1 or 0; those
            of one name, [tag, tag_2], labels. For `folders`, `class_files`, `parallel`,
            `label_first`, `conll` any name asks for the label; "unsup" (aclImdb) is no class there.
        label_separator: between several labels in one cell: a character or its name, as for
            `delimiter`, or `newline`.
        label_pattern: a regular expression with one group: the part of a label that counts.
        label_threshold: from this value on a label is 1, below it 0; of a list of numbers the
            places of the ones are the labels.
        decimal: what stands before the decimals of labels that are numbers; the other sign (in
            "3,083.50" the comma) parts thousands.
        encoding: of text files, such as utf-8 or cp1252; of several, [utf-8, cp1252], each file has
            the first that fits it.
        header: the first line of a table holds the names of its columns.
        columns: names of all columns of a table without a header, in their order.
        sheet: of a spreadsheet; null: the only one with rows.
        skip_rows: how many lines of a table, or rows of a sheet, are passed over at its beginning,
            such as titles and comments before the header; null: none.
        comment: with what lines of CSV, TSV and CoNLL begin that are passed over: a character or
            its name, such as hash ("#"), or several; null: there are none.
        quoting: quotes may stand around cells of CSV and TSV; null: in CSV they may, where columns
            are parted by tabs only if a `quote` is given.
        delimiter: between columns of CSV and TSV: a character or its name (tab, comma, semicolon,
            pipe, colon, space), or several, such as "::"; null: a comma or, in TSV, a tab.
        quote: the character around cells; null: the double quote.
        escape: the character (backslash) before quotes inside cells; null: they are doubled.
        document: of plain text: one for each `line`, `paragraph` or `file`.
        heading: of plain text: a regular expression; a document begins at each matching line.
        split_column: column that says to which split a row belongs, for files that are not divided.
        token_column: of CoNLL files: the column of words, counted from 0; null: the first, or in
            files of CoNLL-U the second.
        tag_column: of CoNLL files: the column of tags, such as -1; null: the last, or in files of
            CoNLL-U the fourth.
        train: what the split is called at the source.
        validation: what the split is called at the source; null leaves it alone.
        test: what the split is called at the source; null leaves it alone.
    """

    path: str | None = None
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    format: Literal[
        "auto",
        "csv",
        "tsv",
        "jsonl",
        "parquet",
        "xlsx",
        "text",
        "folders",
        "class_files",
        "label_first",
        "parallel",
        "conll",
    ] = "auto"
    text: str | int | list[str | int] = "text"
    template: str | None = None
    pair: str | int | None = None
    label: str | int | list[str | int] | None = None
    label_separator: str | None = None
    label_pattern: str | None = None
    label_threshold: float | None = None
    decimal: Literal["dot", "comma"] | None = None
    split_column: str | int | None = None
    encoding: str | list[str] = "utf-8"
    header: bool = True
    columns: list[str] | None = None
    sheet: str | None = None
    skip_rows: int | None = None
    comment: str | None = None
    quoting: bool | None = None
    delimiter: str | None = None
    quote: str | None = None
    escape: str | None = None
    document: Literal["line", "paragraph", "file"] = "line"
    heading: str | None = None
    token_column: int | None = None
    tag_column: int | None = None
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
        delimiter = parse_delimiter(self.delimiter or ("comma" if format == "csv" else "tab"))
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
            skipped_lines=self.skip_rows or 0,
            guessed_delimiter=self.delimiter is None,
            guessed_quote=self.quoting is None,
            comment=None if self.comment is None else parse_delimiter(self.comment),
        )

    @property
    def name(self) -> str:
        """The name of the data set: its name on the hub, or that of its file or folder."""
        return Path(self.path).expanduser().resolve().name if self.path else str(self.hub)

    def check(self, keep_bad: bool = False) -> None:
        """Check paths, splits, columns and, but for `keep_bad`, the first rows; not the hub.

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
        if self.split_column is None:
            check_named_splits(find_path(self.path), layout, self.split_names())
        options = self.reading_options(layout.format)._replace(keep_bad=keep_bad)
        check_parted_tables(layout, options.style, options.columns)
        errors = [*find_format_errors(options), *find_list_errors(layout, self.encodings)]
        for split, files in layout.files.items():
            found = list(find_file_errors(files[0], options))
            if split != "train" and not errors:
                found = [say_how_to_leave(split, error) for error in found]
            errors += found
        if not errors:
            errors += find_first_row_errors(layout.files, options)
        if not errors and self._split_values is not None:
            errors += self._split_values.find_errors()
        if errors:
            raise UserErrors(errors)

    def list_files(self) -> SplitFiles:
        """The files of each split and their format; all are those of train where a column divides
        the rows. Columns are not looked at.
        """
        path = find_path(str(self.path))
        by_column = self.split_column is not None
        names = {split: split for split in SPLITS} if by_column else self.split_names()
        try:
            layout = find_named_splits(
                path, self.format, names, self.label is not None, self.encodings
            )
        except UserError as error:
            # an archive is called as it was typed, and not as the cache calls it
            error.value = self.path if error.value == path else error.value
            raise
        if by_column and (others := layout.files.keys() - {"train"}):
            raise UserError(
                f"{self.path} is divided already: it has {', '.join(sorted(others))}",
                key="data.source.split_column",
                value=self.split_column,
                hint="give one file: data.source.path=FILE",
            )
        return layout

    @cached_property
    def _split_values(self) -> SplitValues | None:
        """What stands in the split column; None without one. Reads the files once."""
        if self.split_column is None or self.path is None:
            return None
        return SplitValues(self.split_column, self._read_rows("train", True), self.split_names())

    def reading_options(self, format: str) -> ReadingOptions:
        """The options that decide how a file of this format is read."""
        style = self.table_style(format) if format in TABLE_FORMATS else None
        columns = self.select_columns()
        if self.format == "class_files" and format != self.format:
            columns = columns._replace(label=None)  # the tables' names are the labels
        return ReadingOptions(
            format=format,
            columns=columns,
            encodings=self.encodings,
            style=style,
            header=self.header,
            names=None if self.columns is None else tuple(self.columns),
            sheet=self.sheet,
            skipped_rows=self.skip_rows or 0,
            comment=None if self.comment is None else parse_delimiter(self.comment),
            document=self.document,
            heading=self.heading,
            word_columns=WordColumns(self.token_column, self.tag_column),
            labels=self.label_reading(),
        )

    def label_reading(self) -> LabelReading:
        """How labels are written."""
        columns = self.select_columns()
        return LabelReading(
            tuple(map(str, columns.label_columns)) if columns.has_label_columns else None,
            self.label_separator,
            self.label_pattern,
            self.label_threshold,
            self.decimal,
        )

    def available_splits(self) -> tuple[str, ...]:
        """Those of "train", "validation" and "test" that the source has."""
        if self._split_values is not None:
            there = set(self._split_values.available)
        elif self.path is not None:
            there = set(self.list_files().files)
        else:
            there = set(self._find_hub_splits())
        return tuple(split for split in SPLITS if split in there)

    def read_records(
        self, split: str, keep_other: bool = False, keep_bad: bool = False
    ) -> Iterator[RawRecord]:
        """Stream the rows of a split; `keep_other`: all columns, `keep_bad`: broken rows too."""
        self._check_split_exists(split)
        if self.path is None:
            name = self._find_hub_splits()[split]
            part = self._load_hub_dataset()[name]
            rows = read_hub_rows(part, self.select_columns(), f"{self.hub}, {name}", keep_other)
            yield from map(self.label_reading().read_record, rows)
            return
        if self._split_values is None:
            yield from self._read_rows(split, keep_other, keep_bad)
            return
        for record in self._split_values.select_rows(self._read_rows("train", True), split):
            yield record if keep_other else record._replace(other=None)

    def _read_rows(self, split: str, other: bool, bad: bool = False) -> Iterator[RawRecord]:
        layout = self.list_files()
        options = self.reading_options(layout.format)._replace(keep_bad=bad)
        for file in layout.files[split]:
            yield from read_file(file, options, keep_other=other)

    def describe_unread(self) -> list[str]:
        """What lies at the path and is not read, in sentences."""
        if self.path is None:
            found, typed = self._find_hub_splits(), self.split_names()
            others = {split: name for split, name in found.items() if name != typed[split]}
            return [describe_other_name(split, name, name) for split, name in others.items()]
        layout = self.list_files()
        lines = layout.describe_unread()
        if self._split_values is not None:
            lines += self._split_values.describe_others()
        elif layout.files.keys() == {"train"}:
            options = self.reading_options(layout.format)
            header = options.names or read_header(layout.files["train"][0], options)
            lines += describe_unused_column(header)
        if self.format == "auto" and self.document == "line" and self.heading is None:
            lines += describe_unread_table(layout, self.encodings)
        return lines

    def find_class_names(self) -> list[str] | None:
        """The names of the classes whose numbers the label column holds, as the hub has them and
        Parquet files of the library `datasets`; None for other files.
        """
        if self.path is None:
            part = self._load_hub_dataset().get(str(self.train))
            return None if part is None else find_hub_classes(part, str(self.label))
        layout = self.list_files()
        if layout.format != "parquet" or "train" not in layout.files:
            return None
        return read_parquet_classes(layout.files["train"][0], str(self.label))

    def fingerprint_split(self, split: str) -> str:
        """SHA-256, in hex, of a split's bytes and of the options that decide how they are read.

        Names of files and folders do not count, except for folders that name a class. For a data
        set of the hub its own fingerprint is taken.
        """
        self._check_split_exists(split)
        options: dict[str, Any] = {
            "rules": _READING_VERSION,
            "columns": self.select_columns(),
            "labels": self.label_reading(),
        }
        if self.path is None:
            part: Any = self._load_hub_dataset()[self._find_hub_splits()[split]]
            return hash_as_json({**options, "hub": self.hub, "fingerprint": part._fingerprint})
        layout = self.list_files()
        options |= self.reading_options(layout.format)._asdict()
        del options["keep_bad"]
        if self._split_values is not None:
            options["split"], split = self._split_values.names[split], "train"
        contents = [hash_input_file(file) for file in layout.files[split]]
        return hash_as_json({**options, "contents": contents})

    def select_columns(self) -> ColumnSelection:
        """The columns that are taken of a row."""
        text = self.text
        if self.template is not None:
            named = self.header or self.columns is not None
            text = [
                int(name) if not named and name.isdecimal() else name
                for name in find_template_columns(self.template)
            ]
        return ColumnSelection(text, self.pair, self.label, self.split_column, self.template)

    def split_names(self) -> dict[str, str]:
        """The source's name of each split, by ours; splits that are turned off are left out."""
        return {split: name for split in SPLITS if (name := getattr(self, split)) is not None}

    def _check_split_exists(self, split: str) -> None:
        if split not in (there := self.available_splits()):
            raise UserError(
                f"{self.path or self.hub} has no {split} split; it has: "
                f"{', '.join(there) or 'none'}",
                hint="names of files and folders say their split; data.source.path=FILE takes one "
                "file as train"
                if split == "train" and self.path
                else None,
            )

    def _find_hub_splits(self) -> dict[str, str]:
        return match_hub_splits(str(self.hub), list(self._load_hub_dataset()), self.split_names())

    def _load_hub_dataset(self) -> "DatasetDict":
        self.check()
        return load_from_hub(str(self.hub), self.config, self.revision)
