"""The rows that a prediction reads: those of a file or a folder, read as the run of the model read
its own data.
"""

import codecs
from collections.abc import Iterator, Mapping
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.config.validate_config import build_checked_node
from src.core.user_errors import UserError
from src.data.reading.file_names import FORMAT_BY_SUFFIX, infer_format
from src.data.reading.sources import SPLITS, Source
from src.data.rows.records import RawRecord

if TYPE_CHECKING:
    import pyarrow

SOURCE_NODE = "data.source"
SOURCE_TARGET = "src.data.reading.sources.Source"
_PLACE_KEYS = ("path", "hub", "config", "revision")
_COLUMN_KEYS = ("text", "pair", "label")
_STYLE_KEYS = ("delimiter", "quoting", "quote", "escape", "skip_rows")
_FORMATS_WITH_HEADER = ("csv", "tsv", "xlsx")
_FORMATS_WITHOUT_PAIRS = ("text", "folders", "label_first", "parallel", "conll")


# Bytes of a file that tell whether it is UTF-8.
_SAMPLE_BYTES = 1 << 20
# Rows of which one must be readable.
_SAMPLE_ROWS = 100


class PredictionSource(NamedTuple):
    """A source and the one split of it that is read.

    Args:
        format: of its files.
        inherited: the options that are the run's and not the defaults, by config key.
        keep_bad: whether a record takes the place of a row that cannot be read.
    """

    source: Source
    split: str
    format: str
    inherited: dict[str, Any]
    keep_bad: bool

    def read_types(self) -> "dict[str, pyarrow.DataType]":
        """The types of the columns of Parquet files, by their names; empty for other formats."""
        if self.format != "parquet":
            return {}
        from pyarrow.parquet import read_schema

        first, *others = self.source.list_files().files[self.split]
        types = {field.name: field.type for field in read_schema(first.path)}
        for file in others:
            theirs = {field.name: field.type for field in read_schema(file.path)}
            types = {name: found for name, found in types.items() if theirs.get(name) == found}
        return types

    def find_encoding_remark(self) -> str | None:
        """What should be known if a file is UTF-8 and is read in the run's other encoding, which
        gives wrong letters and no error.
        """
        if f"{SOURCE_NODE}.encoding" not in self.inherited:
            return None
        for file in self.source.list_files().files[self.split]:
            with file.path.open("rb") as stream:
                sample = stream.read(_SAMPLE_BYTES)
            try:
                # the last character may be cut
                text, _ = codecs.utf_8_decode(sample, "strict", False)
            except UnicodeDecodeError:
                continue
            if not text.isascii() and "\0" not in text:
                return (
                    f"{file.name} looks like UTF-8 and is read as the run's "
                    f"{self.source.encoding}; data.source.encoding=utf-8 is the other way"
                )
        return None

    def iter_rows(self) -> Iterator[tuple[RawRecord, dict[str, Any]]]:
        """Every row, with all columns of it in the order of the file.

        Formats without columns have `text`, `label` where there is one, and for folders `file`.
        """
        records = self.source.read_records(self.split, keep_other=True, keep_bad=self.keep_bad)
        if self.format == "folders":
            # a document is a file
            for file, record in zip(
                self.source.list_files().files[self.split], records, strict=True
            ):
                yield record, {"file": file.name, **_list_columns(record)}
            return
        named = self.source.header or self.source.columns is not None
        named = named or self.format not in _FORMATS_WITH_HEADER
        for record in records:
            columns = _list_columns(record)
            yield (
                record,
                (columns if named else {f"column_{name}": cell for name, cell in columns.items()}),
            )


def _list_columns(record: RawRecord) -> dict[str, Any]:
    if record.other is not None:
        return dict(record.other)
    label = {} if record.label is None else {"label": record.label}
    return {**label, "text": record.text}


def find_prediction_source(
    path: Path,
    run_source: Mapping[str, Any],
    typed: Mapping[str, Any],
    *,
    split: str = "",
    keep_bad: bool = False,
) -> PredictionSource:
    """Find the rows at `path`, and check that they can be read.

    A file is read whatever its name is. Of a folder the split `test` is read, else the only one
    that there is. The column of labels may be missing.

    Args:
        run_source: the node `data.source` of the run; options of another class than `Source`
            do not count.
        typed: options that the user gives, which go first.
        split: the split to read of a folder.
        keep_bad: whether rows may be unreadable, as far as their format allows.

    Raises:
        UserErrors: the options do not fit together or to the files.
    """
    inherited = _inherit_options(path, run_source, typed)
    if not {**inherited, **typed}.get("header", True):
        typed = {
            key: _parse_position(value) if key in _COLUMN_KEYS else value
            for key, value in typed.items()
        }
    options = {**inherited, **typed, "path": str(path)}
    chosen = _choose_split(path, options, split)
    for name in SPLITS:
        # the other splits of the folder need not be there
        if name != chosen:
            options[name] = None
    source, label_is_there = _find_labels(
        options, chosen, is_typed="label" in typed, keep_bad=keep_bad
    )
    if not label_is_there:
        inherited = {key: value for key, value in inherited.items() if not _is_label_key(key)}
    known = {
        f"{SOURCE_NODE}.{key}": value
        for key, value in inherited.items()
        if key not in typed and key not in SPLITS and value != getattr(Source(), key)
    }
    return PredictionSource(source, chosen, source.list_files().format, known, keep_bad)


def _parse_position(column: Any) -> Any:
    """A column that is typed as a text (`column=1`), as a table without a header counts it."""
    return int(column) if isinstance(column, str) and column.isdecimal() else column


def _build_source(options: Mapping[str, Any]) -> Source:
    source: Source = build_checked_node(SOURCE_NODE, {"_target_": SOURCE_TARGET, **options})
    return source


def _inherit_options(
    path: Path, run_source: Mapping[str, Any], typed: Mapping[str, Any]
) -> dict[str, Any]:
    """The options of the run's source that say how a file is read, not where it lies."""
    if run_source.get("_target_") != SOURCE_TARGET:
        return {}
    dropped = {"_target_", *_PLACE_KEYS}
    if "text" in typed:
        # it says itself which columns are the text
        dropped.add("template")
    if path.is_file():
        dropped |= {*SPLITS}
    if "format" in typed:
        # they told of files in another format
        dropped |= {"format", *_STYLE_KEYS}
    own, other = infer_format(Path(str(run_source.get("path")))), infer_format(path)
    if path.is_file() and own is not None and other not in (None, own):
        dropped |= {"format", *_STYLE_KEYS}
    options = {key: value for key, value in run_source.items() if key not in dropped}
    has_names = typed.get("header") is True or (path.is_file() and other in ("jsonl", "parquet"))
    if has_names and options.get("header") is False:
        # positions of columns are of no use where columns have names
        del options["header"]
        options = {key: value for key, value in options.items() if type(value) is not int}
    return options


def choose_stdin_suffix(run_source: Mapping[str, Any], typed: Mapping[str, Any]) -> str:
    """The suffix of a file that holds the standard input: as the format that was typed wants it,
    or as the run's own file has it; plain text where neither tells.
    """
    wanted = str(typed.get("format", "auto"))
    if wanted == "auto" and run_source.get("_target_") == SOURCE_TARGET:
        wanted = infer_format(Path(str(run_source.get("path")))) or _find_run_format(run_source)
    return next((suffix for suffix, name in FORMAT_BY_SUFFIX.items() if name == wanted), ".txt")


def _find_run_format(run_source: Mapping[str, Any]) -> str:
    """The format of the run's own files, if these are still there."""
    if run_source.get("format", "auto") != "auto":
        return str(run_source["format"])
    try:
        return _build_source(_omit(run_source, {"_target_"})).list_files().format
    except UserError:
        return "text"


def _choose_split(path: Path, options: Mapping[str, Any], wanted: str) -> str:
    if path.is_file():
        return "train"
    there = tuple(_build_source(options).list_files().files)
    if wanted:
        if wanted not in there:
            raise UserError(
                f"{path} has no such split",
                key="split",
                value=wanted,
                hint=f"there: {', '.join(there)}",
            )
        return wanted
    if "test" in there or len(there) == 1:
        return "test" if "test" in there else there[0]
    raise UserError(
        f"{path} has {' and '.join(there) or 'no split'}, and no test",
        hint=f"split={there[0]} reads that one" if there else "name one of its files",
    )


def _find_labels(
    options: Mapping[str, Any], split: str, *, is_typed: bool, keep_bad: bool
) -> tuple[Source, bool]:
    """The source with its labels if the files have them, else without."""
    labels = {key for key in options if _is_label_key(key)}
    is_text = options.get("label") in (options.get("text"), options.get("pair"))
    if options.get("label") is None or (is_text and not is_typed):
        return _check_source(_build_source(_omit(options, labels)), split, keep_bad), False
    try:
        return _check_source(_build_source(options), split, keep_bad), True
    except UserError:
        if is_typed:
            raise
        return _check_source(_build_source(_omit(options, labels)), split, keep_bad), False


def _check_source(source: Source, split: str, keep_bad: bool) -> Source:
    """The source, whose options fit to its files and to one of the first rows."""
    layout = source.list_files()
    if source.pair is not None and layout.format in _FORMATS_WITHOUT_PAIRS:
        raise UserError(
            f"{layout.format} files have no second text, and a pair is asked for",
            key=f"{SOURCE_NODE}.path",
            value=source.path,
        )
    source.check(keep_bad)
    first = [
        record.unreadable
        for record in islice(source.read_records(split, keep_bad=keep_bad), _SAMPLE_ROWS)
    ]
    if first and first[0] is not None and None not in first:
        raise UserError(first[0])
    return source


def _is_label_key(key: str) -> bool:
    return key.startswith("label")


def _omit(options: Mapping[str, Any], keys: set[str]) -> dict[str, Any]:
    return {key: value for key, value in options.items() if key not in keys}
