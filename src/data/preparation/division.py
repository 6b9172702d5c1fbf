"""Rows that are divided by what stands in a column of theirs: whole groups, or by time."""

import hashlib
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, date, datetime
from itertools import islice
from typing import TYPE_CHECKING, Any, Literal

from src.core.user_errors import UserError, format_suggestion
from src.data.preparation.splitting import SPLITS, Split
from src.data.reading.file_formats import read_header
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord

if TYPE_CHECKING:
    import numpy as np

# Ways of writing dates and the times behind them, in the order in which messages propose them.
_DATE_FORMATS = (
    *("%d/%m/%Y", "%m/%d/%Y", "%d.%m.%Y", "%d-%m-%Y", "%m-%d-%Y", "%d/%m/%y", "%m/%d/%y"),
    *("%d.%m.%y", "%B %d, %Y", "%b %d, %Y", "%d %B %Y", "%d %b %Y", "%d-%b-%Y", "%d-%b-%y"),
    *("%Y%m%d", "%b %d %Y", "%a, %d %b %Y"),
)
_TIME_FORMATS = ("", " %H:%M", " %H:%M:%S", " %I:%M %p", " %I:%M:%S %p", ", %H:%M", ", %H:%M:%S")
# as X (Twitter) writes them
_POST_FORMAT = "%a %b %d %H:%M:%S %z %Y"
_FORMATS_WITHOUT_COLUMNS = ("text", "folders", "class_files", "label_first")


def find_division_errors(
    source: Source, kind: Literal["group", "time"], column: str | int
) -> Iterator[UserError]:
    """The errors of a column that is not in the files. Groups must be known of held-out splits too,
    so that none of theirs is in train.
    """
    key = f"data.split.{kind}"
    layout = source.list_files()
    if layout.format in _FORMATS_WITHOUT_COLUMNS:
        yield UserError(f"{layout.format} files have no columns", key=key, value=column)
        return
    options = source.reading_options(layout.format)
    for split, files in layout.files.items():
        header = options.names or read_header(files[0], options)
        if header and str(column) not in header and (split == "train" or kind == "group"):
            yield UserError(
                f"{files[0].name} has no such column",
                key=key,
                value=column,
                hint=format_suggestion(column, header),
            )


@dataclass(kw_only=True)
class DivisionColumn:
    """What a column says of the place of a row, as a number.

    Args:
        kind: what stands there, names of groups or times.
        column: its name, or its position in a table without a header.
        time_format: how dates are written, as `Split` has it.
    """

    kind: Literal["group", "time"]
    column: str | int
    time_format: str | None = None

    @classmethod
    def build(cls, split: Split) -> "DivisionColumn | None":
        """The column that divides rows as a `Split` says; None where none does."""
        if (asked := split.find_column()) is None:
            return None
        return cls(kind=asked[0], column=asked[1], time_format=split.time_format)

    def __post_init__(self) -> None:
        # of times: whether they are dates, once one has been read
        self._holds_dates: bool | None = None

    @property
    def key(self) -> str:
        return f"data.split.{self.kind}"

    def read_value(self, record: RawRecord) -> int | float:
        """A hash of 64 bits of the row's group; or its time, in seconds if it is a date.

        Raises:
            UserError: the row has none, or a time that cannot be compared with others.
        """
        if record.other is None or str(self.column) not in record.other:
            raise UserError(
                f"{record.where}: there is no column '{self.column}'",
                key=self.key,
                value=self.column,
                hint=None
                if record.other is None
                else format_suggestion(self.column, list(record.other)),
            )
        value = record.other[str(self.column)]
        is_nan = isinstance(value, float) and math.isnan(value)
        if value is None or is_nan or not str(value).strip():
            raise UserError(
                f"'{self.column}' is empty; every row needs one", where=record.where, key=self.key
            )
        if self.kind == "time":
            return self._read_time(value, record.where)
        name = str(value).strip().encode(errors="surrogatepass")
        return int.from_bytes(hashlib.blake2b(name, digest_size=8).digest(), "little")

    def _read_time(self, value: Any, where: str) -> float:
        # with a format a date may be all digits
        number = _parse_number(value) if self.time_format is None else None
        moment = _parse_date(value, self.time_format) if number is None else number
        if moment is None:
            raise self._unordered_time_error(value, where)
        is_date = number is None
        if self._holds_dates not in (None, is_date):
            raise UserError(
                f"'{self.column}' is {str(value)[:40]!r}, a {'date' if is_date else 'number'}, and "
                f"a {'number' if is_date else 'date'} in earlier rows",
                where=where,
                key=self.key,
            )
        self._holds_dates = is_date
        return moment

    def _unordered_time_error(self, value: Any, where: str) -> UserError:
        shown, key = f"'{self.column}' is {str(value)[:40]!r}", "data.split.time_format"
        if self.time_format is not None:
            return UserError(f"{shown} and not written {self.time_format}", where=where, key=key)
        formats = _guess_time_formats(str(value).strip())
        hint = "dates are written 2024-12-31 or 2024-12-31T18:30, and numbers are compared by size"
        if formats:
            typed = " or ".join(f"""'{key}="{one}"'""" for one in formats)
            hint = f"{typed} says how dates are written"
        return UserError(
            f"{shown}, which cannot be put in order", where=where, key=self.key, hint=hint
        )

    def format_time(self, value: float) -> str:
        """A time as it is said."""
        if not self._holds_dates:
            return f"{value:.15g}"
        moment = datetime.fromtimestamp(value, UTC)
        is_day = (moment.hour, moment.minute, moment.second) == (0, 0, 0)
        return moment.strftime("%Y-%m-%d" if is_day else "%Y-%m-%d %H:%M:%S")


def describe_division(
    column: DivisionColumn, values: "np.ndarray", codes: "np.ndarray"
) -> Iterator[str]:
    """How training rows were divided, in sentences.

    Args:
        values: of each row, as `DivisionColumn.read_value` gives them.
        codes: of each row, 1 + the index of its split in SPLITS.
    """
    import numpy as np

    for code, split in enumerate(SPLITS, 1):
        taken = values[codes == code]
        if split == "train" or not len(taken):
            continue
        share = f"{100 * len(taken) / int((codes > 0).sum()):.1f} % of the rows"
        if column.kind == "time":
            what = f"those of '{column.column}' {_format_span(column, taken)}"
        else:
            groups = [len(np.unique(some)) for some in (taken, values[codes > 0])]
            what = f"{groups[0]:,} of {groups[1]:,} groups by '{column.column}'"
        yield f"the rows of {split} are {what}, {share}"
    if column.kind == "time" and not (codes > 1).any():
        yield f"'{column.column}' divides nothing: no split is taken out of train ({column.key})"


def _format_span(column: DivisionColumn, times: "np.ndarray") -> str:
    first, last = (column.format_time(float(time)) for time in (times.min(), times.max()))
    return f"from {first} to {last}"


def _guess_time_formats(text: str) -> list[str]:
    """The common ways of writing dates that fit a text, two at most."""
    formats = [f"{date}{time}" for time in _TIME_FORMATS for date in _DATE_FORMATS]
    formats.append(_POST_FORMAT)
    fitting = (one for one in formats if _parse_date(text, one) is not None)
    return list(islice(fitting, 2))


def _parse_number(value: Any) -> float | None:
    if isinstance(value, bool) or not isinstance(value, int | float | str):
        return None
    try:
        number = float(value)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _parse_date(value: Any, format: str | None = None) -> float | None:
    """Seconds since 1970; a time without a zone is taken for UTC."""
    if isinstance(value, date) and not isinstance(value, datetime):
        value = datetime(value.year, value.month, value.day)
    if isinstance(value, str):
        text = value.strip()
        if format is not None:
            try:
                found = datetime.strptime(text, format)
            except ValueError:
                return None
            return (found if found.tzinfo else found.replace(tzinfo=UTC)).timestamp()
        # 2024/12/31, and 2024-12 for its first day
        text = text.replace("/", "-") if text[:4].isdecimal() else text
        text = f"{text}-01" if len(text) == len("2024-12") else text
        try:
            value = datetime.fromisoformat(text)
        except ValueError:
            return None
    if not isinstance(value, datetime):
        return None
    return (value if value.tzinfo else value.replace(tzinfo=UTC)).timestamp()
