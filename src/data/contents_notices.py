"""What a look at files says of their columns and rows, in lines of at most 80 columns."""

import json
import re
import textwrap
from collections.abc import Iterator, Sequence

from src.core.formatting import format_quantity, truncate_end, truncate_middle
from src.data.reading.column_profiles import VERDICTS, ColumnProfile
from src.data.reading.columns import ColumnSelection
from src.data.reading.file_contents import FileContents
from src.data.rows.labels import write_label_map
from src.data.rows.tag_schemes import describe_tags

LINE_WIDTH = 80
_SHOWN_LABELS = 12
_SHOWN_COLUMNS = 200
_SPANS_HINT = (
    'entities are read from lines such as {"text": "...", "entities": [[0, 3, "PER"]]} as JSON, '
    "where 3 is the place behind the last character"
)
_MOST_CLASSES = 20
_MARKUP = re.compile(
    r"</?(a|b|br|code|div|em|h\d|html|i|img|li|ol|p|pre|span|strong|table|td|tr|u|ul)(\s[^<>]*)?/?>"
    r"|&(amp|lt|gt|quot|nbsp|#\d+);",
    re.IGNORECASE,
)


def describe_columns(profiles: Sequence[ColumnProfile]) -> Iterator[str]:
    """The columns of a file with some of what stands in them."""
    yield "columns, of the first rows:"
    width = min(24, max(len(str(profile.name)) for profile in profiles))
    for profile in profiles[:_SHOWN_COLUMNS]:
        name = truncate_middle(str(profile.name), width)
        examples = " | ".join(" ".join(example[:60].split()) for example in profile.examples)
        line = f"  {name:<{width}}  {profile.distinct:>5,} different: {examples}"
        yield truncate_end(line, LINE_WIDTH)
    if (more := len(profiles) - _SHOWN_COLUMNS) > 0:
        yield f"  and {format_quantity(more, 'more column')}"


def describe_contents(contents: FileContents) -> Iterator[str]:
    """How many rows, labels and tags there are, how long rows are, and the first ones."""
    rows = ", ".join(f"{split} {count:,}" for split, count in contents.rows.items())
    missing = f", {contents.empty:,} with an empty text" * bool(contents.empty)
    missing += f", {contents.unlabelled:,} without a label" * bool(contents.unlabelled)
    yield wrap_line(f"rows: {rows}{missing}")
    if contents.labels:
        shown = [
            f"{truncate_middle(name, 24)} {count:,}"
            for name, count in contents.labels.most_common(_SHOWN_LABELS)
        ]
        more = ", ..." * (len(contents.labels) > _SHOWN_LABELS)
        different = format_quantity(len(contents.labels), "different label")
        yield wrap_line(f"{different}: {', '.join(shown)}{more}")
    # of more they are rather numbers to be predicted
    for split, names in (
        contents.new_labels.items() if len(contents.labels) <= _MOST_CLASSES else ()
    ):
        listed = ", ".join(f"'{name}'" for name in names[:3]) + ", ..." * (len(names) > 3)
        kept = {name: name for name in sorted(contents.labels) if name not in names}
        pairs = write_label_map(kept) if len(kept) > 1 and not contents.has_label_sets else ""
        leave = f"; {pairs} leaves such rows out" if pairs else ""
        yield wrap_line(f"note: no row of train has the label {listed} of {split}{leave}")
    for split, name in contents.lone_labels.items():
        yield wrap_line(
            f"note: all rows of {split} have the label '{name}'; where it only stands for others "
            f"that are kept back, data.source.{split}=null leaves {split} out"
        )
    if contents.tags is not None:
        for line in describe_tags(contents.tags, contents.tag_problem):
            yield wrap_line(line)
    lengths = sorted(contents.lengths) or [0]
    yield wrap_line(
        f"characters of a row: half have up to {lengths[len(lengths) // 2]:,}, nine tenths up to "
        f"{lengths[len(lengths) * 9 // 10]:,}, the longest {lengths[-1]:,}"
    )
    yield "first rows:"
    for text in contents.sample_texts[:3]:
        yield "  " + truncate_end(json.dumps(text[:200], ensure_ascii=False), LINE_WIDTH - 2)


def describe_unread_values(
    profiles: Sequence[ColumnProfile], columns: ColumnSelection | None
) -> Iterator[str]:
    """What stands in columns and is not read as the label that it may be, in sentences."""
    if columns is not None and columns.label is not None:
        return
    if unread := [str(one.name) for one in profiles if one.has_fields and not one.holds_spans]:
        yield (
            f"{', '.join(unread)}: objects in lists, of which nothing is read; labels there "
            "want a column of their own (Label Studio exports CSV and JSON-MIN)"
        )
    if places := [str(one.name) for one in profiles if one.holds_offsets]:
        yield (
            f"{', '.join(places)}: lists of the places of characters, which are no labels; "
            f"{_SPANS_HINT}"
        )
    most = max((one.filled for one in profiles), default=0)
    # spans by their types and texts, {"name": {"Ada": [[0, 2]]}}, as CLUENER has them
    by_key = [one for one in profiles if one.is_nested and 2 * one.filled < most]
    for outer in dict.fromkeys(str(one.name).partition(".")[0] for one in by_key):
        inner = [str(one.name) for one in by_key if str(one.name).startswith(f"{outer}.")]
        if inner:
            yield (
                f"{outer}: objects whose keys differ from row to row ({inner[0]}), of which no "
                f"label is read; {_SPANS_HINT}"
            )


def describe_rejected(profiles: Sequence[ColumnProfile], columns: ColumnSelection) -> Iterator[str]:
    """The rows of Prodigy that a person rejected or left open, in a sentence."""
    for one in profiles:
        others = [value for value in one.labels if value != "accept"]
        is_taken = one.name in (*columns.label_columns, columns.split_column)
        if others and len(others) < len(one.labels) and {*others} <= VERDICTS and not is_taken:
            yield (
                f"rows whose '{one.name}' is {' or '.join(others)} are read like the others; "
                f"data.source.split_column={one.name} data.source.train=accept leaves them out"
            )


def describe_markup(texts: Sequence[str]) -> Iterator[str]:
    """That texts hold HTML, in a sentence, from one in twenty on."""
    count = sum(_MARKUP.search(text) is not None for text in texts)
    if 20 * count >= len(texts) > 0:
        share = f"{100 * count / len(texts):.0f} %"
        yield f"{share} of texts hold HTML; data.cleaning.html=true makes plain text of it"
    if any(text.startswith("<doc id=") for text in texts):
        yield (
            "lines of <doc ...> and </doc> stand around articles and are read as text; "
            "data.cleaning.html=true leaves them out"
        )


def wrap_line(line: str) -> str:
    """A sentence over several lines, of which those below the first are indented."""
    return textwrap.fill(line, LINE_WIDTH, subsequent_indent="  ", break_on_hyphens=False)
