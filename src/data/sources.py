"""Where rows come from: a file, a folder, or a data set of the Hugging Face hub, read as one stream of `Record`s."""

import functools
import hashlib
import json
import re
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from encodings.aliases import aliases
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

from src.data import formats
from src.data.decoding import File
from src.data.formats import Columns, Record
from src.data.layout import Layout, lay_out, missing
from src.terms.bounds import checked
from src.terms.fault import Fault, Faults, suggestion

if TYPE_CHECKING:
    from datasets import DatasetDict

HUB_SECONDS = 15.0  # what the hub has to answer the first question; then it counts as not to be reached
SPLITS = ("train", "validation", "test")
_RULES = 1  # part of every fingerprint: count up when the same bytes are read into other records
_KNOWN_AS = {"validation": ("dev", "valid", "val", "development"), "train": ("training",), "test": ("testing",)}


@checked
@dataclass(frozen=True, kw_only=True)
class Source:
    """Rows of text, with a second text and a label where there are some. Building it reads nothing.

    `path` is a file or a folder (`src/data/layout.py` says which files make which split) and goes before `hub`, a data
    set's name such as "stanfordnlp/imdb", with its `config` and `revision`.

    `text`, `pair` and `label` are columns: names, or positions from 0 where `header` is false. For `folders` and
    `label_first`, which have no columns, any `label` asks for the label, and null leaves it. In `folders` a class
    called "unsup" (aclImdb) is passed over where labels are asked for.

    `quoting: false` makes quotes in CSV and TSV ordinary characters. Plain text has one document per `line`,
    `paragraph` or `file`; with `heading`, a regular expression, one from each matching line to the next.

    `train`, `validation` and `test` say what each split is called at the source; null leaves it alone.
    """

    path: str | None = None
    hub: str | None = None
    config: str | None = None
    revision: str | None = None
    format: Literal["auto", "csv", "tsv", "jsonl", "parquet", "text", "folders", "label_first"] = "auto"
    text: str | int = "text"
    pair: str | int | None = None
    label: str | int | None = None
    encoding: str = "utf-8"
    header: bool = True
    quoting: bool = True
    document: Literal["line", "paragraph", "file"] = "line"
    heading: str | None = None
    train: str | None = "train"
    validation: str | None = "validation"
    test: str | None = "test"

    def __post_init__(self) -> None:
        faults = [*self._column_faults()]
        try:
            "a".encode(self.encoding)
        except (LookupError, UnicodeError):
            known = {each.replace("_", "-") for each in aliases.values() if not each.endswith(("_codec", "rot_13"))}
            hint = suggestion(self.encoding, known)
            common = "common ones: utf-8, utf-16, latin-1, cp1252"
            ending = hint if hint.startswith("did") else common
            faults.append(Fault(f"data.source.encoding={self.encoding}: no such text encoding; {ending}"))
        try:
            re.compile(self.heading or "")
        except re.error as error:
            faults.append(Fault(f"data.source.heading={self.heading}: not a regular expression ({error})"))
        names = list(self._names().values())
        for name in sorted({each for each in names if names.count(each) > 1}):
            faults.append(Fault(f"data.source: two splits are both called '{name}' (train, validation, test)"))
        if faults:
            raise Faults(faults)

    def _column_faults(self) -> Iterator[Fault]:
        for key, column in self._columns().wanted().items():
            if isinstance(column, int) and self.header:
                yield Fault(
                    f"data.source.{key}={column}: a position, but the columns have names; "
                    "give the name, or data.source.header=false for a table without a header"
                )
            if not self.header and (isinstance(column, str) or column < 0):
                yield Fault(
                    f"data.source.{key}={column}: data.source.header=false leaves columns without names; "
                    "expected a position, counted from 0"
                )

    @property
    def name(self) -> str:
        """What the data set is called: by its hub name, or after its file or folder."""
        return Path(self.path).expanduser().resolve().name if self.path else str(self.hub)

    def check(self) -> None:
        """Raise a `Fault` for what can be seen without reading whole files; the hub is not asked."""
        if self.path is None:
            if self.hub is None:
                raise Fault(
                    "data.source has neither path nor hub; give "
                    "data.source.path=FILE_OR_FOLDER or data.source.hub=OWNER/NAME"
                )
            return
        layout = self._layout()
        self._refuse_absent(layout)
        without = {"text": ("pair", "label"), "folders": ("pair",), "label_first": ("pair",)}.get(layout.format, ())
        faults = [
            Fault(f"data.source.{key}={getattr(self, key)}: {layout.format} files have no {key}; give null")
            for key in without
            if getattr(self, key) is not None
        ]
        for files in layout.files.values():
            header = self._header(files[0], layout.format)
            headed = layout.format in ("csv", "tsv") and self.header
            if not header and (headed or layout.format == "jsonl"):
                faults.append(Fault(f"{files[0].name}: no rows in it"))
            elif header and (fault := formats.lacking(files[0].name, self._columns(), header, headed=headed)):
                faults.append(fault)
        if faults:
            raise Faults(faults)

    def splits(self) -> tuple[str, ...]:
        """Which of "train", "validation" and "test" the source has."""
        if self.path is not None:
            there = set(self._layout().files)
        else:
            on_hub = list(self._hub())
            there = {split for split, name in self._names().items() if name in on_hub}
            for split, name in self._names().items():
                if split not in there and name != split:  # named by hand
                    raise Fault(f"data.source.{split}={name}: {self.hub} has no such split; {suggestion(name, on_hub)}")
        return tuple(split for split in SPLITS if split in there)

    def read(self, split: str) -> Iterator[Record]:
        """The rows of a split in their own order, streamed."""
        self._refuse_unknown(split)
        if self.path is None:
            yield from self._read_hub(self._names()[split])
            return
        layout = self._layout()
        for file in layout.files[split]:
            yield from formats.counted(self._records(file, layout.format), file.name)

    def fingerprint(self, split: str) -> str:
        """SHA-256, in hex, of a split's bytes and of the options that shape what is read out of them.

        The names of files and folders do not count, save for that of a class. A data set of the hub answers for itself.
        """
        self._refuse_unknown(split)
        options: dict[str, Any] = {"rules": _RULES, "columns": self._columns()}
        if self.path is None:
            part: Any = self._hub()[self._names()[split]]
            return _sha256({**options, "hub": self.hub, "fingerprint": part._fingerprint})
        layout = self._layout()
        for name in ("encoding", "header", "quoting", "document", "heading"):
            options[name] = getattr(self, name)
        contents = []
        for file in layout.files[split]:
            with file.path.open("rb") as stream:
                contents.append((file.label, hashlib.file_digest(stream, "sha256").hexdigest()))
        return _sha256({**options, "format": layout.format, "contents": contents})

    def _columns(self) -> Columns:
        return Columns(self.text, self.pair, self.label)

    def _names(self) -> dict[str, str]:
        """Our name of each split -> the source's, for those that are not turned off."""
        return {split: name for split in SPLITS if (name := getattr(self, split)) is not None}

    def _layout(self) -> Layout:
        path = Path(str(self.path)).expanduser()
        if not str(self.path).strip():
            raise Fault("data.source.path is empty: expected a file or a folder")
        if "://" in str(self.path):
            raise Fault(f"data.source.path={self.path}: an address; download it first and give the file")
        if not path.exists():
            raise missing(path)
        return lay_out(path, self.format, self._names(), self.label is not None)

    def _refuse_absent(self, layout: Layout) -> None:
        """A split that was named by hand must be there, and one with a common other name must not be passed over."""
        folder = Path(str(self.path)).expanduser()
        if folder.is_file():
            return
        for split, name in self._names().items():
            if split in layout.files:
                continue
            if name != split:
                raise Fault(f"data.source.{split}={name}: no file and no folder in {self.path} is called so")
            others = lay_out(folder, layout.format, {each: each for each in _KNOWN_AS[split]}, False).files
            for other, files in others.items():
                raise Fault(
                    f"data.source.{split}={name}: {self.path} has none, but {files[0].name}; "
                    f"data.source.{split}={other} takes it, data.source.{split}=null leaves it"
                )

    def _refuse_unknown(self, split: str) -> None:
        if split not in (there := self.splits()):
            raise Fault(f"{self.path or self.hub} has no {split} split; it has: {', '.join(there) or 'none'}")

    def _header(self, file: File, format: str) -> list[str]:
        """The columns a file has; empty where it has none or does not name them."""
        if format == "parquet":
            return formats.parquet_names(file)
        if format == "jsonl":
            return formats.json_keys(file, encoding=self.encoding)
        if format in ("csv", "tsv") and self.header:
            separator = "," if format == "csv" else "\t"
            return formats.table_header(file, delimiter=separator, encoding=self.encoding, quoting=self.quoting)
        return []

    def _records(self, file: File, format: str) -> Iterator[Record]:
        columns, encoding = self._columns(), self.encoding
        match format:
            case "csv" | "tsv":
                delimiter = "," if format == "csv" else "\t"
                return formats.table(
                    file, columns, delimiter=delimiter, encoding=encoding, header=self.header, quoting=self.quoting
                )
            case "jsonl":
                return formats.json_lines(file, columns, encoding=encoding)
            case "parquet":
                return formats.parquet(file, columns)
            case "label_first":
                return formats.labelled_lines(file, encoding=encoding, labelled=self.label is not None)
            case "folders":
                return formats.documents(file, encoding=encoding, document="file", heading=None)
            case _:
                return formats.documents(file, encoding=encoding, document=self.document, heading=self.heading)

    def _hub(self) -> "DatasetDict":
        self.check()
        return _from_hub(str(self.hub), self.config, self.revision)

    def _read_hub(self, name: str) -> Iterator[Record]:
        from datasets import ClassLabel

        part = self._hub()[name].with_format(None)
        where, columns = f"{self.hub}, {name}", self._columns()
        if fault := formats.lacking(where, columns, part.column_names):
            raise fault
        unknown = -1 if isinstance(part.features.get(str(self.label)), ClassLabel) else None  # the hub's "no label"
        keep = [str(column) for column in columns.wanted().values()]
        for number, row in enumerate(part.select_columns(keep), start=1):
            if unknown is not None and row[str(self.label)] == unknown:
                row[str(self.label)] = None
            yield formats.record(columns, row, f"{where}, row {number}")


def _sha256(content: dict[str, Any]) -> str:
    return hashlib.sha256(json.dumps(content, sort_keys=True).encode()).hexdigest()


@functools.lru_cache(maxsize=1)
def _from_hub(name: str, config: str | None, revision: str | None) -> "DatasetDict":
    """A data set of the hub, downloaded, or out of the local cache where the hub does not answer.

    `datasets` by itself retries for half a minute without a network: one question with a time limit goes before it.
    """
    import datasets
    from huggingface_hub import HfApi, errors

    def ask() -> None:
        HfApi(datasets.config.HF_ENDPOINT).dataset_info(name, revision=revision, timeout=HUB_SECONDS)

    try:
        _within(HUB_SECONDS, ask)
    except (errors.RepositoryNotFoundError, errors.RevisionNotFoundError, errors.HFValidationError) as error:
        said = " ".join(str(error).split())
        raise Fault(f"data.source.hub={name} (data.source.revision={revision}): {said}") from error
    except Exception as error:
        return _from_cache(name, config, revision, f"{type(error).__name__}: {error}")
    try:
        return _loaded(name, config, revision)
    except (datasets.exceptions.DatasetNotFoundError, ValueError) as error:
        raise Fault(f"data.source.hub={name} (data.source.config={config}): {error}") from error


def _from_cache(name: str, config: str | None, revision: str | None, reason: str) -> "DatasetDict":
    import datasets

    offline = datasets.config.HF_HUB_OFFLINE
    datasets.config.HF_HUB_OFFLINE = True
    try:
        return _loaded(name, config, revision)
    except (OSError, ValueError) as error:
        raise Fault(
            f"data.source.hub={name}: {datasets.config.HF_ENDPOINT} cannot be reached ({reason}), and the local cache "
            f"does not help ({error}). Two ways out: connect to the internet; or give a folder with the files train, "
            "validation and test (.csv, .tsv, .jsonl or .parquet, the same columns): data.source.path=FOLDER"
        ) from error
    finally:
        datasets.config.HF_HUB_OFFLINE = offline


def _loaded(name: str, config: str | None, revision: str | None) -> "DatasetDict":
    """All splits; a revision that is asked for is the one that comes, also out of the cache, which does not look."""
    import datasets

    try:
        builder = datasets.load_dataset_builder(name, config, revision=revision)
    except RuntimeError as error:  # it is a script
        raise ValueError(f"{error}; the code that a data set brings is not run") from error
    if datasets.config.HF_HUB_OFFLINE and revision not in (None, builder.hash):
        raise ValueError(f"it has revision {builder.hash}, not {revision}")
    builder.download_and_prepare()
    return builder.as_dataset()


def _within(seconds: float, call: Callable[[], object]) -> None:
    """Call, and raise what it raises; `TimeoutError` after that many seconds, whatever a socket or name server does."""
    outcome: list[BaseException] = []

    def work() -> None:
        try:
            call()
        except BaseException as error:
            outcome.append(error)

    thread = threading.Thread(target=work, daemon=True)
    thread.start()
    thread.join(seconds)
    if thread.is_alive():
        raise TimeoutError(f"no answer in {seconds:g} seconds")
    if outcome:
        raise outcome[0]
