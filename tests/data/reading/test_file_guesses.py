"""How files are read whose names do not say it: what a look guesses of them."""

from pathlib import Path

import pytest

from src.core.user_errors import UserError
from src.data.preparation.text_cleaning import strip_html
from src.data.reading.sources import Source
from src.look import main
from tests.data.reading.test_readers import put

ARTICLE = (
    '<doc id="{0}" url="https://example.org/wiki?curid={0}" title="Thing {0}">\n'
    "Thing {0}\n\nThing {0} is a thing of which a few words are said.\n\n</doc>\n"
)


def _look(capsys: pytest.CaptureFixture[str], *arguments: str) -> str:
    assert main(arguments) == 0
    return capsys.readouterr().out


@pytest.mark.parametrize("place", ["", "AA", "AA/wiki_00", "*/wiki_*"])
def test_articles_of_wikiextractor(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], place: str
) -> None:
    for number in range(4):
        file = tmp_path / ("AA", "AB")[number // 2] / f"wiki_0{number % 2}"
        file.parent.mkdir(exist_ok=True)
        put(file, "".join(ARTICLE.format(5 * number + n) for n in range(5)))
    path = str(tmp_path / place) if place else str(tmp_path)
    shown = _look(capsys, f"data.source.path={path}")
    found = f"{tmp_path}/*/wiki_*" if place in ("", "*/wiki_*") else path
    typed = f"""'data.source.path="{found}"'""" if "*" in found else f"data.source.path={found}"
    assert shown.endswith(
        f"to train on it (masked_lm):\n  python -m src.run +experiment=mlm_files {typed} "
        """data.source.format=text 'data.source.heading="^<doc id="'\n"""
    )
    assert "note: lines of <doc ...> and </doc> stand around articles" in shown
    assert "class_files" not in shown
    rows = list(Source(path=found, format="text", heading="^<doc id=").read_records("train"))
    assert len(rows) == {"": 20, "AA": 10, "AA/wiki_00": 5, "*/wiki_*": 20}[place]
    assert strip_html(rows[0].text).strip().startswith(f"Thing {rows[0].text[9]}\n")
    assert "doc" not in strip_html(rows[0].text)


def test_folders_of_articles_are_no_classes(tmp_path: Path) -> None:
    for folder in ("AA", "AB"):
        (tmp_path / folder).mkdir()
        put(tmp_path / folder / "wiki_00", ARTICLE.format(1))
    with pytest.raises(UserError) as caught:
        Source(path=str(tmp_path), label="label").check()
    assert str(caught.value) == (
        f"data.source.path={tmp_path}: AA/wiki_00 holds articles of WikiExtractor, whose folder "
        f"AA is no class; python -m src.look data.source.path={tmp_path} gives the command that "
        "reads them"
    )
    Source(path=str(tmp_path)).check()


def test_many_files_are_all_of_the_pattern(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for folder in range(4):
        (tmp_path / f"A{'ABCD'[folder]}").mkdir()
        for number in range(100):
            put(tmp_path / f"A{'ABCD'[folder]}" / f"wiki_{number:02}", ARTICLE.format(number))
    assert "rows: train 400\n" in _look(capsys, f"data.source.path={tmp_path}")


@pytest.mark.parametrize("is_folder", [True, False])
def test_a_table_with_lines_of_numbers_and_blank_ones(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], is_folder: bool
) -> None:
    """PubMed RCT: a line with the number of an abstract, then its sentences."""
    labels = ("BACKGROUND", "METHODS", "RESULTS")
    for name in ("train", "dev", "test"):
        lines = []
        for number in range(20):
            lines += [f"###2429{number}"]
            lines += [f"{label}\tWe study {name} thing {number} ." for label in labels] + [""]
        put(tmp_path / f"{name}.txt", "\n".join(lines) + "\n")
    path = str(tmp_path) if is_folder else f"{tmp_path}/train.txt"
    shown = _look(capsys, f"data.source.path={path}")
    assert "3 different labels: BACKGROUND" in shown and "rows: train 60" in shown
    assert "data.source.format=tsv data.source.comment=hash data.source.header=false" in shown
    assert "data.source.text=1 data.source.label=0" in shown
    assert "(classification)" in shown


def test_lines_with_a_hash_alone_are_no_table(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    put(tmp_path / "a.txt", "# a heading\n\nsome words\n# another\nmore words of it\n" * 9)
    assert "to train on it (masked_lm):" in _look(capsys, f"data.source.path={tmp_path}/a.txt")
