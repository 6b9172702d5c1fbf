"""Texts in one file and their labels in another, line by line: train.text and train.labels."""

import re
from collections import defaultdict
from collections.abc import Iterator, Mapping
from itertools import zip_longest
from pathlib import Path

from src.core.user_errors import UserError
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.reading.file_names import (
    PATH_KEY,
    SplitFiles,
    find_split_folder,
    infer_format,
    is_readme,
    strip_data_suffixes,
)
from src.data.rows.records import RawRecord

_LABEL_WORDS = frozenset(("label", "labels", "target", "targets", "class", "classes"))
_TEXT_WORDS = frozenset(
    ("text", "texts", "sentence", "sentences", "sent", "sents", "input", "inputs", "data")
)


def find_parallel_files(
    folder: Path, names: Mapping[str, str], labelled: bool, *, sure: bool
) -> SplitFiles | None:
    """The files of texts of each split that have a file of labels beside them: in the splits'
    folders, else in `folder`, where a lone pair is train. None if there are none.

    Args:
        labelled: whether labels are read.
        sure: whether other data in the folder do not speak against it.

    Raises:
        UserError: a split has several pairs.
    """
    files: dict[str, tuple[InputFile, ...]] = {}
    others = _list_pairs(folder, sure)
    for split, name in names.items():
        own = find_split_folder(folder, name)
        found = list((_list_pairs(own, sure) if own else {}).values()) or [
            pair for key, pair in others.items() if set(_list_words(name)) <= set(key)
        ]
        if len(found) > 1:
            texts = ", ".join(text.name for text, _ in found)
            raise UserError(
                f"several files of texts beside files of labels for {name}: {texts}",
                key=PATH_KEY,
                value=folder,
            )
        for text, labels in found:
            files[split] = (_make_input(folder, text, labels if labelled else None),)
    if not files and len(others) == 1 and "train" in names:
        [(text, labels)] = others.values()
        files["train"] = (_make_input(folder, text, labels if labelled else None),)
    if not files:
        return None
    taken = {path for (file,) in files.values() for path in (file.path, file.labels)}
    beside = [one for one in sorted(folder.iterdir()) if one.is_file() and one not in taken]
    left = tuple(one.name for one in beside if not (one.name.startswith(".") or is_readme(one)))
    return SplitFiles("parallel", files, passed_over=left)


def read_parallel_lines(file: InputFile, encoding: str) -> Iterator[RawRecord]:
    """Read a text a line, with the label on the same line of the other file.

    Raises:
        UserError: one of the files has more lines.
    """
    texts = read_text_lines(file, encoding)
    if file.labels is None:
        labels: Iterator[str] | None = None
        rows: Iterator[tuple[str | None, str | None]] = ((text, "") for text in texts)
    else:
        label_file = InputFile(file.labels, file.labels.name)
        labels = read_text_lines(label_file, encoding)
        rows = zip_longest(texts, labels)
    for number, (text, label) in enumerate(rows, start=1):
        where = f"{file.name}, line {number}"
        if text is None or label is None:
            if not (text or label or "").strip():
                continue
            shorter = file.name if text is None else str(file.labels and file.labels.name)
            raise UserError(
                f"{shorter} ends before line {number}, and its neighbour does not; every line of "
                "texts has its label on the same line of the other file",
                where=where,
                key="data.source.format",
                hint="data.source.format=text reads texts without labels",
            )
        yield RawRecord(text.rstrip("\n"), None, label.strip() or None, where)


def _make_input(folder: Path, text: Path, labels: Path | None) -> InputFile:
    return InputFile(text, str(text.relative_to(folder)), labels=labels)


def _list_pairs(folder: Path, sure: bool) -> dict[tuple[str, ...], tuple[Path, Path]]:
    """Files of texts and of labels whose names have all other words in common, by these words; none
    where there are files of other formats.
    """
    paths = [
        path
        for path in sorted(folder.iterdir())
        if path.is_file() and not path.name.startswith(".") and not is_readme(path)
    ]
    if not sure and any(infer_format(path) not in ("text", None) for path in paths):
        return {}
    found: dict[tuple[str, ...], tuple[list[Path], list[Path]]] = defaultdict(lambda: ([], []))
    for path in paths:
        words = _list_words(strip_data_suffixes(path))
        key = tuple(word for word in words if word not in _LABEL_WORDS | _TEXT_WORDS)
        found[key][not _LABEL_WORDS.isdisjoint(words)].append(path)
    return {
        key: (texts[0], labels[0])
        for key, (texts, labels) in found.items()
        if len(texts) == len(labels) == 1
    }


def _list_words(name: str) -> list[str]:
    # the utterances of SNIPS, ATIS and the like
    return re.split(r"[._\-\s]+", name.casefold().replace("seq.in", "text"))
