"""Files that stand for classes: a folder of texts for each, or a file of texts for each."""

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import chain, islice, takewhile
from pathlib import Path

from src.core.formatting import format_python_command, format_quantity
from src.core.user_errors import UserError
from src.data.reading.archives import is_archive
from src.data.reading.data_path import find_pattern_folder, is_pattern, list_matches
from src.data.reading.decoding import InputFile, read_text_lines
from src.data.reading.encodings import choose_encoding
from src.data.reading.file_names import (
    PATH_KEY,
    SplitFiles,
    abbreviate_names,
    find_split_folder,
    infer_format,
    is_readme,
    list_folders,
)
from src.data.reading.parallel_files import find_label_file_errors

# Formats of files whose rows have columns.
TABLE_KINDS = ("csv", "tsv", "jsonl", "parquet", "xlsx")
# The folder of aclImdb for reviews without a label; it is no class.
UNLABELLED_FOLDER = "unsup"
# Files with these endings are no texts, and those with the ending of another format neither.
_OTHER_SUFFIXES = frozenset(
    (".pdf", ".doc", ".docx", ".rtf", ".xls", ".odt", ".png", ".jpg", ".jpeg", ".gif", ".pyc")
)
# So an article begins in what WikiExtractor writes: AA/wiki_00, AA/wiki_01, AB/wiki_00, ...
ARTICLE_BEGIN = "<doc id="
_ARTICLE_FOLDER = re.compile("[A-Z]{2}")
# Of so many lone files it is asked whether they name others.
_MOST_INDICES = 20
# A folder inside that of a class which is only a part of it.
_PART_NAME = re.compile(r"(fold|part|batch|chunk|set|vol)?[-_. ]?\d+", re.IGNORECASE)
# A file with so many lines that are not blank is hardly one text, if it is all that a class has.
_LINES_OF_A_LIST = 10


def has_class_folders(folder: Path, names: Mapping[str, str]) -> bool:
    """Whether sub-folders of texts are classes: those inside a split's folder, or two or more
    where no other data are. Texts are files of any ending that is not that of another format.
    """
    parts = [part for name in names.values() if (part := find_split_folder(folder, name))]
    if not parts:
        if any(infer_format(file) for file in _list_files(folder) if not is_readme(file)):
            return False
        inner = list_folders(folder)
        # beside files that say nothing, folders of texts must be sure to be some
        sure = any(not is_readme(one) for one in _list_files(folder))
        # files of other endings are texts only where none is called .txt
        named = any(any(_iter_class_texts(one, ["text"])) for one in inner)
        kinds = ["text"] if sure or named else None
        classes = [one for one in inner if any(_iter_class_texts(one, kinds))]
        return len(classes) > 1 and not all(map(_is_named_part, classes))
    return any(
        any(_iter_class_texts(inner))
        for part in parts
        if not any(infer_format(file) not in ("text", None) for file in _list_files(part))
        for inner in list_folders(part)
    )


def find_deeper_class_folders(folder: Path, names: Mapping[str, str]) -> list[Path]:
    """The folders inside a folder that hold class folders, at most three levels down; none inside
    others of them.
    """
    found: list[Path] = []
    for level in range(1, 4):
        inner = [one for one in sorted(folder.glob("*/" * level)) if not one.name.startswith(".")]
        found += [one for one in inner if has_class_folders(one, names)]
        if found:
            break
    return found


def find_class_folders(
    folder: Path, names: Mapping[str, str], labelled: bool, *, deep: bool = False
) -> SplitFiles:
    """Find one folder per class: inside the splits' folders, else in `folder`, as "train". Where no
    text lies in such a folder itself, all those below it are of its class (`deep`).

    Raises:
        UserError: there is none.
    """
    parts = _find_parts(folder, names)
    files: dict[str, tuple[InputFile, ...]] = {}
    passed_over: list[str] = []
    for split, part in parts.items():
        found: list[InputFile] = []
        # files of other endings are texts only where none is called .txt
        named = any(any(_iter_class_texts(inner, ["text"], deep)) for inner in list_folders(part))
        for inner in list_folders(part):
            texts = list(_iter_class_texts(inner, ["text"] if named else None, deep))
            if labelled and inner.name == UNLABELLED_FOLDER:
                passed_over += _count_passed(folder, inner, texts, "")
                continue
            passed_over += [] if deep else _describe_deeper(folder, inner)
            others = [file for file in _list_files(inner) if file not in set(texts)]
            passed_over += _count_passed(folder, inner, others, " of other kinds")
            label = inner.name if labelled else None
            found += [InputFile(path, str(path.relative_to(folder)), label) for path in texts]
        if found:
            files[split] = tuple(found)
        if beside := _list_files(part):
            passed_over.append(f"files beside the class folders: {_name_files(folder, beside)}")
    may_be_classes = [inner for part in parts.values() for inner in list_folders(part)]
    if parts and not files and not deep and not all(map(is_part_folder, may_be_classes)):
        return find_class_folders(folder, names, labelled, deep=True)
    if parts and not files:
        raise UserError(
            "no folders of texts here",
            key=PATH_KEY,
            value=folder,
            hint="data.source.format=folders expects some",
        )
    return SplitFiles("folders", files, passed_over=tuple(passed_over))


def find_class_files(folder: Path, names: Mapping[str, str], labelled: bool) -> SplitFiles:
    """Find one file per class, such as rt-polarity.pos and rt-polarity.neg: inside the splits'
    folders, else in `folder`, as "train", or as the splits that their names say (test.pos).

    What the names of a split's files do not share names their classes. In sub-folders of the class
    (pos/a.txt, neg/a.txt) the folder does. Where no file is one of texts, tables of one format are
    taken (True.csv and Fake.csv), and the layout has their format.

    Of files that match a pattern each is that of a class.

    Raises:
        UserError: there are fewer than two.
    """
    if is_pattern(folder):
        return _find_matching_classes(folder, names, labelled)
    files: dict[str, tuple[InputFile, ...]] = {}
    passed_over: list[str] = []
    kind = _find_table_format(folder, names)
    kinds = None if kind is None else [kind]
    by_name = _find_split_texts(folder, names, kinds)
    for split, part in (dict.fromkeys(by_name, folder) or _find_parts(folder, names)).items():
        texts = by_name.get(split) or [
            file for file in _iter_texts(part, kinds) if not is_readme(file)
        ]
        labels = find_own_parts([file.name for file in texts])
        inner = [] if texts else [one for one in list_folders(part) if any(_iter_texts(one, kinds))]
        for class_folder in inner:
            own = list(_iter_texts(class_folder, kinds))
            texts += own
            labels += [class_folder.name] * len(own)
        if len(set(labels)) < 2:
            found = abbreviate_names(sorted(entry.name for entry in part.iterdir()))
            raise UserError(
                f"fewer than two files of texts in {part}",
                key="data.source.format",
                value="class_files",
                expected="one for each class",
                found=found or "nothing",
            )
        files[split] = tuple(
            InputFile(path, str(path.relative_to(folder)), label if labelled else None)
            for path, label in zip(texts, labels, strict=True)
        )
        taken = {*texts, *(file for others in by_name.values() for file in others)}
        beside = [file for file in _list_files(part) if file not in taken]
        if beside and not (by_name and passed_over):
            passed_over.append(f"files beside those of the classes: {_name_files(folder, beside)}")
    return SplitFiles(kind or "class_files", files, passed_over=tuple(passed_over))


def _find_matching_classes(pattern: Path, names: Mapping[str, str], labelled: bool) -> SplitFiles:
    """The files that match a pattern, each of the class that its folder says, or its own name where
    all lie in one; of the splits that their names say, or of train.
    """
    root = find_pattern_folder(pattern)
    texts = [file for file in list_matches(pattern) if not is_readme(file)]
    kinds = {infer_format(file) for file in texts}
    is_table = len(kinds) == 1 and kinds <= {*TABLE_KINDS}
    if len(texts) < 2 or not (is_table or kinds <= {"text", None}):
        raise UserError(
            "fewer than two files, or files of several formats",
            key=PATH_KEY,
            value=pattern,
            hint="data.source.format=class_files expects one for each class",
        )
    files: dict[str, tuple[InputFile, ...]] = {}
    for split, part in (_part_by_names(texts, names) or {"train": texts}).items():
        folders = [str(file.parent.relative_to(root)) for file in part]
        in_one = len(set(folders)) == 1
        labels = find_own_parts([file.name for file in part]) if in_one else folders
        files[split] = tuple(
            InputFile(path, str(path.relative_to(root)), label if labelled else None)
            for path, label in zip(part, labels, strict=True)
        )
    wanted = {split: part for split, part in files.items() if split in names}
    return SplitFiles(str(kinds.pop()) if is_table else "class_files", wanted)


def _find_table_format(folder: Path, names: Mapping[str, str]) -> str | None:
    """The format of the files in a folder and in those of its splits, if all that are data are
    tables of one format; None else.
    """
    parts = {folder, *_find_parts(folder, names).values()}
    inside = [file for part in parts for file in _list_files(part) if not is_readme(file)]
    kinds = {infer_format(file) for file in inside}
    return kinds.pop() if len(kinds) == 1 and kinds <= set(TABLE_KINDS) else None


def is_part_folder(folder: Path) -> bool:
    """Whether a folder's name says that it is a part of the data and no class: fold1."""
    return _PART_NAME.fullmatch(folder.name) is not None


def _is_named_part(folder: Path) -> bool:
    """The same for a name that says it in a word; a number by itself may be a class."""
    return is_part_folder(folder) and folder.name[0].isalpha()


def may_be_class_files(folder: Path) -> bool:
    """Whether a folder holds two or more files of texts and no other data."""
    texts = [file for file in _iter_texts(folder) if not is_readme(file)]
    return len(texts) > 1


def find_list_errors(layout: SplitFiles, encodings: Sequence[str]) -> Iterator[UserError]:
    """The error of class folders that seem to hold lists of texts and no texts: one file for each
    class, of many lines; and that of texts of which one seems to be a list of labels.
    """
    yield from find_label_file_errors(layout, encodings)
    files = layout.files.get("train", ())
    labels = [file.label for file in files]
    one_file_each = len(set(labels)) == len(labels) > 0
    if layout.format == "folders" and all(map(_ARTICLE_FOLDER.fullmatch, filter(None, labels))):
        yield from _find_article_errors(files)
    counts = Counter(labels)
    if layout.format == "folders":
        yield from _find_index_errors([file for file in files if counts[file.label] == 1])
    if layout.format != "folders" or None in labels or not one_file_each:
        return
    for file in files:
        encoding = choose_encoding(file, encodings).name
        lines = (line for line in read_text_lines(file, encoding) if line.strip())
        if len(list(islice(lines, _LINES_OF_A_LIST))) < _LINES_OF_A_LIST:
            return
    yield UserError(
        f"every class is one file of many lines ({files[0].name}), which would be one text",
        key=PATH_KEY,
        hint="data.source.format=class_files takes each line for a text",
    )


def _find_index_errors(files: Sequence[InputFile]) -> Iterator[UserError]:
    """The error of a file that is no text: its lines are labels and the files that have these, as
    the index of TREC's mails.
    """
    for file in files[:_MOST_INDICES]:
        lines = islice(read_text_lines(file, "latin-1"), _LINES_OF_A_LIST)
        words = [line.split() for line in lines if line.strip()]
        folder = file.path.parent
        if words and all(len(one) == 2 and (folder / one[1]).is_file() for one in words):
            program = (
                "import json, pathlib; [print(json.dumps(dict(label=label, text=pathlib.Path("
                f"{str(folder)!r}, name).read_text('latin-1')))) for label, name in map(str.split, "
                f"open({str(file.path)!r}))]"
            )
            yield UserError(
                "its lines are labels and the names of files that have them",
                where=file.name,
                key=PATH_KEY,
                hint=f"{format_python_command(program)} > train.jsonl writes a table of them, and "
                "{key}=train.jsonl reads it",
            )


def _find_article_errors(files: Sequence[InputFile]) -> Iterator[UserError]:
    """The error of folders whose files are what WikiExtractor writes, which are no classes."""
    begins = [next(read_text_lines(file, "latin-1"), "") for file in files[:6] if file.label]
    if begins and all(begin.startswith(ARTICLE_BEGIN) for begin in begins):
        folder = files[0].path.parent
        yield UserError(
            f"{files[0].name} holds articles of WikiExtractor, whose folder {folder.name} is no "
            "class",
            key=PATH_KEY,
            value=folder.parent,
            hint=f"python -m src.look {PATH_KEY}={folder.parent} gives the command that reads them",
        )


def _find_parts(folder: Path, names: Mapping[str, str]) -> dict[str, Path]:
    """The folder of each split; where none has one, `folder` is train."""
    parts = {
        split: part for split, name in names.items() if (part := find_split_folder(folder, name))
    }
    return parts if parts or "train" not in names else {"train": folder}


def _find_split_texts(
    folder: Path, names: Mapping[str, str], kinds: Sequence[str | None] | None
) -> dict[str, list[Path]]:
    """The files of texts of each split whose name stands in theirs, as in train.pos, train.neg,
    test.pos and test.neg; none where train has no two of them.
    """
    texts = [file for file in _iter_texts(folder, kinds) if not is_readme(file)]
    return _part_by_names(texts, names)


def _part_by_names(texts: Sequence[Path], names: Mapping[str, str]) -> dict[str, list[Path]]:
    found = {
        split: [
            file for file in texts if name.casefold() in re.split("[._-]", file.name.casefold())
        ]
        for split, name in names.items()
    }
    found = {split: files for split, files in found.items() if len(files) > 1}
    return {} if "train" in names and "train" not in found else found


def _list_files(folder: Path) -> list[Path]:
    return sorted(
        file for file in folder.iterdir() if file.is_file() and not file.name.startswith(".")
    )


def _iter_texts(folder: Path, kinds: Sequence[str | None] | None = None) -> Iterable[Path]:
    """Files of texts; `kinds` are their formats by name, None one that no name has."""
    return (
        file
        for file in _list_files(folder)
        if infer_format(file) in (kinds or ("text", None))
        and file.suffix.lower() not in _OTHER_SUFFIXES
        and not is_archive(file)
    )


def _iter_class_texts(
    folder: Path, kinds: Sequence[str | None] | None = None, deep: bool = False
) -> Iterable[Path]:
    """The texts of a class; those in its parts too, if it has such folders (fold1, fold2), or in
    all folders below it (`deep`).
    """
    inner = [] if is_part_folder(folder) else _list_numbered_parts(folder)
    if deep:
        inner = sorted(one for one in folder.rglob("[!._]*") if one.is_dir())
    return chain.from_iterable(_iter_texts(one, kinds) for one in (folder, *inner))


def _list_numbered_parts(folder: Path) -> list[Path]:
    return [inner for inner in list_folders(folder) if is_part_folder(inner)]


def find_own_parts(names: Sequence[str]) -> list[str]:
    """What each name has for itself: "pos" and "neg" of "rt-polarity.pos" and "rt-polarity.neg",
    "plot" and "quote" of "plot.tok" and "quote.tok". Names are parted at signs.
    """
    parts = [re.split(r"([^0-9A-Za-z]+)", name) for name in names]
    begin = _count_shared(parts)
    end = _count_shared([part[begin:][::-1] for part in parts])
    own = ["".join(part[begin : len(part) - end]).strip("._- ") for part in parts]
    return own if all(own) and len(set(own)) == len(own) else list(names)


def _count_shared(lists: Sequence[Sequence[str]]) -> int:
    """How many entries at their beginnings all lists have in common."""
    return sum(
        1 for _ in takewhile(lambda entries: len(set(entries)) == 1, zip(*lists, strict=False))
    )


def _describe_deeper(root: Path, folder: Path) -> Iterator[str]:
    parts = _list_numbered_parts(folder)
    for deeper in [inner for inner in list_folders(folder) if inner not in parts]:
        count = sum(file.is_file() for file in deeper.rglob("*"))
        if count:
            yield f"{format_quantity(count, 'file')} in {deeper.relative_to(root)}"


def _count_passed(root: Path, folder: Path, files: Sequence[Path], kind: str) -> Iterator[str]:
    if files:
        yield f"{format_quantity(len(files), 'file')}{kind} in {folder.relative_to(root)}"


def _name_files(root: Path, files: Sequence[Path]) -> str:
    return abbreviate_names([str(file.relative_to(root)) for file in files])
