"""Layouts: which files of a folder are which split, and what is said where that is in doubt."""

import re
from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.reading.decoding import InputFile
from src.data.reading.file_names import add_other_names
from src.data.reading.format_guesses import guess_format
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord


def put(path: Path, content: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(content, encoding="utf-8")
    return path


def check_fault(path: Path, **options: object) -> str:
    """What is said of `path` before it is read."""
    with pytest.raises(UserError) as caught:
        Source(path=str(path), **options).check()  # type: ignore[arg-type]
    return str(caught.value)


@pytest.mark.parametrize(
    ("names", "options", "expected"),
    [
        (["train.csv", "test.csv", "other.csv"], {}, {"train": 1, "test": 1}),
        (["train-00001.csv", "train-00000.csv", "sts-test.csv"], {}, {"train": 2, "test": 1}),
        (["plain/train-0.csv", "plain/test-0.csv"], {}, {"train": 1, "test": 1}),
        (["train/a.csv", "train/b.csv", "test/a.csv"], {}, {"train": 2, "test": 1}),
        (
            ["train.csv", "train_more.csv", "dev.csv"],
            {"validation": "dev"},
            {"train": 1, "validation": 1},
        ),
        (["train.csv", "dev.csv"], {}, {"train": 1, "validation": 1}),
        (["train.csv", "Valid.csv", "dev.csv"], {"validation": None}, {"train": 1}),
        (["train.csv", "val/a.csv"], {}, {"train": 1, "validation": 1}),
        (["train.csv", "unsup.csv", "test.csv"], {"train": "unsup", "test": None}, {"train": 1}),
        (["reviews.csv", "README.md"], {}, {"train": 1}),
        (["corpus/a.txt", "corpus/b.txt"], {}, {"train": 2}),
        (["my_test_cases.csv"], {}, {"test": 1}),
        (["train.csv", "train/notes/a.csv"], {}, {"train": 1}),
    ],
)
def test_splits_of_a_folder(
    tmp_path: Path, names: list[str], options: dict[str, str | None], expected: dict[str, int]
) -> None:
    for name in names:
        put(tmp_path / name, f"text\n{name}\n" if name.endswith("csv") else name)
    source = Source(path=str(tmp_path), **options)  # type: ignore[arg-type]
    source.check()
    found = {
        split: [each.text for each in source.read_records(split)]
        for split in source.available_splits()
    }
    assert {split: len(texts) for split, texts in found.items()} == expected
    assert all(texts == sorted(texts) for texts in found.values())


@pytest.mark.parametrize(
    ("names", "options", "message"),
    [
        (
            ["train.csv", "dev.csv", "val.csv"],
            {},
            (
                "data.source.validation=validation: {0} has none, but dev.csv; "
                "data.source.validation=dev takes it, data.source.validation=null leaves it"
            ),
        ),
        (
            ["train.csv"],
            {"test": "tset"},
            "data.source.test=tset: no file and no folder in {0} is called so",
        ),
        (
            ["a.csv", "b.csv"],
            {},
            (
                "data.source.path={0}: no file carries the name of a split; found a.csv, b.csv; "
                "say which is which: data.source.train=NAME, or give one file: "
                "data.source.path=FILE, or all for train: 'data.source.path=\"{0}/*.csv\"'; "
                "data.source.format=class_files where every file holds the rows of one class"
            ),
        ),
        (
            ["train.csv", "train.jsonl"],
            {},
            "data.source.path={0}: files of several formats; data.source.format=NAME, one of csv, "
            "jsonl",
        ),
        (
            ["train.csv", "train.csv.gz"],
            {},
            "data.source.path: {0}/train.csv is there packed and unpacked; its rows would be read "
            "twice",
        ),
        (
            ["train-test.csv"],
            {},
            "data.source.path: {0}/train-test.csv is there in both train and test; its rows would "
            "be read twice",
        ),
        (
            ["de/train.csv", "en/train.csv"],
            {},
            "data.source.path={0}: 'train' stands in several folders; name one of them: {0}/de, "
            "{0}/en, "
            "or all: 'data.source.path=\"{0}/*/*.csv\"', with data.source.format=class_files where "
            "every folder is a class",
        ),
        (
            ["train.xyz"],
            {},
            (
                "data.source.path={0}: no readable file; expected .csv, .tsv, .jsonl, .ndjson, "
                ".json, .parquet, .xlsx, .xlsm, .txt, .tokens, .raw, .conll, .conllu, .bio, .iob, "
                ".iob2, each also with .gz, .bz2, .xz, .zip; found train.xyz; where names end "
                "otherwise: data.source.format=NAME, one of "
                "csv, tsv, jsonl, parquet, xlsx, text, folders, class_files, label_first, "
                "parallel, conll"
            ),
        ),
        ([], {}, "data.source.path={0}: the folder is empty"),
        (
            ["train.csv"],
            {"format": "folders"},
            "data.source.path={0}: no folders of texts here; data.source.format=folders "
            "expects some",
        ),
        (
            ["train.txt"],
            {"label": "stars"},
            "data.source.label=stars: text files have no label; give null, or "
            "data.source.format=label_first where lines begin with it, class_files where every "
            "file holds the texts of a class, conll where a line is a word and its tag, tsv or csv "
            "where it has columns",
        ),
    ],
)
def test_folders_that_leave_a_doubt(
    tmp_path: Path, names: list[str], options: dict[str, str], message: str
) -> None:
    for name in names:
        put(tmp_path / name, "text\nx\n")
    assert check_fault(tmp_path, **options) == message.format(tmp_path)


def put_reviews(root: Path) -> None:
    for part in ("train", "test"):
        put(root / part / "pos" / "0_9.txt", f"good {part}")
        put(root / part / "neg" / "0_2.txt", "bad\nvery bad")
        put(root / part / "urls_pos.txt", "http://example.org")
    put(root / "train" / "unsup" / "0_0.txt", "who knows")
    put(root / "imdb.vocab", "the\n")


def test_a_folder_per_class(tmp_path: Path) -> None:
    put_reviews(tmp_path)
    source = Source(path=str(tmp_path), label="label")
    source.check()
    assert source.available_splits() == ("train", "test")
    assert list(source.read_records("train")) == [
        RawRecord("bad\nvery bad", None, "neg", "train/neg/0_2.txt, line 1"),
        RawRecord("good train", None, "pos", "train/pos/0_9.txt, line 1"),
    ]
    assert [(each.text, each.label) for each in Source(path=str(tmp_path)).read_records("train")][
        -1
    ] == (
        "who knows",
        None,
    )


def test_a_folder_per_class_without_splits_is_train(tmp_path: Path) -> None:
    put(tmp_path / "pos" / "a.txt", "good")
    put(tmp_path / "neg" / "a.txt", "")
    records = Source(path=str(tmp_path), label="x").read_records("train")
    assert [(each.text, each.label) for each in records] == [("", "neg"), ("good", "pos")]


def test_a_missing_path_suggests_the_nearest_name(tmp_path: Path) -> None:
    put(tmp_path / "reviews" / "train.csv", "text\n")
    message = (
        f"data.source.path={tmp_path}/review/x.csv: there is no 'review' in {tmp_path}; "
        "did you mean 'reviews'?"
    )
    assert check_fault(tmp_path / "review" / "x.csv") == message
    message = f"data.source.path={tmp_path}/zzz: there is no 'zzz' in {tmp_path}; there: reviews"
    assert check_fault(tmp_path / "zzz") == message


def test_a_name_of_the_hub_is_no_path(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for name in ("imdb", "stanfordnlp/imdb"):
        hint = f"a data set of the hub is data.source.path=null data.source.hub={name}"
        assert check_fault(Path(name)).endswith(hint)
    assert "data.source.hub" not in check_fault(Path("reviews.csv"))


def test_an_unknown_ending(tmp_path: Path) -> None:
    message = (
        f"data.source.path={tmp_path}/a.xyz: what kind of file is this? data.source.format=NAME, "
        "one of "
        "csv, tsv, jsonl, parquet, xlsx, text, folders, class_files, label_first, parallel, "
        "conll"
    )
    assert check_fault(put(tmp_path / "a.xyz", "x")) == message


@pytest.mark.parametrize("names", [("train.csv", "Test.csv"), ("TRAIN.csv", "my-TEST.csv")])
def test_capitals_in_names_of_splits(tmp_path: Path, names: tuple[str, str]) -> None:
    for name in names:
        put(tmp_path / name, f"text\n{name}\n")
    source = Source(path=str(tmp_path))
    assert source.available_splits() == ("train", "test")
    texts = [[row.text for row in source.read_records(split)] for split in ("train", "test")]
    assert texts == [[name] for name in names]


def test_capitals_in_folders_of_splits(tmp_path: Path) -> None:
    put(tmp_path / "tables" / "Train" / "a.csv", "text\na\n")
    put(tmp_path / "tables" / "TEST" / "a.csv", "text\nb\n")
    for part in ("Train", "Test"):
        for name in ("pos", "neg"):
            put(tmp_path / "classes" / part / name / "1.txt", f"{part} {name}")
    for kind, label in (("tables", None), ("classes", "label")):
        source = Source(path=str(tmp_path / kind), label=label)
        assert source.available_splits() == ("train", "test")
    assert [row.text for row in source.read_records("test")] == ["Test neg", "Test pos"]


def test_an_exact_name_goes_before_one_in_capitals(tmp_path: Path) -> None:
    for name in ("train.csv", "Train.csv", "train_full.csv"):
        put(tmp_path / name, f"text\n{name}\n")
    source = Source(path=str(tmp_path))
    assert [row.text for row in source.read_records("train")] == ["train.csv"]


def test_files_that_are_not_read_are_told(tmp_path: Path) -> None:
    for name in ("train.csv", "eval.csv", "heldout.csv", "more/extra.csv", "README.txt", ".x.csv"):
        put(tmp_path / name, "text\nx\n")
    put(tmp_path / "old.zip", "")
    put(tmp_path / "model.bin", "")
    source = Source(path=str(tmp_path))
    assert source.describe_unread() == [
        "not read: eval.csv, heldout.csv, old.zip, more/extra.csv "
        "(data.source.validation=NAME and data.source.test=NAME say what splits are called)",
        "not read: model.bin",
    ]
    named = Source(path=str(tmp_path), validation="eval", test="heldout")
    assert named.available_splits() == ("train", "validation", "test")
    put(tmp_path / "a.json", '{"train": [{"text": "a"}], "test": [{"text": "a"}], "oos": [["b"]]}')
    assert Source(path=str(tmp_path / "a.json")).describe_unread() == ["not read: oos"]


@pytest.mark.parametrize(
    ("format", "content"),
    [("label_first", "pos fine\nneg bad\n"), ("conll", "Oslo B-LOC\nis O\n\n")],
)
def test_files_of_other_endings_that_are_not_read_are_told(
    tmp_path: Path, format: str, content: str
) -> None:
    """Where a format is named, any file may be data."""
    for name in ("polls.train", "polls.heldout", "more/polls.late", "README"):
        put(tmp_path / name, content)
    source = Source(path=str(tmp_path), format=format, label="label")  # type: ignore[arg-type]
    source.check()
    assert source.describe_unread() == [
        "not read: polls.heldout, more/polls.late (data.source.validation=NAME and "
        "data.source.test=NAME say what splits are called)"
    ]


@pytest.mark.parametrize("name", ["votes-part1.csv", "votes-part1", "Votes-Part1.CSV"])
def test_a_file_is_named_as_it_is_listed(tmp_path: Path, name: str) -> None:
    for part in ("votes-part1.csv", "votes-part12.csv", "levels.csv"):
        put(tmp_path / part, f"text,label\n{part},1\n")
    source = Source(path=str(tmp_path), label="label", train=name)
    source.check()
    assert [record.text for record in source.read_records("train")] == ["votes-part1.csv"]


def test_the_names_of_the_splits_of_conll_2003(tmp_path: Path) -> None:
    for name in ("deu.train", "deu.testa", "deu.testb"):
        put(tmp_path / name, "Oslo B-LOC\nis O\n\n")
    source = Source(path=str(tmp_path), format="conll", label="label")
    assert source.available_splits() == ("train", "validation", "test")
    assert source.describe_unread() == [
        "note: deu.testa is validation, by data.source.validation=testa; null leaves it out",
        "note: deu.testb is test, by data.source.test=testb; null leaves it out",
    ]


def test_trial_is_validation_unless_another_file_is(tmp_path: Path) -> None:
    """SemEval's trial data are a sample of train where there is a dev set beside them."""
    for name in ("train", "trial", "test"):
        put(tmp_path / f"{name}.csv", f"text,label\n{name},1\n")
    source = Source(path=str(tmp_path), label="label")
    assert [record.text for record in source.read_records("validation")] == ["trial"]
    put(tmp_path / "dev.csv", "text,label\ndev,1\n")
    source = Source(path=str(tmp_path), label="label")
    assert [record.text for record in source.read_records("validation")] == ["dev"]
    assert add_other_names({"validation": "validation"}, ["TRIAL", "Dev"]) == {"validation": "Dev"}


def test_a_split_under_another_common_name_is_told(tmp_path: Path) -> None:
    for name in ("train", "valid", "test"):
        put(tmp_path / f"{name}.conll", f"{name} O\n")
    source = Source(path=str(tmp_path), label="label")
    assert [row.text for row in source.read_records("validation")] == ["valid"]
    assert source.describe_unread() == [
        "note: valid.conll is validation, by data.source.validation=valid; null leaves it out"
    ]


def test_a_folder_of_the_library_datasets(tmp_path: Path) -> None:
    for name in ("data-00000-of-00001.arrow", "dataset_info.json", "state.json"):
        put(tmp_path / name, "{}")
    assert "as the library `datasets` saves it to disk; its to_parquet(" in check_fault(tmp_path)


@pytest.mark.parametrize("pattern", ["part*.txt", "part?.txt", "part[12].txt"])
def test_files_that_match_a_pattern_are_train(tmp_path: Path, pattern: str) -> None:
    for number in (1, 2):
        put(tmp_path / f"part{number}.txt", f"{number}")
    source = Source(path=str(tmp_path / pattern))
    assert [row.text for row in source.read_records("train")] == ["1", "2"]


def test_tables_that_are_read_as_lines_are_told(tmp_path: Path) -> None:
    path = tmp_path / "train.txt"
    path.write_text("".join(f"{n}\twords\tmore\n" for n in range(9)))
    assert Source(path=str(tmp_path)).describe_unread() == [
        "note: the lines of train.txt look like a table; data.source.format=tsv reads them so"
    ]
    assert Source(path=str(tmp_path), format="text").describe_unread() == []
    assert Source(path=str(tmp_path), format="tsv", text="words").describe_unread() == []
    path.write_text("".join(f"words {n} ||| more\n" for n in range(9)))
    assert Source(path=str(tmp_path)).describe_unread() == [
        "note: the lines of train.txt look like a table; data.source.format=csv "
        """data.source.delimiter='" ||| "' reads them so"""
    ]
    path.write_text("words\n\n" * 9)
    assert Source(path=str(tmp_path)).describe_unread() == []


def test_train_under_its_other_name(tmp_path: Path) -> None:
    for name in ("olid-training-v1.0.tsv", "testset-a.tsv", "labels-a.tsv"):
        put(tmp_path / name, "text\nx\n")
    source = Source(path=str(tmp_path))
    assert source.available_splits() == ("train",)
    assert source.describe_unread() == [
        "note: olid-training-v1.0.tsv is train, by data.source.train=training",
        "not read: labels-a.tsv, testset-a.tsv (data.source.validation=NAME and "
        "data.source.test=NAME say what splits are called)",
    ]


def test_files_without_known_names_are_looked_at(tmp_path: Path) -> None:
    put(tmp_path / "eng.train", "Oslo B-LOC\nis O\n\n")
    put(tmp_path / "eng.testa", "Rome B-LOC\nis O\n\n")
    hint = "; data.source.format=conll where they are what they look like; where names end"
    with pytest.raises(UserError, match=re.escape(hint)):
        Source(path=str(tmp_path)).list_files()


def test_a_pattern_of_names(tmp_path: Path) -> None:
    for name in ("logs/a-1.csv", "logs/a-2.csv", "logs/b.csv", "more/train.csv", "more/dev.csv"):
        put(tmp_path / name, f"text\n{name}\n")
    put(tmp_path / "more/c.csv", "text\nc\n")
    for name in ("parts/train/a.csv", "parts/test/a.csv", "parts/readme.csv"):
        put(tmp_path / name, f"text\n{name}\n")

    def read(pattern: str) -> dict[str, list[str]]:
        source = Source(path=str(tmp_path / pattern))
        source.check()
        return {
            split: [row.text for row in source.read_records(split)]
            for split in source.available_splits()
        }

    assert read("logs/a-*.csv") == {"train": ["logs/a-1.csv", "logs/a-2.csv"]}
    assert read("l*/b.csv") == {"train": ["logs/b.csv"]}
    assert read("parts/**/*.csv") == {"train": ["parts/train/a.csv"], "test": ["parts/test/a.csv"]}
    assert read("more/*.csv") == {"train": ["more/train.csv"], "validation": ["more/dev.csv"]}
    assert (
        Source(path=str(tmp_path / "more/*.csv"))
        .describe_unread()[1]
        .startswith("not read: c.csv (")
    )
    with pytest.raises(UserError, match=re.escape("logs matches; there: a-1.csv, a-2.csv, b.csv")):
        read("logs/*.json")
    put(tmp_path / "logs/a[1].csv", "text\nby name\n")
    assert read("logs/a[1].csv") == {"train": ["by name"]}


def test_names_of_splits_with_a_year(tmp_path: Path) -> None:
    for name in ("wnut17train.conll", "emerging.dev.conll", "test2017.conll", "contest.conll"):
        put(tmp_path / name, f"{name} O\n")
    source = Source(path=str(tmp_path), label="tags")
    assert source.available_splits() == ("train", "validation", "test")
    assert source.describe_unread() == [
        "note: wnut17train.conll is train, by data.source.train=wnut17train",
        "note: emerging.dev.conll is validation, by data.source.validation=dev; null leaves it out",
        "note: test2017.conll is test, by data.source.test=test2017; null leaves it out",
        "not read: contest.conll (data.source.validation=NAME and data.source.test=NAME say what "
        "splits are called)",
    ]


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["NUM:date When was it ?", "DESC:def What is this ?"], {"format": "label_first"}),
        (["1 a fine film", "0 a bad film of 1 hour"], {"format": "label_first"}),
        # sentences, of which few begin otherwise
        (["The sea is the end of it .", "It is where the ships are ."], {}),
        (["a: yes", "b: no"], {}),
        (["- one thing", "* another"], {}),
    ],
)
def test_lines_that_begin_with_labels(
    tmp_path: Path, lines: list[str], expected: dict[str, str]
) -> None:
    path = put(tmp_path / "a.x", "".join(f"{line} {n}\n" for n in range(10) for line in lines))
    assert guess_format(InputFile(path, "a.x"), ["utf-8"]) == expected
