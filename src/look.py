"""What is in files, before a run: `python -m src.look data.source.path=reviews.csv`.

It shows files, columns, rows, labels and lengths, and the command that trains on them. Columns
that are not named, or named wrongly, are guessed. Nothing is trained and nothing is written.

data.source.KEY=VALUE   path and any other option of data.source, as for src.run; without `label`
                        or `text` these columns are guessed
data.tokenizer.name_or_path=FOLDER   a tokenizer's folder: how long texts are in its tokens, and
                        how many of these are unknown
data.label_names, label_values, label_map, data.cleaning.KEY, data.split.KEY,
model.encoder.name_or_path   are kept in the command
"""

import shlex
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import fields, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

if __package__ is None:
    # typed as a file where the program is not installed: python src/look.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import run_command_line
from src.config.home_folder import expand_home_folders
from src.config.proposed_command import parse_typed_value, propose_command
from src.core.formatting import truncate_end
from src.core.printing import print_line
from src.core.user_errors import UserError, format_suggestion
from src.data.contents_notices import (
    LINE_WIDTH,
    describe_columns,
    describe_contents,
    describe_markup,
    describe_rejected,
    describe_unread_values,
    wrap_line,
)
from src.data.preparation.label_map import LabelMap, build_label_map, read_label_names
from src.data.reading.column_guesses import (
    describe_doubts,
    guess_columns,
    list_columns,
)
from src.data.reading.column_profiles import ColumnProfile, sample_columns
from src.data.reading.data_path import find_path
from src.data.reading.decoding import InputFile
from src.data.reading.file_contents import SAMPLE_TEXTS, FileContents, read_contents
from src.data.reading.file_formats import find_content_error
from src.data.reading.file_guesses import guess_file_options
from src.data.reading.file_names import SplitFiles
from src.data.reading.label_guesses import describe_label_columns, guess_task
from src.data.reading.label_name_guesses import (
    find_names_file,
    guess_label_options,
    guess_label_reading,
)
from src.data.reading.parted_tables import check_parted_tables
from src.data.reading.readers import ColumnSelection
from src.data.reading.sources import Source
from src.data.reading.split_guesses import find_unlabelled_splits, guess_split_column
from src.data.reading.table_guesses import (
    begins_with_sentence,
    find_repeated_names,
    guess_other_names,
    guess_table_options,
)
from src.data.reading.word_tables import describe_word_table
from src.data.rows.odd_labels import describe_odd_labels
from src.data.tokenization.sample_lengths import describe_sample

_PREFIX = "data.source."
_COLUMNS = ("text", "pair", "label")
_TOKENIZER = "data.tokenizer.name_or_path"
_CLEANING = "data.cleaning."
_DIVISION = "data.split."
# Kept in the proposed command as they were typed.
_KEPT = (
    _TOKENIZER,
    "data.label_names",
    "data.label_values",
    "data.label_map",
    "model.encoder.name_or_path",
)
# Whatever was typed of these for a run, what fits is proposed anew.
_PASSED_OVER = (
    "+experiment",
    "data.task",
    "model",
    "callbacks.checkpoint.monitor",
    "callbacks.checkpoint.mode",
)


def main(arguments: Sequence[str]) -> int:
    """Show what the files hold; returns the exit code."""
    return run_command_line(arguments, _handle_arguments, help_text=__doc__, option_names={})


def _handle_arguments(arguments: Sequence[str]) -> int:
    kept = [one for one in arguments if _is_kept(one)]
    own = [one for one in arguments if one not in kept]
    typed = _parse_options(expand_home_folders(own))
    finding, layout, added = _settle_reading(typed)
    others = {key: value for key, value in typed.items() if key not in _COLUMNS} | added
    first_file, *further = next(iter(layout.files.values()))
    style = finding.reading_options(layout.format).style
    if not {"text", "label"} <= typed.keys():
        check_parted_tables(layout, style, None)
    profiles = sample_columns(finding, first_file, layout.format, deep=True, beside=further)
    columns = _choose_columns(layout.format, profiles, typed)
    if columns is not None and others.get("format") == "class_files":
        columns = columns._replace(label="label")
    if profiles:
        _print_lines(describe_columns(profiles))
    _print_notes(describe_unread_values(profiles, columns))
    if lines := list(describe_word_table(profiles, first_file, style)):
        _print_wrapped(lines[0])
        _print_lines(lines[1:])
        return 0
    if columns is None:
        also = f"; or is it in {', '.join(layout.passed_over[:3])}?" * bool(layout.passed_over)
        _print_wrapped(f"no column looks like a text: name one with data.source.text=COLUMN{also}")
        return 0
    chosen = {key: column for key, column in columns._asdict().items() if column is not None}
    options = {**others, **chosen}
    guessed = [key for key in chosen if key not in typed or typed[key] != chosen[key]]
    added |= guess_label_reading(options, profiles, columns)
    if layout.files.keys() == {"train"}:
        added |= guess_split_column(Source(**{**options, **added}), profiles)
    for split, why in find_unlabelled_splits(Source(**{**options, **added}), layout):
        _print_wrapped(f"note: {why}; data.source.{split}=null leaves it out")
        added[split] = None
    source = Source(**{**options, **added})
    source.check()
    if layout.format == "text" and not {"document", "heading"} & others.keys():
        _print_class_files(layout)
    typed_names = _read_names(kept)
    label_map = _read_label_map(kept)
    contents = read_contents(
        source,
        typed_names or source.find_class_names(),
        None if label_map is None else label_map.map_labels,
    )
    _print_contents(contents, source, kept)
    if label_map is not None:
        _print_notes(label_map.describe())
    label = next((one for one in profiles if one.name == columns.label), None)
    task = "multi_label" if contents.has_label_sets else _choose_task(columns, label)
    task = task if contents.tags is None else "token_classification"
    if task == "regression" and label_map is not None:
        # its names are those of classes
        task = "classification"
    if task == "classification":
        _print_notes(describe_odd_labels(contents.labels))
    if profiles:
        _print_notes(describe_doubts(profiles, columns, guessed))
        _print_notes(describe_label_columns(profiles, columns))
        _print_notes(describe_rejected(profiles, source.select_columns()))
    _print_guesses("guessed columns", {key: chosen[key] for key in guessed} if profiles else {})
    _print_guesses("guessed", added)
    if task != "regression":
        beside = [find_path(typed["path"]) / name for name in layout.passed_over]
        kept = _add_label_options(kept, contents, typed_names, beside)
    proposed = {**others, **(chosen if profiles else {}), **added}
    if "train" not in layout.files:
        _print_wrapped(f"nothing there is train; {first_file.name} could be taken for it:")
        proposed["path"] = str(first_file.path)
    print_line(f"to train on it ({task}):")
    has_entities = contents.tags is None or contents.tags.are_entities()
    command = propose_command(task, proposed, kept, has_entities=has_entities)
    print_line(f"  {command}")
    return 0


def _settle_reading(typed: Mapping[str, Any]) -> tuple[Source, SplitFiles, dict[str, Any]]:
    """How the files are read, before their columns are chosen: a source that finds columns, its
    files, and the options that were guessed.
    """
    if "path" not in typed:
        raise _missing_path_error(typed)
    others = {key: value for key, value in typed.items() if key not in _COLUMNS}
    added = guess_file_options(others)
    others |= added
    text = "text" if others.get("header", True) or others.get("columns") else 0
    # any label asks for the labels of formats without columns
    label_options = {key: None for key in others if key.startswith("label_")}
    finding = Source(**{**others, **label_options, "split_column": None}, text=text, label=text)
    layout = finding.list_files()
    _print_layout(layout, typed["path"])
    first_file = next(iter(layout.files.values()))[0]
    if (error := find_content_error(first_file, layout.format)) is not None:
        raise error
    style = _guess_style(finding, first_file, layout.format, typed)
    positions = {"text": 0, "label": 0} if "header" in style else {}
    finding = replace(finding, **{**style, **positions})
    renamed = _guess_names(finding, first_file, layout.format, typed)
    return replace(finding, **renamed), layout, added | style | renamed


def _is_kept(argument: str) -> bool:
    return argument.partition("=")[0] in _KEPT or argument.startswith((_CLEANING, _DIVISION))


def _print_contents(contents: FileContents, source: Source, kept: Sequence[str]) -> None:
    _print_lines(describe_contents(contents))
    _print_notes(contents.remarks)
    for line in source.describe_unread():
        _print_wrapped(line)
    for argument in kept:
        if argument.startswith(f"{_TOKENIZER}="):
            _print_tokens(argument.partition("=")[2], contents.sample_texts)
    if not any(one.startswith(f"{_CLEANING}html=") for one in kept):
        _print_notes(describe_markup(contents.sample_texts))


def _print_guesses(what: str, options: Mapping[str, Any]) -> None:
    if options:
        shown = [f"{key}={'null' if value is None else value}" for key, value in options.items()]
        _print_wrapped(f"{what}: {', '.join(shown).replace(chr(39), '')}")


def _print_layout(layout: SplitFiles, path: str) -> None:
    """Show the files of each split; raises UserError if there is none."""
    print_line(f"format: {layout.format}")
    for split, files in layout.files.items():
        names = ", ".join(file.name for file in files[:3]) + ", ..." * (len(files) > 3)
        print_line(f"{split}: {truncate_end(names, LINE_WIDTH - len(split) - 2)}")
    if not layout.files:
        raise UserError("no files to read", key="data.source.path", value=path)


def _guess_names(
    finding: Source, file: InputFile, format: str, typed: Mapping[str, Any]
) -> dict[str, Any]:
    """Names for the columns, where several have one, which is told."""
    repeated = find_repeated_names(finding, file, format)
    named = {} if "columns" in typed else guess_other_names(finding, file, format)
    for name in repeated:
        hint = f"the second is {name}_2 here" if named else "rename one to take it"
        _print_wrapped(f"note: several columns are called {name!r}; {hint}")
    return named


def _add_label_options(
    kept: Sequence[str],
    contents: FileContents,
    names: Sequence[str | float] | None,
    beside: Sequence[Path],
) -> list[str]:
    """What was typed of labels, with what is missing there.

    Args:
        beside: files that are not read, of which one may hold the names.
    """
    if names is None and (file := find_names_file(beside, contents.labels)) is not None:
        _print_wrapped(f"note: {file.name} has a line for each label, and is taken for their names")
        kept = [*kept, f"data.label_names={file}"]
        names = read_label_names(str(file))
    typed = dict(one.split("=", 1) for one in kept if "=" in one)
    missing, problem = guess_label_options(contents, names, typed)
    if problem is not None:
        _print_wrapped(f"note: {problem}")
    others = [one for one in kept if one.partition("=")[0] not in missing]
    return [*others, *(f"{key}={value}" for key, value in missing.items())]


def _print_tokens(folder: str, texts: Sequence[str]) -> None:
    is_part = len(texts) == SAMPLE_TEXTS
    _print_wrapped(describe_sample(folder, texts, key=_TOKENIZER, is_part=is_part))


def _guess_style(
    finding: Source, file: InputFile, format: str, typed: Mapping[str, Any]
) -> dict[str, Any]:
    """The options without which a table is not read as it is written, but for those typed."""
    style = guess_table_options(finding, file, format)
    named = [one for key in _COLUMNS for one in list_columns(typed.get(key)) if one is not None]
    if named and all(isinstance(one, int) for one in named) and finding.header:
        # columns without names have positions
        if finding.columns is None and begins_with_sentence(finding, file, format):
            style["header"] = False
    elif named:
        style.pop("header", None)
    return {key: value for key, value in style.items() if key not in typed}


def _print_notes(sentences: Iterable[str]) -> None:
    for sentence in sentences:
        _print_wrapped(f"note: {sentence}")


def _print_class_files(layout: SplitFiles) -> None:
    if len(layout.files.get("train", ())) > 1:
        _print_wrapped(
            "note: where every file holds the texts of one class, data.source.format=class_files "
            "takes these for labels"
        )


def _missing_path_error(typed: Mapping[str, Any]) -> UserError:
    if typed.get("hub") is None:
        return UserError("must be given", key="data.source.path", expected="a file or a folder")
    return UserError(
        "a data set of the hub is read by a run alone",
        key="data.source.hub",
        value=typed["hub"],
        hint="give a file or a folder: data.source.path=FILE; the columns of a data set stand on "
        f"its page, https://huggingface.co/datasets/{typed['hub']}",
    )


def _parse_options(arguments: Sequence[str]) -> dict[str, Any]:
    """The options of `data.source` that were typed, by their last part; their values are read as
    YAML reads them.
    """
    import yaml

    names = [field.name for field in fields(Source)]
    options: dict[str, Any] = {}
    for argument, following in pairwise([*arguments, ""]):
        key, equals, value = argument.partition("=")
        # as it is typed for programs with flags, or for src.predict
        meant = key.lstrip("-").replace("-", "_").rpartition(".")[2].replace("file", "path")
        if meant in names and key != f"{_PREFIX}{meant}" and (equals or key.startswith("-")):
            typed = f"{_PREFIX}{meant}={value if equals else following or 'VALUE'}"
            raise UserError(f"{key!r} is not an option", hint=f"it is typed {shlex.quote(typed)}")
        if key in _PASSED_OVER:
            continue
        if not equals and not argument.startswith("-"):
            raise UserError(
                f"{argument!r} is not an option",
                hint=f"files are named as {shlex.quote(f'{_PREFIX}path={argument}')}",
            )
        if not equals or not key.startswith(_PREFIX) or key.removeprefix(_PREFIX) not in names:
            raise UserError(
                f"{argument!r} is not an option",
                hint=format_suggestion(key, [f"{_PREFIX}{name}" for name in names]),
            )
        try:
            options[key.removeprefix(_PREFIX)] = yaml.safe_load(value)
        except yaml.YAMLError:
            options[key.removeprefix(_PREFIX)] = value
    if "path" in options:
        options["path"] = str(options["path"])
    return options


def _choose_columns(
    format: str, profiles: Sequence[ColumnProfile], typed: Mapping[str, Any]
) -> ColumnSelection | None:
    if not profiles:
        return ColumnSelection("text", None, None if format == "text" else "label")
    known = [profile.name for profile in profiles]
    for key in _COLUMNS:
        for column in list_columns(typed.get(key)):
            if column is not None and column not in known:
                _print_wrapped(f"data.source.{key}={column}: there is no such column")
    named = {key: typed[key] for key in _COLUMNS if typed.get(key) is not None}
    return guess_columns(profiles, named)


def _choose_task(columns: ColumnSelection, label: ColumnProfile | None) -> str:
    if label is None:
        return "masked_lm" if columns.label is None else "classification"
    return guess_task(label)


def _read_names(kept: Sequence[str]) -> Sequence[str | float] | None:
    """The names of labels that were typed."""
    import yaml

    typed = dict(one.split("=", 1) for one in kept if "=" in one).get("data.label_names")
    names = None if typed is None else yaml.safe_load(typed)
    return read_label_names(names) if isinstance(names, str) else names


def _read_label_map(kept: Sequence[str]) -> LabelMap | None:
    """The map of labels that was typed."""
    typed = next((one for one in kept if one.startswith("data.label_map=")), None)
    return None if typed is None else build_label_map(parse_typed_value(typed))


def _print_wrapped(line: str) -> None:
    print_line(wrap_line(line))


def _print_lines(lines: Iterable[str]) -> None:
    for line in lines:
        print_line(line)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
