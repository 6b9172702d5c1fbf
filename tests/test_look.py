"""`python -m src.look`: what is in files, and the command that trains on them."""

import json
import os
import shlex
import subprocess
import sys
import zipfile
from pathlib import Path

import openpyxl
import pytest

from src.core.files import PROJECT_ROOT
from src.data.reading import archives
from src.look import main

REVIEWS = "id,review,stars\n" + "".join(
    f"{n},this is review number {n} of many,{'good' if n % 3 else 'bad'}\n" for n in range(30)
)


def _look(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    code = main(arguments)
    shown = capsys.readouterr()
    assert code == 0, shown.err
    for line in shown.out.splitlines():
        assert len(line) <= 80 or "python -" in line
    return shown.out


@pytest.mark.parametrize("wrong", [(), ("data.source.text=txt", "data.source.label=class")])
def test_missing_and_wrong_columns_are_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], wrong: tuple[str, ...]
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(REVIEWS, encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}", *wrong)
    assert "rows: train 30\n" in shown
    assert "2 different labels: good 20, bad 10\n" in shown
    assert "guessed columns: text=review, label=stars\n" in shown
    assert ("data.source.text=txt: there is no such column" in shown) is bool(wrong)
    assert shown.endswith(
        f"  python -m src.run +experiment=files data.source.path={file} data.source.text=review "
        "data.source.label=stars\n"
    )


def test_labels_that_train_lacks_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, labels in (("train", "04"), ("test", "024")):
        rows = [f"{label},some {name} words {n}\n" for n in range(10) for label in labels]
        (tmp_path / f"{name}.csv").write_text("label,text\n" + "".join(rows), encoding="utf-8")
    shown = " ".join(_look(capsys, f"data.source.path={tmp_path}").split())
    assert (
        "note: no row of train has the label '2' of test; 'data.label_map={0: 0, 4: 4}' leaves "
        "such rows out" in shown
    )


def test_numbers_are_a_regression(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.tsv"
    rows = "".join(f"{n / 10}\tsome words of row {n}\n" for n in range(30))
    file.write_text("Intensity Score\ttweet\n" + rows, encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.endswith(
        """'data.source.label="Intensity Score"' data.task=regression model=regression """
        "callbacks.checkpoint.monitor=val/pearson callbacks.checkpoint.mode=max\n"
    )


@pytest.mark.parametrize(
    ("cells", "options"),
    [
        (["4 km", "11.5 km", "NA"], """'data.source.label_pattern="([-+]?[0-9][0-9.,]*)"'"""),
        (["1,250.5", "70", "3,400"], "data.source.decimal=dot"),
        (["1.5", "NA", "2.25"], ""),
    ],
)
def test_numbers_that_are_written_otherwise(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], cells: list[str], options: str
) -> None:
    file = tmp_path / "a.tsv"
    rows = [f"some words of row {n}\t{cells[n % 3]}" for n in range(30)]
    file.write_text("\n".join(["text\tscore", *rows]), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert f"data.source.label=score {options} data.task=regression".replace("  ", " ") in shown


def test_a_table_of_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = ["S: 1,Oslo,PROPN,B-LOC", ",is,VERB,O", ",cold,ADJ,O", "S: 2,Bergen,PROPN,B-LOC"]
    file = tmp_path / "a.csv"
    file.write_text("\n".join(["Sentence #,Word,POS,Tag", *rows * 5]), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    words = " ".join(shown.split())
    assert "note: Tag holds tags of words, so that each row is a word and no text; tags of" in words
    assert "python -m src.run" not in shown
    [command] = [line.strip() for line in shown.splitlines() if "python -c" in line]
    exec(shlex.split(command)[-1])
    first = "Oslo\tB-LOC\nis\tO\ncold\tO\n\nBergen\tB-LOC\n\n"
    assert file.with_suffix(".conll").read_text(encoding="utf-8").startswith(first)


def test_a_word_may_be_a_quote(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a b.tsv"
    rows = ["1\tAda\tB-PER", '1\t"\tO', "2\tran\tO"]
    file.write_text("\n".join(["sent_id\ttoken\ttag", *rows * 5]), encoding="utf-8")
    *_, command, look = _look(capsys, f"data.source.path={file}").splitlines()
    exec(shlex.split(command)[-1])
    [option] = shlex.split(look)[3:]
    assert "Ada" in _look(capsys, option)
    first = 'Ada\tB-PER\n"\tO\n\nran\tO\n\nAda'
    assert file.with_suffix(".conll").read_text(encoding="utf-8").startswith(first)


def test_a_folder_without_train(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "d"
    folder.mkdir()
    rows = "".join(f"a case number {n},{('yes', 'no')[n % 2]},{n % 2}.0\n" for n in range(20))
    (folder / "test_cases.csv").write_text("text,gold,level\n" + rows, encoding="utf-8")
    shown = _look(capsys, f"data.source.path={folder}")
    assert "nothing there is train; test_cases.csv could be taken for it:\n" in shown
    command = shown.splitlines()[-1]
    assert f"data.source.path={folder}/test_cases.csv " in command
    # labels are counted as a run counts them
    typed = [f"data.source.path={folder}/test_cases.csv", "data.source.label=level"]
    assert "2 different labels: 0 10, 1 10\n" in _look(capsys, *typed)


def test_names_that_the_labels_do_not_fit(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.tsv"
    rows = [f"some words of row {n}\t{(7, 8)[n % 2]}" for n in range(30)]
    file.write_text("\n".join(["text\tclass", *rows]), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}", "data.label_names=[no,yes]")
    assert "note: the files: label '7' is none of the 2 classes declared" in shown
    assert shown.endswith("'data.label_names=[no,yes]' 'data.label_values=[7,8]'\n")
    typed = [f"data.source.path={file}", "data.label_names=[no,yes]", "data.label_values=[7,8]"]
    assert "none of the 2 classes" not in _look(capsys, *typed)


def test_a_table_without_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text(REVIEWS.split("\n", 1)[1], encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}", "data.source.header=false")
    assert shown.endswith("data.source.header=false data.source.text=1 data.source.label=2\n")


@pytest.mark.parametrize("name", ["train.tsv", "only.tsv"])
def test_positions_are_those_of_a_table_without_header(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str
) -> None:
    rows = "".join(f"{('up', 'down')[n % 2]}\tthe market of day number {n}\n" for n in range(20))
    (tmp_path / name).write_text(rows, encoding="utf-8")
    if name == "train.tsv":
        held_out = rows.replace("market", "price").splitlines(keepends=True)
        (tmp_path / "test.tsv").write_text("".join(held_out[:6]), encoding="utf-8")
    typed = ["data.source.text=1", "data.source.label=0"]
    shown = _look(capsys, f"data.source.path={tmp_path}", *typed)
    assert ("rows: train 20, test 6\n" if name == "train.tsv" else "rows: train 20\n") in shown
    assert "guessed: header=False\n" in shown
    assert shown.endswith(" data.source.header=false data.source.text=1 data.source.label=0\n")
    # a table whose first row has names has them
    (tmp_path / "b.csv").write_text(REVIEWS, encoding="utf-8")
    shown = _look(capsys, f"data.source.path={tmp_path / 'b.csv'}", *typed)
    assert "data.source.text=1: there is no such column" in shown
    assert shown.endswith(" data.source.text=review data.source.label=stars\n")


def test_pairs_of_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    row = '{"premise": "it rains %d", "hypothesis": "it is wet, %d", "label": %d}\n'
    file.write_text("".join(row % (n, n, n % 2) for n in range(20)), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.endswith(
        "data.source.text=premise data.source.pair=hypothesis data.source.label=label\n"
    )


def test_plain_text_and_class_folders(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.txt"
    file.write_text("one line\nanother line\n", encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.endswith(f"  python -m src.run +experiment=mlm_files data.source.path={file}\n")
    for name in ("pos", "neg"):
        (tmp_path / "d" / name).mkdir(parents=True)
        (tmp_path / "d" / name / "1.txt").write_text("words", encoding="utf-8")
    shown = _look(capsys, f"data.source.path={tmp_path / 'd'}")
    assert "2 different labels: " in shown and "+experiment=files" in shown


def test_odd_labels_are_told_of(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text(REVIEWS + "".join(f"{n},more words,Good\n" for n in range(4)), encoding="utf-8")
    assert "labels that look alike" in _look(capsys, f"data.source.path={file}")


def test_labels_are_counted_as_a_map_names_them(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    labels = ["Good", "good", "bad", "BAD", "odd"]
    rows = [f"some words of row {n},{labels[n % 5]}" for n in range(40)]
    file.write_text("\n".join(["text,label", *rows]), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.count("data.label_map=") == 1 and shown.count("look alike") == 1
    proposed = "".join(shown.split("'data.label_map=")[1].split("'")[0].split("\n "))
    typed = f"data.label_map={proposed}"
    assert typed == "data.label_map={BAD: bad, Good: good, bad: bad, good: good, odd: odd}"
    shown = _look(capsys, f"data.source.path={file}", typed)
    assert "3 different labels: " in shown and "bad 16" in shown and "good 16" in shown
    assert "look alike" not in shown and shown.endswith(f"data.source.label=label '{typed}'\n")
    shown = _look(capsys, f"data.source.path={file}", typed.replace("odd: odd", "odd: null"))
    assert "rows: train 40, 8 without a label\n" in shown
    assert "note: data.label_map leaves out the labels 'odd' 8\n" in shown


def test_a_map_makes_classes_of_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,score\n" + "".join(f"words of row {n},{n}\n" for n in range(30)))
    typed = f"data.label_map={{{', '.join(f'{n}: {n > 20}' for n in range(30))}}}"
    assert "to train on it (classification)" in _look(capsys, f"data.source.path={file}", typed)
    assert main([f"data.source.path={file}", "data.label_map=3"]) == 2
    assert "error: data.label_map: expected {LABEL: CLASS" in capsys.readouterr().err


def test_mistakes_end_with_2(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for arguments in ([], [f"data.source.path={tmp_path / 'none.csv'}"], ["data.source.pth=a"]):
        assert main(arguments) == 2
        assert capsys.readouterr().err.startswith("error: ")


def test_torch_is_not_imported() -> None:
    code = "import sys, src.look; sys.exit('torch' in sys.modules)"
    assert (
        subprocess.run([sys.executable, "-c", code], cwd=PROJECT_ROOT, check=False).returncode == 0
    )


def test_joined_and_named_columns(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text("".join(f"{n % 2},title {n},body {n}\n" for n in range(20)), encoding="utf-8")
    shown = _look(
        capsys,
        f"data.source.path={file}",
        "data.source.columns=[label,title,body]",
        "data.source.text=[title,body]",
    )
    assert "guessed columns: label=label\n" in shown
    assert shown.endswith(
        "'data.source.columns=[label,title,body]' 'data.source.text=[title,body]' "
        "data.source.label=label\n"
    )


MULTI_LABEL = (
    "data.task=multi_label model=multi_label callbacks.checkpoint.monitor=val/f1_macro "
    "callbacks.checkpoint.mode=max\n"
)


def test_several_labels_in_one_cell(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "go.tsv"
    cells = ["5", "5,18", "27", "18", "5,27", "20"]
    file.write_text("".join(f"words of row {n}\t{cells[n % 6]}\tid{n}\n" for n in range(60)))
    shown = _look(capsys, f"data.source.path={file}", "data.source.header=false")
    assert "4 different labels: 5 30, 18 20, 27 20, 20 10\n" in shown
    assert "guessed: label_separator=comma\n" in shown
    assert shown.endswith(f"data.source.label=1 data.source.label_separator=comma {MULTI_LABEL}")


@pytest.mark.parametrize(("begin", "end"), [("", ";"), (";", ""), (";", ";"), ("", "; ")])
def test_separators_at_the_ends_of_cells(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], begin: str, end: str
) -> None:
    file = tmp_path / "a.csv"
    cells = ["Price;Delivery", "Price", "Staff;Price", "Delivery", "Staff;Delivery;Price"]
    rows = [f"some words of answer {n},{begin}{cells[n % 5]}{end}" for n in range(40)]
    file.write_text("\n".join(["answer,topics", *rows]), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert "3 different labels: Price 32, Delivery 24, Staff 16\n" in shown
    assert "guessed: label_separator=semicolon\n" in shown
    # SharePoint parts them by two signs
    file.write_text(file.read_text().replace(";", ";#").replace(",;#", ","))
    shown = _look(capsys, f"data.source.path={file}")
    assert "3 different labels: Price 32, Delivery 24, Staff 16\n" in shown
    assert """'data.source.label_separator=";#"'""" in shown


@pytest.mark.parametrize("share", [1, 0.75])
def test_a_column_for_each_label(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], share: float
) -> None:
    file = tmp_path / "toxic.csv"
    rows = [f"{n},words of row {n},{n % 2},{n % 3 // 2 * share},{n % 5 // 4}\n" for n in range(60)]
    file.write_text("id,comment,toxic,obscene,threat\n" + "".join(rows))
    shown = _look(capsys, f"data.source.path={file}")
    assert "3 different labels: toxic 30, obscene 20, threat 12\n" in shown
    threshold = "" if share == 1 else "data.source.label_threshold=0.5 "
    assert shown.endswith(
        f"data.source.text=comment 'data.source.label=[toxic,obscene,threat]' {threshold}"
        f"{MULTI_LABEL}"
    )


def test_columns_of_checkboxes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "redcap.csv"
    words = ["Unchecked", "Checked"]
    rows = [f"{n},words of row {n},{words[n % 2]},{words[n % 3 // 2]}" for n in range(60)]
    file.write_text("\n".join(["id,note,topic___1,topic___2", *rows]), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert (
        "note: 2 columns that begin with 'topic___' hold yes and no; "
        "'data.source.label=[topic___1,topic___2]' takes them for labels, of which a row may have "
        "several guessed columns"
    ) in " ".join(shown.split())
    shown = _look(capsys, f"data.source.path={file}", "data.source.label=[topic___1,topic___2]")
    assert "2 different labels: topic___1 30, topic___2 20\n" in shown
    assert "columns that begin" not in shown and shown.endswith(MULTI_LABEL)
    # three are guessed
    rows = [f"{row},{words[n % 5 // 4]}" for n, row in enumerate(rows)]
    file.write_text("\n".join(["id,note,topic___1,topic___2,topic___3", *rows]))
    assert "label=[topic___1,topic___2,topic___3]" in _look(capsys, f"data.source.path={file}")


def test_columns_of_one_name_that_hold_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "jira.csv"
    tags = ["ui,,", "api,ui,", ",,", "app,api,ui", "api,app,"]
    rows = [f"words of issue {n} which differ,{tags[n % 5]}" for n in range(60)]
    file.write_text("\n".join(["Summary,Labels,Labels,Labels", *rows]), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    told = "only the first of 3 columns that are called 'Labels' is taken; "
    typed = "data.source.label=[Labels,Labels_2,Labels_3]"
    assert f"{told}'{typed}' takes all of them" in " ".join(shown.split())
    shown = _look(capsys, f"data.source.path={file}", typed)
    assert "3 different labels: ui 36, api 36, app 24\n" in shown
    assert told not in " ".join(shown.split()) and shown.endswith(MULTI_LABEL)


@pytest.mark.parametrize(("name", "step"), [("ts", 0.25), ("sent", 1), ("when", 0.001)])
def test_large_numbers_that_all_differ_are_no_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, step: float
) -> None:
    file = tmp_path / "slack.jsonl"
    rows = [{name: f"{1.7e9 + n * step:.4f}", "text": f"words of row {n}"} for n in range(60)]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    assert "to train on it (masked_lm)" in _look(capsys, f"data.source.path={file}")
    shown = _look(capsys, f"data.source.path={file}", f"data.source.label={name}")
    assert "to train on it (regression)" in shown


def test_lists_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    rows = [json.dumps({"text": f"row {n}", "labels": ["a", "b"][: n % 3]}) for n in range(30)]
    file.write_text("\n".join(rows))
    assert _look(capsys, f"data.source.path={file}").endswith(
        f"data.source.label=labels {MULTI_LABEL}"
    )


def test_a_column_that_divides_the_rows(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "emobank.csv"
    splits = ["train", "train", "dev", "test"]
    rows = [f"{n},{splits[n % 4]},{2 + n % 25 / 7:.2f},words of row {n}\n" for n in range(100)]
    file.write_text("id,split,V,text\n" + "".join(rows))
    shown = _look(capsys, f"data.source.path={file}")
    assert "rows: train 50, validation 25, test 25\n" in shown
    assert "data.source.label=V data.source.split_column=split data.source.validation=dev" in shown

    # whatever it is called
    text = "".join(rows).replace(",dev,", ",Val,").replace(",train,", ",Train,")
    file.write_text("id,Used for,V,text\n" + text)
    shown = _look(capsys, f"data.source.path={file}")
    assert "rows: train 50, validation 25, test 25\n" in shown
    assert """'data.source.split_column="Used for"' data.source.validation=val""" in shown


def test_a_column_of_train_trial_and_test(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """SICK.txt, which has the sentences before they were changed too."""
    file = tmp_path / "SICK.txt"
    names = "pair_ID sentence_A sentence_B entailment_label sentence_A_original "
    names += "sentence_B_original SemEval_set"
    rows = [
        f"{n}\tKids play {n}\tBoys play {n}\t{'NEUTRAL' if n % 3 else 'ENTAILMENT'}\t"
        f"Children play here {n}\tMen play here {n}\t{['TRAIN', 'TEST', 'TRAIN', 'TRIAL'][n % 4]}"
        for n in range(40)
    ]
    text = "\n".join([names.replace(" ", "\t"), *rows]) + "\n"
    file.write_text(text)
    shown = _look(capsys, f"data.source.path={file}")
    assert "rows: train 20, validation 10, test 10\n" in shown
    assert "guessed columns: text=sentence_A, pair=sentence_B, label=entailment_label" in " ".join(
        shown.split()
    )
    options = ["data.source.split_column=SemEval_set", "data.source.validation=trial"]
    assert shown.endswith(f" {' '.join(options)}\n")
    shown = _look(capsys, f"data.source.path={file}", *options)
    assert "rows: train 20, validation 10, test 10\n" in shown


def test_files_that_are_not_read(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("pos", "neg"):
        (tmp_path / name / "more").mkdir(parents=True)
        (tmp_path / name / "1").write_text("words")
        (tmp_path / name / "more" / "2").write_text("words")
    shown = _look(capsys, f"data.source.path={tmp_path}")
    assert "not read: 1 file in neg/more, 1 file in pos/more\n" in shown


def test_tokens_of_a_tokenizer(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], minilm: str
) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label\nhello world,a\n\u2603 \u2603,b\nhello there,a\nhi,b\n")
    tokenizer = f"data.tokenizer.name_or_path={minilm}"
    shown = _look(capsys, f"data.source.path={file}", tokenizer, "data.label_names=[a,b]")
    # [CLS] and [SEP] besides; the snowman is unknown
    assert (
        "tokens of a text: half have up to 4, nine tenths up to 4, the longest 4; 13.3 % of them"
        in " ".join(shown.split())
    )
    assert shown.endswith(f" {tokenizer} 'data.label_names=[a,b]'\n")
    shown = _look(capsys, f"data.source.path={file}", f"data.tokenizer.name_or_path={tmp_path}")
    assert "tokens: there is no " in " ".join(shown.split())


def test_a_data_set_of_the_hub(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["data.source.hub=stanfordnlp/imdb"]) == 2
    message = capsys.readouterr().err
    assert message.startswith(
        "error: data.source.hub=stanfordnlp/imdb: a data set of the hub is read by a run alone; "
    )
    assert "https://huggingface.co/datasets/stanfordnlp/imdb" in message


@pytest.mark.parametrize(
    ("name", "line", "proposed"),
    [
        ("train_5500.label", "{}:fine words of {}\n", "data.source.format=label_first\n"),
        ("a.txt", "__label__{} words of {}\n", "data.source.format=label_first\n"),
        (
            "b.txt",
            "__label__x __label__{} of {}\n",
            f"data.source.format=label_first {MULTI_LABEL}",
        ),
        (
            "germeval.txt",
            "words of {1}\tclass{0}\n",
            "data.source.format=tsv data.source.text=0 data.source.label=1\n",
        ),
    ],
)
def test_lines_whose_file_does_not_tell_its_format(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], name: str, line: str, proposed: str
) -> None:
    (tmp_path / name).write_text("".join(line.format(n % 3, n) for n in range(30)))
    more = ["data.source.header=false"] if "tsv" in proposed else []
    shown = _look(capsys, f"data.source.path={tmp_path / name}", *more)
    assert proposed in shown
    assert "guessed: format=" in shown


def test_files_that_may_be_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("pos", "neg"):
        (tmp_path / f"{name}.txt").write_text(f"{name} one\n{name} two\n")
    shown = _look(capsys, f"data.source.path={tmp_path}")
    assert "data.source.format=class_files takes these for labels" in " ".join(shown.split())
    shown = _look(capsys, f"data.source.path={tmp_path}", "data.source.format=class_files")
    assert "2 different labels: neg 2, pos 2\n" in shown
    assert shown.endswith("data.source.format=class_files\n")


def test_an_archive_of_several_files(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(archives, "CACHE_ROOT", tmp_path / "cache")
    path = tmp_path / "set.zip"
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("train.csv", REVIEWS)
        archive.writestr("test.csv", REVIEWS)
    shown = _look(capsys, f"data.source.path={path}")
    assert "rows: train 30, test 30\n" in shown
    assert shown.endswith(f"{path} data.source.text=review data.source.label=stars\n")


@pytest.mark.parametrize(
    ("old", "new", "guessed"),
    [
        (",", ";", "delimiter=semicolon"),
        ("id,review,stars\n", "", "header=False"),
        ("id,review,stars\n", "sep=,\nid,review,stars\n", None),
        ("id,review,stars\n", "0,1,2\n", None),
    ],
)
def test_how_a_table_is_written_is_guessed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], old: str, new: str, guessed: str | None
) -> None:
    file = tmp_path / "a.csv"
    file.write_text(REVIEWS.replace(old, new), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert "rows: train 30\n" in shown
    assert "2 different labels: good 20, bad 10\n" in shown
    assert (f"guessed: {guessed}\n" in shown) is (guessed is not None)
    assert guessed is not None or "\nguessed: " not in shown


def test_columns_of_one_name(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    lines = REVIEWS.replace("id,", "stars,").replace("\n", ",,\n")
    file.write_text(lines, encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}", "data.source.text=review")
    assert "note: several columns are called 'stars'; the second is stars_2 here\n" in shown
    assert shown.endswith(
        f"{file} data.source.skip_rows=1 "
        "'data.source.columns=[stars,review,stars_2,column3,column4]' data.source.text=review "
        "data.source.label=stars_2\n"
    )
    rows = [f"a b {n},{n % 2},c d e {n}\n" for n in range(20)]
    file.write_text("".join(["text,label,text\n", *rows]), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.endswith("text_2]' data.source.text=text_2 data.source.label=label\n")
    assert "note: text: texts too, which are not taken" in shown


def test_values_inside_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    rows = [
        {
            "review": {"body": f"words of row {n}", "lang": "en"},
            "meta": {"stars": "good" if n % 3 else "bad"},
            "entities": [{"begin": n, "end": n + 1, "kind": "a long name of some kind"}],
        }
        for n in range(30)
    ]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert "2 different labels: good 20, bad 10\n" in shown
    assert shown.endswith("data.source.text=review.body data.source.label=meta.stars\n")


TAGGED_COMMAND = (
    " data.task=token_classification model=token_classification "
    "callbacks.checkpoint.monitor=val/f1 callbacks.checkpoint.mode=max\n"
)


def test_tagged_words(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    text = "-DOCSTART- O\n\nAda I-PER\nran O\n\nhe O\nsaw O\nBath I-LOC\nBath B-LOC\n"
    for name, added in (("a.conll", ""), ("a.txt", " data.source.format=conll")):
        file = tmp_path / name
        file.write_text(text, encoding="utf-8")
        shown = _look(capsys, f"data.source.path={file}")
        assert "format: conll\n" in shown
        assert "rows: train 2\n" in shown
        assert "entities: LOC 2, PER 1\ntags of words: IOB1, brought to BIO\n" in shown
        assert shown.endswith(
            f"  python -m src.run +experiment=files data.source.path={file}{added}{TAGGED_COMMAND}"
        )


def test_tokens_and_spans_of_json_lines(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.jsonl"
    rows: list[dict[str, object]] = [
        {"id": "0", "tokens": ["Ada", "ran"], "pos_tags": ["NN", "VB"], "ner_tags": ["B-PER", "O"]},
        {"id": "1", "tokens": ["he"], "pos_tags": ["PRP"], "ner_tags": ["O"]},
    ]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert "guessed columns: text=tokens, label=ner_tags\n" in shown
    assert "entities: PER 1\n" in shown
    assert shown.endswith(
        f"data.source.path={file} data.source.text=tokens data.source.label=ner_tags"
        + TAGGED_COMMAND
    )
    # numbers need names, which are kept
    rows = [{"tokens": ["Ada", "ran"], "ner_tags": [1, 0]}] * 2
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert "nothing names; it takes 2 names, in the order of the numbers" in " ".join(shown.split())
    assert "put the names of its 2 tags into data.label_names" in shown
    assert shown.endswith(" 'data.label_names=[NAME0,NAME1]'\n")
    shown = _look(capsys, f"data.source.path={file}", "data.label_names=[O,B-PER]")
    assert "entities: PER 2\n" in shown
    assert shown.endswith(TAGGED_COMMAND.rstrip() + " 'data.label_names=[O,B-PER]'\n")
    rows = [{"text": "Ada ran", "label": [[0, 3, "PER"]]}, {"text": "he ran", "label": []}]
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert "guessed columns: text=text, label=label\n" in shown
    assert "entities: PER 1\ntags of words: spans of characters, brought to BIO\n" in shown
    assert shown.endswith(TAGGED_COMMAND)


def test_decimal_commas_are_numbers(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    rows = "".join(f"words of row {n};{n % 7},{n % 10}\n" for n in range(60))
    file.write_text("text;score\n" + rows, encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert "data.source.decimal=comma data.task=regression model=regression" in shown


def test_lists_of_words_are_texts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import pyarrow
    from pyarrow.parquet import write_table

    rows = [{"tokens": ["word", f"nr{n}"], "info": {"topic": "abc"[n % 3]}} for n in range(30)]
    write_table(pyarrow.Table.from_pylist(rows), tmp_path / "a.parquet")
    shown = _look(capsys, f"data.source.path={tmp_path / 'a.parquet'}")
    assert shown.endswith("data.source.text=tokens data.source.label=info.topic\n")


def test_lines_parted_by_several_characters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.txt"
    lines = [f"the words of row {n} ||| {'good' if n % 3 else 'bad'}\n" for n in range(30)]
    file.write_text("".join(lines), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.endswith(
        "data.source.format=csv 'data.source.delimiter=\" ||| \"' data.source.header=false "
        "data.source.text=0 data.source.label=1\n"
    )


@pytest.mark.parametrize("as_lists", [True, False])
def test_combinations_of_tags_are_labels(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], as_lists: bool
) -> None:
    rows = []
    for number in range(60):
        tags = [tag for place, tag in enumerate("abcdef") if number >> place & 1] or ["a"]
        tags = [f"tag {tag}" for tag in tags]
        rows.append({"body": f"some words {number}", "tags": tags if as_lists else ", ".join(tags)})
    file = tmp_path / "a.jsonl"
    file.write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    shown = _look(capsys, f"data.source.path={file}")
    assert "data.source.text=body data.source.label=tags" in shown
    assert ("label_separator=comma" in shown) is not as_lists
    assert "data.task=multi_label" in shown


def test_tables_by_column_and_long_delimiters(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    texts = [f"the words of row {n}" for n in range(30)]
    labels = ["good" if n % 3 else "bad" for n in range(30)]
    (tmp_path / "a.json").write_text(json.dumps({"texts": texts, "labels": labels}))
    shown = _look(capsys, f"data.source.path={tmp_path / 'a.json'}")
    assert shown.endswith("data.source.text=texts data.source.label=labels\n")
    lines = [f"{text}::{label}\n" for text, label in zip(texts, labels, strict=True)]
    (tmp_path / "a.csv").write_text("review::stars\n" + "".join(lines))
    shown = _look(capsys, f"data.source.path={tmp_path / 'a.csv'}")
    assert "data.source.delimiter" in shown
    assert "data.source.text=review data.source.label=stars" in shown


@pytest.mark.parametrize(
    ("typed", "remedy"),
    [
        (["--path", "a b.csv"], "'data.source.path=a b.csv'"),
        (["--text=review"], "data.source.text=review"),
        (["path=x.csv"], "data.source.path=x.csv"),
        (["--label-separator", ";"], "'data.source.label_separator=;'"),
    ],
)
def test_options_as_other_programs_have_them(
    typed: list[str], remedy: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(typed) == 2
    key = typed[0].partition("=")[0]
    assert capsys.readouterr().err == f"error: '{key}' is not an option; it is typed {remedy}\n"


def test_comments_between_rows_are_passed_over(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    lines = REVIEWS.splitlines(keepends=True)
    path = tmp_path / "a.csv"
    path.write_text("".join([*lines[:9], "# checked, by, me\n", "# and so on\n", *lines[9:]]))
    shown = _look(capsys, f"data.source.path={path}")
    assert "rows: train 30" in shown and "data.source.comment=hash" in shown


def test_labels_that_lie_in_lists_of_objects_are_told(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    row = {"data": {"text": "a film"}, "annotations": [{"result": [{"choices": ["pos"]}]}]}
    (tmp_path / "a.json").write_text(json.dumps([row] * 3))
    shown = " ".join(_look(capsys, f"data.source.path={tmp_path / 'a.json'}").split())
    assert "note: annotations: objects in lists, of which nothing is read" in shown


def test_joined_tables_have_a_header(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.csv").write_text(REVIEWS * 2)
    shown = _look(capsys, f"data.source.path={tmp_path / 'a.csv'}")
    assert "header=false" not in shown
    assert "train: 1 row with the names of the columns" in " ".join(shown.split())


def test_a_note_below_a_table_hides_no_delimiter(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "a.csv").write_text(REVIEWS.replace(",", ";") + "(30 rows)\n")
    assert main([f"data.source.path={tmp_path / 'a.csv'}"]) == 2
    assert "a.csv, line 32: 1 columns, the header has 3" in capsys.readouterr().err


def test_lists_of_yaml_are_no_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "a.yaml").write_text("- text: a b\n  label: c\n" * 9)
    assert main([f"data.source.path={tmp_path / 'a.yaml'}"]) == 2
    assert "this is a YAML file, which is not read; save its examples" in capsys.readouterr().err


def test_a_folder_of_tables_that_are_called_txt(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for split in ("train", "test"):
        rows = [f"{n % 2}\tsome words {n}\tother words {n}" for n in range(20)]
        (tmp_path / f"msr_{split}.txt").write_text(
            "\n".join(["Quality\t#1 String\t#2 String", *rows]), encoding="utf-8"
        )
    shown = _look(capsys, f"data.source.path={tmp_path}")
    assert "guessed: format=tsv\n" in shown
    assert "rows: train 20, test 20\n" in shown
    assert shown.endswith(
        """data.source.format=tsv 'data.source.text="#1 String"' 'data.source.pair="#2 String"' """
        "data.source.label=Quality\n"
    )


@pytest.mark.parametrize(
    ("names", "line", "proposed"),
    [
        (["eng.train", "eng.testa"], "Oslo NNP B-LOC\nis VBZ O\n\n", "data.source.format=conll"),
        (["sst.train", "sst.test"], "{1} words of {0}\n", "data.source.format=label_first"),
        (["a.md", "b.md"], "words {0}\n", "data.source.format=text data.source.document=file"),
        (["train.txt"], "a {0};{1}\n", "data.source.format=csv data.source.delimiter=semicolon"),
        # as the Financial PhraseBank has it
        (["train.txt"], "a {0} .@{1}\n", "data.source.format=csv 'data.source.delimiter=\"@\"'"),
    ],
)
def test_a_folder_of_files_whose_names_tell_no_format(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    names: list[str],
    line: str,
    proposed: str,
) -> None:
    for name in names:
        (tmp_path / name).write_text("".join(line.format(n, n % 2) for n in range(20)))
    assert f"data.source.path={tmp_path} {proposed}" in _look(
        capsys, f"data.source.path={tmp_path}"
    )


def test_held_out_rows_without_labels_are_left_out(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    rows = [f"some words {n},{n % 2}\n" for n in range(20)]
    (tmp_path / "train.csv").write_text("".join(["text,label\n", *rows]))
    (tmp_path / "dev.csv").write_text("text,label\nother words,-1\nmore words,-1\n")
    (tmp_path / "test.csv").write_text("text\nlast words\n")
    shown = _look(capsys, f"data.source.path={tmp_path}", "data.source.validation=dev")
    assert "note: test.csv has no label; data.source.test=null leaves it out\n" in shown
    assert "the label is -1 in all rows of dev.csv; data.source.validation=null" in shown
    assert "guessed: test=null, validation=null\n" in shown.replace(
        "validation=null, test=null", "test=null, validation=null"
    )
    assert "rows: train 20\n" in shown


def test_encodings_are_guessed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"schöne Wörter von Zeile {n},{n % 2}\n" for n in range(20)]
    (tmp_path / "train.csv").write_bytes("".join(["text,label\n", *rows]).encode("cp1252"))
    shown = _look(capsys, f"data.source.path={tmp_path}")
    assert "guessed: encoding=cp1252\n" in shown
    assert '"schöne Wörter von Zeile 0"' in shown
    (tmp_path / "test.csv").write_text("text,label\nfünf,1\n", encoding="utf-8")
    assert "guessed: encoding=[utf-8, cp1252]\n" in _look(capsys, f"data.source.path={tmp_path}")


def test_the_label_of_a_sorted_file(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"some words {n},{n % 4},{n // 1500}\n" for n in range(3000)]
    file = tmp_path / "train.csv"
    file.write_text("".join(["text,stars,label\n", *rows]))
    assert "label=label\n" in _look(capsys, f"data.source.path={file}")


def test_a_file_of_the_names_of_labels(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"{1 + n % 3},some words {n}\n" for n in range(30)]
    (tmp_path / "train.csv").write_text("".join(rows))
    (tmp_path / "classes.txt").write_text("World\nSports\nBusiness\n")
    shown = _look(capsys, f"data.source.path={tmp_path}")
    assert "note: classes.txt has a line for each label, and is taken for their names" in shown
    assert shown.endswith(
        f"data.label_names={tmp_path / 'classes.txt'} 'data.label_values=[1,2,3]'\n"
    )
    (tmp_path / "classes.txt").write_text("World\nSports\n")
    assert "label_names" not in _look(capsys, f"data.source.path={tmp_path}")


def test_chats_whose_texts_are_in_parts(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    parts = ["see ", {"type": "link", "text": "example.org"}, " there"]
    rows = [
        {"id": n, "date": "2024-01-01T00:00:00", "text": f"some words {n}" if n % 3 else parts}
        for n in range(30)
    ]
    file = tmp_path / "result.json"
    file.write_text(json.dumps({"name": "a chat", "type": "personal", "messages": rows}))
    shown = _look(capsys, f"data.source.path={file}")
    assert '"see example.org there"\n' in shown
    assert "note: train: 10 rows whose text is in parts, which are joined (the first:" in shown
    assert shown.endswith("data.source.text=text\n")
    file.write_text(json.dumps([{"id": n, "date": "2024-01-01"} for n in range(30)]))
    shown = _look(capsys, f"data.source.path={file}")
    assert shown.endswith("no column looks like a text: name one with data.source.text=COLUMN\n")


@pytest.mark.parametrize(
    ("rows", "said", "proposed"),
    [
        ([{"text": "a b", "label": ["x"]}, {"text": "c", "label": ["y"]}], "", "text=text data."),
        (
            [
                {"text": "Ada ran", "spans": [{"start": 0, "end": 3, "label": "PER"}], "answer": a}
                for a in ("accept", "reject")
            ],
            "note: rows whose 'answer' is reject are read like the others; "
            "data.source.split_column=answer data.source.train=accept leaves them out",
            "data.source.label=spans data.task=token_classification",
        ),
        (
            [
                {
                    "text": f"words {n}",
                    "accept": ["ab"[n % 2]] if a == "accept" else [],
                    "answer": a,
                }
                for n, a in enumerate(("accept", "reject", "accept", "accept", "ignore", "accept"))
            ],
            "note: rows whose 'answer' is reject or ignore are read like the others; "
            "data.source.split_column=answer data.source.train=accept leaves them out",
            "data.source.text=text data.source.label=accept",
        ),
        (
            [{"text": "Ada ran", "entities": "[(0, 3, 'PER')]"}],
            "entities: PER 10",
            "data.source.label=entities data.task=token_classification",
        ),
        (
            [{"text": "<p>words</p>", "label": "x"}, {"text": "a &amp; b", "label": "y"}],
            "note: 100 % of texts hold HTML; data.cleaning.html=true makes plain text of it",
            "data.source.label=label",
        ),
    ],
)
def test_what_stands_in_rows(
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
    rows: list[dict[str, object]],
    said: str,
    proposed: str,
) -> None:
    file = tmp_path / "a.jsonl"
    lines = [json.dumps({"id": n, **row}) for n, row in enumerate(rows * 10)]
    file.write_text("\n".join(lines))
    shown = _look(capsys, f"data.source.path={file}")
    assert said in " ".join(shown.split())
    assert proposed in shown and "multi_label" not in shown
    if "answer" in said:
        options = ["data.source.split_column=answer", "data.source.train=accept"]
        shown = _look(capsys, f"data.source.path={file}", *options)
        assert "are read like the others" not in shown
        accepted = 10 * sum(row["answer"] == "accept" for row in rows)
        assert f"rows: train {accepted}\n" in shown


def test_options_of_cleaning_are_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    file = tmp_path / "a.csv"
    file.write_text("text,label\n" + "".join(f"<p>{n}</p> words,{n % 2}\n" for n in range(9)))
    shown = _look(capsys, f"data.source.path={file}", "data.cleaning.html=true")
    assert "hold HTML" not in shown
    assert shown.endswith("data.source.label=label data.cleaning.html=true\n")


def test_texts_with_commas_between_semicolons(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    rows = [f"{n};some words, and number {n};{n % 5},{n % 3}\n" for n in range(20)]
    file.write_text("".join(["Nr.;Kommentar;Bewertung\n", *rows]), encoding="utf-8-sig")
    shown = _look(capsys, f"data.source.path={file}")
    assert "guessed: delimiter=semicolon, decimal=comma\n" in shown
    assert "guessed columns: text=Kommentar, label=Bewertung\n" in shown


def test_a_test_table_of_another_width(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = [f"gj04\t{n % 2}\t{'*' * (n % 2)}\tsome words {n}\n" for n in range(20)]
    (tmp_path / "train.tsv").write_text("".join(rows))
    (tmp_path / "test.tsv").write_text("index\tsentence\n0\tsome words\n")
    shown = " ".join(_look(capsys, f"data.source.path={tmp_path}").split())
    assert "note: test.tsv has only 2 columns, which seem to lack the label" in shown
    assert shown.endswith("data.source.text=3 data.source.label=1 data.source.test=null")


def test_text_beside_files_of_a_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for split in ("train", "dev"):
        (tmp_path / f"en-ud-{split}.conllu").write_text("Oslo\tB-LOC\nis\tO\n\n")
        (tmp_path / f"en-ud-{split}.txt").write_text("Oslo is")
    shown = _look(capsys, f"data.source.path={tmp_path}")
    assert "guessed: format=conll\n" in shown
    assert "not read: en-ud-dev.txt, en-ud-train.txt" in shown


def test_the_first_line_of_a_spreadsheet_program(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.csv"
    rows = "".join(f"some words, {n};{n % 2}\r\n" for n in range(20))
    file.write_text(f"sep=;\r\ntext;label\r\n{rows}", newline="")
    shown = _look(capsys, f"data.source.path={file}")
    assert "guessed: delimiter=semicolon\n" in shown
    assert "rows: train 20\n" in shown


def test_parts_of_speech_are_judged_by_accuracy(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.conll"
    file.write_text("Oslo PROPN\nis AUX\ncold ADJ\n\n" * 9)
    shown = _look(capsys, f"data.source.path={file}")
    assert "callbacks.checkpoint.monitor=val/accuracy callbacks.checkpoint.mode=max\n" in shown


def test_a_list_of_ones_and_zeros_holds_labels_by_place(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "a.jsonl"
    rows = [{"text": f"some words {n}", "labels": [n % 2, 0, n % 3 // 2]} for n in range(20)]
    file.write_text("\n".join(map(json.dumps, rows)))
    shown = _look(capsys, f"data.source.path={file}")
    assert "2 different labels: 0 10, 2 6\n" in shown
    assert "data.source.label_threshold=0.5 data.task=multi_label" in shown


def test_tables_of_classes(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("True", "Fake"):
        rows = [f"{name} words {n},{n % 2}\n" for n in range(9)]
        (tmp_path / f"{name}.csv").write_text("".join(["text,subject\n", *rows]))
    shown = _look(capsys, f"data.source.path={tmp_path}")
    assert "2 different labels: Fake 9, True 9\n" in shown
    assert shown.endswith(
        "data.source.format=class_files data.source.text=text data.source.label=label\n"
    )
    (tmp_path / "True.csv").rename(tmp_path / "fold-1.csv")
    (tmp_path / "Fake.csv").rename(tmp_path / "fold-2.csv")
    assert main([f"data.source.path={tmp_path}"]) == 2
    typed = f"'data.source.path=\"{tmp_path}/*.csv\"'"
    assert f"or all for train: {typed}; " in capsys.readouterr().err
    shown = _look(capsys, f"data.source.path={tmp_path}/*.csv")
    assert "rows: train 18\n" in shown
    # parts of one table are called so
    for number in (1, 2):
        (tmp_path / f"fold-{number}.csv").rename(tmp_path / f"part-{number}.csv")
    shown = _look(capsys, f"data.source.path={tmp_path}")
    assert "train: part-1.csv, part-2.csv\n" in shown and "rows: train 18\n" in shown


def test_columns_of_one_name_in_a_sheet(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    book = openpyxl.Workbook()
    assert book.active is not None
    book.active.append(["Kommentar", "Note", "Kommentar"])
    for number in range(20):
        book.active.append([f"some words {number}", f"{1 + number % 4},{number % 3}", None])
    book.save(tmp_path / "a.xlsx")
    shown = _look(capsys, f"data.source.path={tmp_path / 'a.xlsx'}")
    assert "note: several columns are called 'Kommentar'; the second is Kommentar_2 here" in shown
    assert shown.splitlines()[-1].startswith(
        f"  python -m src.run +experiment=files data.source.path={tmp_path / 'a.xlsx'} "
        "data.source.skip_rows=1 'data.source.columns=[Kommentar,Note,Kommentar_2]' "
        "data.source.text=Kommentar data.source.label=Note data.source.decimal=comma"
    )


@pytest.mark.skipif("REAL_DATA" not in os.environ, reason="REAL_DATA names no real data sets")
@pytest.mark.parametrize(
    ("name", "proposed"),
    [
        ("stsb", "data.source.text=5 data.source.pair=6 data.source.label=4 data.task=regression"),
        ("sst2", "data.source.format=label_first\n"),
        ("imdb", "data.source.text=text data.source.label=label\n"),
        ("hatecheck", "data.source.text=test_case data.source.label=label_gold\n"),
    ],
)
def test_real_data(capsys: pytest.CaptureFixture[str], name: str, proposed: str) -> None:
    folder = Path(os.environ["REAL_DATA"]) / name
    assert proposed in _look(capsys, f"data.source.path={folder}")
