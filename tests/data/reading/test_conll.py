from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.reading.sources import Source
from src.data.rows.records import RawRecord
from src.data.rows.tag_schemes import TagSurvey
from src.data.rows.token_labels import TokenLabels, looks_like_tags


def _read(path: Path, text: str, **options: object) -> list[RawRecord]:
    path.write_text(text, encoding="utf-8")
    typed = {"label": "tags", **options}
    source = Source(path=str(path), **typed)  # type: ignore[arg-type]
    source.check()
    return list(source.read_records("train"))


CONLL_2003 = """-DOCSTART- -X- -X- O

EU NNP B-NP B-ORG
rejects VBZ B-VP O
German JJ B-NP B-MISC
call NN I-NP O

Peter NNP B-NP B-PER
Blackburn NNP I-NP I-PER
"""


def test_the_last_column_is_the_tag(tmp_path: Path) -> None:
    first, second = _read(tmp_path / "train.conll", CONLL_2003)
    assert first.text == "EU rejects German call"
    assert first.words == ((0, 2), (3, 10), (11, 17), (18, 22))
    assert first.label == TokenLabels(tags=("B-ORG", "O", "B-MISC", "O"))
    assert first.where == "train.conll, line 3"
    assert second.text == "Peter Blackburn"
    parts = _read(tmp_path / "eng.train", CONLL_2003, format="conll", tag_column=1)
    assert parts[0].label == TokenLabels(tags=("NNP", "VBZ", "JJ", "NN"))


def test_tabs_comments_and_columns(tmp_path: Path) -> None:
    text = "# sent_id = 1\n# text = I #go\n1\tI\tPRON\n2\t#go\tVERB\n  \n\n1\tNew York\tPROPN\n"
    first, second = _read(tmp_path / "a.conll", text, token_column=1)
    assert (first.text, first.label) == ("I #go", TokenLabels(tags=("PRON", "VERB")))
    assert second.text == "New York"
    # a word may be a number sign, and an emptied word stays in its place
    records = _read(tmp_path / "b.bio", "#\tO\n\tO\nx\tB-A\n")
    assert records[0].words == ((0, 1), (2, 2), (3, 4))
    assert records[0].label == TokenLabels(tags=("O", "O", "B-A"))


@pytest.mark.parametrize("word", ["10\u00a0000", "\u2028", "a\u3000b", "\u00a0"])
def test_blanks_of_other_kinds_belong_to_a_word(tmp_path: Path, word: str) -> None:
    lines = f"Ada B-PER\npaid O\n{word} B-SUM\r\n"
    [record] = _read(tmp_path / "a.conll", lines)
    assert record.label == TokenLabels(tags=("B-PER", "O", "B-SUM"))
    assert record.text == f"Ada paid {word}"
    assert looks_like_tags([*lines.splitlines(keepends=True)[:2], f"{word} O\n", "\n"])
    # where it parts the columns itself
    [record] = _read(tmp_path / "b.conll", "Ada\u00a0B-PER\npaid\u00a0O\n")
    assert (record.text, record.label) == ("Ada paid", TokenLabels(tags=("B-PER", "O")))


@pytest.mark.parametrize(
    "comment",
    [
        "# id 5239d808-f300\tdomain=en",
        "# 0",
        "#0 x",
        "# id 1",
        "#\tid",
        "# made by a tool\n# id 0",
        "# text = Ada ran",
    ],
)
@pytest.mark.parametrize("blank", [" ", "\t"])
def test_comments_where_a_sentence_begins(tmp_path: Path, comment: str, blank: str) -> None:
    rows = ["Ada x B-PER", "# x O", "ran x O"] if "id" in comment else ["Ada B-PER", "# O", "ran O"]
    sentence = "\n".join(rows).replace(" ", blank)
    records = _read(tmp_path / "a.conll", f"{comment}\n{sentence}\n\n" * 2)
    assert [record.text for record in records] == ["Ada # ran"] * 2
    assert {record.label for record in records} == {TokenLabels(tags=("B-PER", "O", "O"))}
    remark = "beside lines that begin with '#' and are no words, which are passed over"
    told = None if comment == "# text = Ada ran" else remark
    assert {record.remark for record in records} == {told}


def test_words_that_begin_with_a_number_sign(tmp_path: Path) -> None:
    text = "Ada B-PER\n\n#fun O\n# O\n\n#new B-FILM\n\n# #\n"
    records = _read(tmp_path / "a.conll", text)
    assert [record.text for record in records] == ["Ada", "#fun #", "#new", "#"]
    assert {record.remark for record in records} == {None}


def test_the_sign_of_comments_that_was_typed(tmp_path: Path) -> None:
    text = "% one O\nAda B-PER\n% two O\nran O\n"
    [record] = _read(tmp_path / "a.conll", text, comment="%")
    assert record.text == "Ada ran"
    (tmp_path / "a.txt").write_text("# one\ntwo\n", encoding="utf-8")
    with pytest.raises(UserError, match="text files have no lines of comments"):
        Source(path=str(tmp_path / "a.txt"), comment="hash").check()


def test_without_labels_and_in_parts(tmp_path: Path) -> None:
    [record] = _read(tmp_path / "a.conll", "a\nb\n", label=None)
    assert (record.text, record.label) == ("a b", None)
    folder = tmp_path / "data"
    folder.mkdir()
    for name in ("train", "test"):
        (folder / f"{name}.iob2").write_text("a O\n", encoding="utf-8")
    source = Source(path=str(folder), label="tags")
    assert source.available_splits() == ("train", "test")


@pytest.mark.parametrize(
    ("text", "options", "message"),
    [
        (
            "a B-X\nb\n",
            {},
            "a.conll, line 2: 1 columns, but 2 in the first line; expected as many in all lines, "
            "a word and its tag among them",
        ),
        (
            "a\nb\n",
            {},
            "a.conll, line 1: column 0 is that of the words and of the tags; "
            "data.source.label=null reads words without tags",
        ),
        (
            "a O\n",
            {"tag_column": 2},
            "data.source.tag_column=2: a.conll, line 1: it has 2 columns: expected one from 0 to 1",
        ),
        ("a\t\n", {}, "a.conll, line 1: the word 'a' has no tag"),
    ],
)
def test_faults(tmp_path: Path, text: str, options: dict[str, object], message: str) -> None:
    with pytest.raises(UserError) as caught:
        _read(tmp_path / "a.conll", text, **options)
    assert message in str(caught.value)


def _number(*rows: str) -> str:
    """Lines of CoNLL-U, given by number, form and part of speech."""
    filled = [row.split() for row in rows]
    return "".join(
        "\t".join([number, form, "_", tag, "_", "_", "0", "_", "_", "SpaceAfter=No"]) + "\n"
        for number, form, tag in filled
    )


@pytest.mark.parametrize("name", ["de-ud-train.conllu", "train.conll"])
def test_universal_dependencies(tmp_path: Path, name: str) -> None:
    """A token that is written out as two words, and a word that is not there."""
    first = _number(
        "1-2 Zum _", "1 zu ADP", "2 dem DET", "3 See NOUN", "3.1 geht VERB", "4 . PUNCT"
    )
    second = _number("1 Ja INTJ", "2-3 im _", "2 in ADP", "3 dem DET")
    text = f"# sent_id = 1\n# text = Zum See.\n{first}\n# sent_id = 2\n{second}\n"
    records = _read(tmp_path / name, text)
    assert [record.text for record in records] == ["zu dem See .", "Ja in dem"]
    assert records[0].label == TokenLabels(tags=("ADP", "DET", "NOUN", "PUNCT"))
    assert records[0].where == f"{name}, line 4"
    survey = TagSurvey(None)
    for record in records:
        survey.add("train", record)
    assert list(survey.describe(survey.finish())) == [
        "tags of words: tags without prefixes and without O: no entities"
    ]
    # other columns by their numbers
    records = _read(tmp_path / name, text, tag_column=-1)
    assert records[1].label == TokenLabels(tags=("SpaceAfter=No",) * 3)
    records = _read(tmp_path / name, text, token_column=0)
    assert records[1].text == "1 2 3"


def test_ten_columns_without_numbers_are_no_universal_dependencies(tmp_path: Path) -> None:
    [record] = _read(tmp_path / "a.conll", "Score a b c d e f g h O\n3-4 a b c d e f g h B-NUM\n")
    assert record.text == "Score 3-4"
    assert record.label == TokenLabels(tags=("O", "B-NUM"))
