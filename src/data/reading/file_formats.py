"""How a file of each format is read: its columns, what is wrong with them, and its records."""

from collections.abc import Iterator
from typing import Literal, NamedTuple

from src.core.user_errors import UserError
from src.data.reading import readers
from src.data.reading.bad_rows import RowErrors, close_files_of_errors
from src.data.reading.columns import ColumnSelection, find_column_errors
from src.data.reading.conll import WordColumns, read_tagged_words
from src.data.reading.decoding import InputFile, detect_no_data
from src.data.reading.encodings import choose_encoding
from src.data.reading.header_rows import find_named_row
from src.data.reading.json_rows import JsonStyle, read_json_keys, read_json_rows
from src.data.reading.known_layouts import detect_layout
from src.data.reading.label_cells import LabelReading
from src.data.reading.parallel_files import read_parallel_lines
from src.data.reading.spreadsheets import read_first_sheet_rows, read_sheet_header, read_sheet_rows
from src.data.reading.table_headers import find_table_errors
from src.data.reading.table_rows import TableStyle, read_first_row
from src.data.reading.tables import read_table
from src.data.rows.records import RawRecord

# The formats whose rows are parted into columns by a character.
TABLE_FORMATS = ("csv", "tsv")
BINARY_FORMATS = ("parquet", "xlsx")
COLUMN_FORMATS = (*TABLE_FORMATS, *BINARY_FORMATS, "jsonl")
# Options that a format knows nothing of.
_KEYS_WITHOUT_USE = {
    "text": ("pair", "label", "split_column", "template"),
    "folders": ("pair", "split_column", "template"),
    "class_files": ("pair", "split_column", "template"),
    "label_first": ("pair", "split_column", "template"),
    "parallel": ("pair", "split_column", "template"),
    "conll": ("pair", "split_column", "template"),
}
_NO_LABEL_HINT = (
    "give null, or data.source.format=label_first where lines begin with it, class_files where "
    "every file holds the texts of a class, conll where a line is a word and its tag, tsv or csv "
    "where it has columns"
)


class ReadingOptions(NamedTuple):
    """What decides how the bytes of a file become records.

    Args:
        encodings: of which the first that fits is a file's own.
        style: of a table; None for other formats.
        names: of the columns, where they do not stand in the file; None where they do, or where
            columns are known by their positions.
        sheet: of a spreadsheet, as in `Source`.
        skipped_rows: how many lines or rows of a sheet are passed over at the beginning.
        comment: with what lines of tables and of CoNLL files begin that are passed over.
        document, heading: of plain text, as in `Source`.
        labels: how labels are written.
        word_columns: of CoNLL files.
        keep_bad: whether a record (`unreadable`) takes the place of a row that cannot be read,
            which is an error else. Spreadsheets, CoNLL, parallel and class files, and texts of
            several lines are read as a whole or not at all.
    """

    format: str
    columns: ColumnSelection
    encodings: tuple[str, ...]
    style: TableStyle | None
    header: bool
    names: tuple[str, ...] | None
    sheet: str | None
    skipped_rows: int
    comment: str | None
    document: Literal["line", "paragraph", "file"]
    heading: str | None
    labels: LabelReading
    word_columns: WordColumns
    keep_bad: bool = False

    @property
    def json_style(self) -> JsonStyle:
        return JsonStyle(self.encodings[0], self.header, self.names)

    def with_encoding(self, encoding: str) -> "ReadingOptions":
        """The same for files that all have one encoding."""
        style = None if self.style is None else self.style._replace(encoding=encoding)
        return self._replace(encodings=(encoding,), style=style)

    def choose_encoding(self, file: InputFile) -> "tuple[ReadingOptions, str | None]":
        """The options for a file with an encoding of its own, and a remark on that."""
        if self.format in BINARY_FORMATS:
            return self, None
        encoding, remark = choose_encoding(file, self.encodings)
        return self.with_encoding(encoding), remark


def find_format_errors(options: ReadingOptions) -> Iterator[UserError]:
    """Options that the format knows nothing of."""
    for key in _KEYS_WITHOUT_USE.get(options.format, ()):
        if (value := getattr(options.columns, key)) is not None:
            yield UserError(
                f"{options.format} files have no {key}",
                key=f"data.source.{key}",
                value=value,
                hint=_NO_LABEL_HINT if key == "label" else "give null",
            )
    if options.format in _KEYS_WITHOUT_USE and options.columns.has_label_columns:
        yield UserError(
            f"{options.format} files have no columns",
            key="data.source.label",
            value=f"[{','.join(map(str, options.columns.label_columns))}]",
            hint="{key}=label asks for the label",
        )
    if options.names is not None and options.format not in (*TABLE_FORMATS, "jsonl", "xlsx"):
        yield UserError(
            f"{options.format} files take no names for columns",
            key="data.source.columns",
            value=f"[{','.join(options.names)}]",
            hint="leave this option",
        )
    if options.skipped_rows and options.format not in (*TABLE_FORMATS, "xlsx"):
        yield UserError(
            f"{options.format} files have no lines before a header",
            key="data.source.skip_rows",
            value=options.skipped_rows,
            hint="leave this option",
        )

    if options.comment is not None and options.format not in (*TABLE_FORMATS, "conll"):
        yield UserError(
            f"{options.format} files have no lines of comments",
            key="data.source.comment",
            value=options.comment,
            hint="leave this option",
        )


def find_content_error(file: InputFile, format: str) -> UserError | None:
    """The error of a file that its first words show to be something else than data."""
    has_lines = format in ("text", "jsonl", "label_first") and file.label is None
    if has_lines and (layout := detect_layout(file)) is not None:
        return UserError(f"this is {layout}", where=file.name)
    if format not in (*TABLE_FORMATS, "jsonl", "conll", "label_first"):
        return None
    found = detect_no_data(file)
    return None if found is None else UserError(f"this is {found}", where=file.name)


def find_file_errors(file: InputFile, options: ReadingOptions) -> Iterator[UserError]:
    """What a look at the header of a file shows to be wrong."""
    if (error := find_content_error(file, options.format)) is not None:
        yield error
        return
    options, _ = options.choose_encoding(file)
    columns, style = options.columns, options.style
    header = read_header(file, options)
    headed = style.header if style is not None else options.format == "xlsx"
    if not header and (headed or options.format == "jsonl"):
        yield UserError("no rows in it", where=file.name)
        return
    if style is not None:
        yield from find_table_errors(file, columns, header, style)
    elif header and (options.header or options.names is not None):
        # JSON may have names inside those that are given to the values of a list
        names = header if options.format == "jsonl" else options.names or header
        errors = list(find_column_errors(file.name, columns, names))
        if errors and options.format == "xlsx" and options.names is None:
            rows = read_first_sheet_rows(file, options.sheet, options.skipped_rows)
            if (skipped := find_named_row(rows, columns.requested_names())) is not None:
                errors = errors[:1]
                errors[0].hint = f"data.source.skip_rows={skipped} where the names of columns "
                errors[0].hint += f"stand in row {skipped + 1}"
        yield from errors


def read_header(file: InputFile, options: ReadingOptions) -> list[str]:
    """The column names of a file; empty if it has none."""
    with close_files_of_errors():
        if options.format == "parquet":
            return readers.read_parquet_columns(file)
        if options.format == "jsonl":
            return read_json_keys(file, options.columns, options.json_style, options.keep_bad)
        if options.format == "xlsx":
            return read_sheet_header(file, options.sheet, options.skipped_rows)
        if options.style is not None and options.style.header:
            return read_first_row(file, options.style, options.keep_bad)
    return []


def read_file(
    file: InputFile, options: ReadingOptions, *, keep_other: bool = False
) -> Iterator[RawRecord]:
    """Stream the records of a file, of which there must be some.

    Args:
        keep_other: whether records shall have all columns of their row.
    """
    options, remark = options.choose_encoding(file)
    records = readers.require_records(_iter_records(file, options, keep_other), file.name)
    # in formats with columns a label may be a list, or a text that is one
    has_lists = options.columns.label is not None and options.format in COLUMN_FORMATS
    if has_lists or not options.labels.is_plain:
        records = _read_labels(records, options.labels, options.keep_bad)
    with close_files_of_errors():
        for record in records:
            if file.label is not None and record.label is None and record.unreadable is None:
                record = record._replace(label=file.label)
            yield record if record.remark or not remark else record._replace(remark=remark)


def _read_labels(
    records: Iterator[RawRecord], labels: LabelReading, keep_bad: bool
) -> Iterator[RawRecord]:
    errors = RowErrors(keep_bad)
    for record in records:
        if record.unreadable is not None:
            yield record
            continue
        try:
            record = labels.read_record(record)
        except UserError as error:
            errors.add(error)
            yield from errors.take_records()
            continue
        yield record


def _iter_records(
    file: InputFile, options: ReadingOptions, keep_other: bool
) -> Iterator[RawRecord]:
    columns, encoding, keep_bad = options.columns, options.encodings[0], options.keep_bad
    if options.style is not None:
        return read_table(file, columns, options.style, keep_other, keep_bad)
    match options.format:
        case "jsonl":
            return read_json_rows(file, columns, options.json_style, keep_other, keep_bad)
        case "parquet":
            return readers.read_parquet(file, columns, keep_other, keep_bad)
        case "xlsx":
            return read_sheet_rows(
                file,
                columns,
                sheet=options.sheet,
                skipped=options.skipped_rows,
                header=options.header,
                names=options.names,
                keep_other=keep_other,
            )
        case "conll":
            return read_tagged_words(
                file,
                encoding=encoding,
                columns=options.word_columns,
                labelled=columns.label is not None,
                comment=options.comment,
            )
        case "label_first":
            return readers.read_labelled_lines(
                file, encoding=encoding, labelled=columns.label is not None, keep_bad=keep_bad
            )
        case "parallel":
            return read_parallel_lines(file, encoding)
        case "folders":
            return readers.read_documents(file, encoding=encoding, document="file", heading=None)
        case _:
            return readers.read_documents(
                file,
                encoding=encoding,
                document=options.document,
                heading=options.heading,
                keep_bad=keep_bad,
            )
