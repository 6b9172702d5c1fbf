"""What a look at files says of their columns and rows, in lines of at most 80 columns."""

import json
import textwrap
from collections.abc import Iterator, Sequence

from src.core.formatting import format_quantity, truncate_end, truncate_middle
from src.data.reading.column_profiles import ColumnProfile
from src.data.reading.file_contents import FileContents
from src.data.rows.tag_schemes import describe_tags

LINE_WIDTH = 80
_SHOWN_LABELS = 12


def describe_columns(profiles: Sequence[ColumnProfile]) -> Iterator[str]:
    """The columns of a file with some of what stands in them."""
    yield "columns, of the first rows:"
    width = min(24, max(len(str(profile.name)) for profile in profiles))
    for profile in profiles:
        name = truncate_middle(str(profile.name), width)
        examples = " | ".join(" ".join(example[:60].split()) for example in profile.examples)
        line = f"  {name:<{width}}  {profile.distinct:>5,} different: {examples}"
        yield truncate_end(line, LINE_WIDTH)


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


def wrap_line(line: str) -> str:
    """A sentence over several lines, of which those below the first are indented."""
    return textwrap.fill(line, LINE_WIDTH, subsequent_indent="  ", break_on_hyphens=False)
