"""What a run says of the rows that it read: how many of each split and label, and what was lost."""

import json
import textwrap
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from src.core.formatting import format_quantity, truncate_middle
from src.core.notices import Notices
from src.data.preparation.cleaning import DROP_REASONS
from src.data.preparation.splitting import SPLITS

_LINE_WIDTH = 80
_SHOWN_LABELS = 6
_LABEL_WIDTH = 24
# A tag holds 8,000 characters; more classes stand in the profiles of the data sets.
_TAGGED_LABELS = 50
# below it they are ordinary: some rare letters
_TOLD_UNKNOWN_SHARE = 0.01


def describe_rows(
    summary: Mapping[str, Any],
    cut_texts: Mapping[str, int],
    *,
    cut_tokens: int | None,
    unread: Sequence[str] = (),
) -> Notices:
    """Lines of at most 80 columns, and the same in numbers as the tags `data/summary` (JSON) and
    `data/remarks`.

    Args:
        summary: the data summary of a `CorpusSurvey`. Where it has `unknown_share`, the share of
            unknown tokens by split, that is told too, from 1 % on; `dropped_letters` are told
            from the first one on.
        cut_texts: by split, how many texts were cut to length.
        cut_tokens: the length to which texts are cut; None if they are not.
        unread: what lies at the source and is not read, in sentences.
    """
    rows, unknown = summary["rows"], summary.get("unknown_share", {})
    lines = []
    for split, count in rows.items():
        facts = [format_quantity(count, "row")]
        if f"{split}/read" not in summary["counts"]:
            facts[0] += " taken out of train"
        if labels := summary["labels"].get(split):
            facts.append(_format_labels(labels))
        if words := summary.get("words", {}).get(split):
            facts.append(format_quantity(words["words"], "word"))
        if cut := cut_texts.get(split):
            facts.append(f"{_format_share(cut / count)} of texts cut to {cut_tokens} tokens")
        if unknown.get(split, 0) >= _TOLD_UNKNOWN_SHARE:
            facts.append(f"{_format_share(unknown[split])} of tokens unknown")
        lines.append(f"{split}: {'; '.join(facts)}")
    dropped = {split: count for split, count in summary.get("dropped_letters", {}).items() if count}
    for split, count in dropped.items():
        letters, verb = format_quantity(count, "letter"), "is" if count == 1 else "are"
        lines.append(
            f"{split}: {letters} {verb} dropped by the tokenizer, which has no token for them"
        )
    lines += [*_describe_changed_rows(summary["counts"]), *_describe_lost_rows(summary)]
    lines += list(_describe_lost_words(summary))
    lines += [*_describe_leakage(summary), *unread]
    remarks = [f"note: {remark}" for remark in summary["remarks"]]
    record = {
        "rows": rows,
        "read": {
            name.removesuffix("/read"): count
            for name, count in summary["counts"].items()
            if name.endswith("/read")
        },
        "changed": {
            name.removesuffix("/changed"): count
            for name, count in summary["counts"].items()
            if name.endswith("/changed")
        },
        "language_unknown": summary["counts"].get("train/language_unknown", 0),
        "left_out": _count_lost_rows(summary["counts"]),
        "leakage": _count_leakage(summary),
        "labels": {
            split: labels
            for split, labels in summary["labels"].items()
            if len(labels) <= _TAGGED_LABELS
        },
        "cut_texts": dict(cut_texts),
        "unknown_share": dict(unknown),
        "dropped_letters": dropped,
    }
    if "words" in summary:
        record["words"] = summary["words"]
    tags = {"data/summary": json.dumps(record, ensure_ascii=False)}
    if unread:
        tags["data/unread"] = "\n".join(unread)[:5000]
    if remarks:
        tags["data/remarks"] = "\n".join(summary["remarks"])[:5000]
    return Notices(tuple(map(_wrap_line, [*lines, *remarks])), tags)


def _count_lost_rows(counts: Mapping[str, int]) -> dict[str, int]:
    """The rows that cleaning dropped, by split of the source and reason."""
    return {
        name: count
        for name, count in counts.items()
        if count and name.partition("/")[2] in DROP_REASONS
    }


def _describe_changed_rows(counts: Mapping[str, int]) -> Iterator[str]:
    changed = [
        f"{count:,} of {counts[f'{split}/read']:,} rows of {split}"
        for split in SPLITS
        if (count := counts.get(f"{split}/changed"))
    ]
    if changed:
        yield f"changed by data.cleaning: {', '.join(changed)}"
    if count := counts.get("train/language_unknown"):
        rows, verb = format_quantity(count, "row"), "is" if count == 1 else "are"
        yield (
            f"{rows} of train {verb} too short for their language to be told, and stay "
            "(data.cleaning.language_min_letters)"
        )


def _describe_lost_rows(summary: Mapping[str, Any]) -> Iterator[str]:
    counts = summary["counts"]
    for name, read in counts.items():
        split, _, kind = name.partition("/")
        reasons = [
            f"{counts[f'{split}/{reason}']:,} {words}"
            for reason, words in DROP_REASONS.items()
            if counts.get(f"{split}/{reason}")
        ]
        if kind == "read" and reasons:
            yield f"left out of {read:,} rows read for {split}: {', '.join(reasons)}"
    kept = sum(count for name, count in counts.items() if name.endswith("/kept"))
    if unused := kept - sum(summary["rows"].values()):
        rows = format_quantity(unused, "row")
        yield f"left out of train: {rows} (data.train_rows or data.train_share)"


def _count_leakage(summary: Mapping[str, Any]) -> dict[str, dict[str, int]]:
    """By kind (exact, near) and held-out split, the rows that stand in train too."""
    leakage: dict[str, dict[str, int]] = summary.get("leakage", {})
    return {
        kind: {split: count for split, count in counts.items() if count}
        for kind, counts in leakage.items()
        if any(counts.values())
    }


def _describe_leakage(summary: Mapping[str, Any]) -> Iterator[str]:
    counts, words = _count_leakage(summary), {"exact": "also", "near": "also or nearly"}
    for kind, found in counts.items():
        for split, count in found.items():
            yield (
                f"leakage: {count:,} of {format_quantity(summary['rows'][split], 'row')} of "
                f"{split} {words[kind]} stand in train (data.cleaning.overlap=keep)"
            )


def _describe_lost_words(summary: Mapping[str, Any]) -> Iterator[str]:
    """The words of which nothing is asked, and the entities that are missed with them."""
    for split, counts in summary.get("words", {}).items():
        reasons = [
            f"{counts[reason]:,} {said}"
            for reason, said in (
                ("cut_words", "cut off (data.batching.max_tokens)"),
                ("words_without_token", "of which the tokenizer makes nothing"),
            )
            if counts[reason]
        ]
        if reasons:
            entities = f"{counts['lost']:,} {'entity' if counts['lost'] == 1 else 'entities'}"
            yield (
                f"{split}: of {counts['words']:,} words, {', '.join(reasons)}; {entities} among "
                "them count as missed"
            )


def _format_labels(counts: Mapping[str, int]) -> str:
    shown = [
        f"{truncate_middle(name, _LABEL_WIDTH)} {count:,}"
        for name, count in list(counts.items())[:_SHOWN_LABELS]
    ]
    if len(counts) > _SHOWN_LABELS:
        shown.append(f"... ({len(counts):,} classes)")
    return ", ".join(shown)


def _format_share(share: float) -> str:
    return f"{100 * share:.1f} %" if share >= 0.001 else "under 0.1 %"


def _wrap_line(line: str) -> str:
    return textwrap.fill(
        line,
        _LINE_WIDTH,
        subsequent_indent="  ",
        break_on_hyphens=False,
    )
