"""Texts in one file and their labels in another, line by line: train.text and train.labels."""

import re
import shlex
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice, product, zip_longest
from pathlib import Path

from src.core.user_errors import UserError
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.reading.encodings import choose_encoding
from src.data.reading.file_names import (
    PATH_KEY,
    SplitFiles,
    find_split_folder,
    infer_format,
    is_readme,
    strip_data_suffixes,
)
from src.data.rows.records import RawRecord

_LABEL_WORDS = frozenset(("label", "labels", "target", "targets", "class", "classes", "y"))
_TEXT_WORDS = frozenset(
    ("text", "texts", "sentence", "sentences", "sent", "sents", "input", "inputs", "data", "x")
)
# Of a file that may hold labels so many lines are looked at.
_SAMPLE_LINES = 1000
# Labels are few and short, and come again.
_MOST_LABELS = 300
_LONGEST_LABEL = 40
# Numbers for the turns of a dialogue may be many.
_LONGEST_LINE = 400
_LEAST_REPEATS = 3
# Of so many files.
_MOST_FILES = 20
_NUMBERS = re.compile(r"\d+(\s+\d+)*")


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


def find_label_file_errors(layout: SplitFiles, encodings: Sequence[str]) -> Iterator[UserError]:
    """The error of files of text of which one seems to hold labels for the lines of another: it has
    as many lines, and in these a few short words, or numbers.
    """
    files = layout.files.get("train", ())
    if layout.format != "text" or len(files) < 2 or not encodings:
        return
    found = {file: _sample_labels(file, encodings) for file in files[:_MOST_FILES]}
    if all(found.values()) or not any(found.values()):
        return
    counts = {
        file: sum(1 for _ in read_text_lines(file, choose_encoding(file, encodings).name))
        for file in found
    }
    for labels, texts in product(found, found):
        beside = labels.path.parent == texts.path.parent and counts[labels] == counts[texts]
        if found[labels] and not found[texts] and beside:
            several = any(len(line.split()) > 1 for line in found[labels])
            yield _label_file_error(labels, texts, several)
            return


def _sample_labels(file: InputFile, encodings: Sequence[str]) -> list[str]:
    """The first lines of a file, if these seem to be labels; else none."""
    words: list[str] = []
    lines = read_text_lines(file, choose_encoding(file, encodings).name)
    for line in islice(lines, _SAMPLE_LINES):
        if len(line) > _LONGEST_LINE:
            return []
        words += [line.strip()] * bool(line.strip())
    few = len({*words}) <= min(_MOST_LABELS, len(words) / _LEAST_REPEATS)
    short = max(map(len, words), default=0) <= _LONGEST_LABEL
    are_labels = (few and short) or all(map(_NUMBERS.fullmatch, words))
    return words if len(words) > _LEAST_REPEATS and are_labels else []


def _label_file_error(labels: InputFile, texts: InputFile, several: bool) -> UserError:
    folder = texts.path.parent
    alone = f"{{key}}={texts.path} reads the texts by themselves"
    if several:
        hint = f"several labels on a line, as for the turns of a dialogue, are not read; {alone}"
    elif (texts.path, labels.path) in _list_pairs(folder, True).values():
        hint = f"data.source.format=parallel reads them as such; {alone}"
    else:
        table = folder / "joined.tsv"
        names = " ".join(shlex.quote(str(path)) for path in (labels.path, texts.path))
        hint = (
            f"`paste {names} > {shlex.quote(str(table))}` joins them, and {{key}}={table} "
            f"data.source.header=false reads the table; {alone}"
        )
    return UserError(
        f"{labels.name} seems to hold labels for the lines of {texts.name}, and no texts",
        key=PATH_KEY,
        value=folder,
        hint=hint,
    )


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
