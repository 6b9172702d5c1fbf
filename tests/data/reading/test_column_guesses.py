"""Which columns of a table are the text, the second text and the label."""

import csv
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.data.reading.column_guesses import describe_doubts, guess_columns
from src.data.reading.column_names import find_second_text, rank_label_name
from src.data.reading.column_profiles import sample_columns
from src.data.reading.decoding import InputFile
from src.data.reading.sources import Source

# What stands in a column, by a letter.
CELLS: dict[str, Callable[[int], str]] = {
    "t": lambda n: f"a sentence of some words, number {n} of these",
    "T": lambda n: f"a much longer text of many words that goes on and on, number {n} of all",
    "m": lambda n: f"a template with a [PLACE] in it that is longer than texts are, {n % 12}",
    "h": lambda n: f"heading {n}",
    "i": lambda n: str(1000 + n),
    "w": lambda n: f"user{n}",
    "u": lambda n: f"https://example.org/some/long/path/to/a/page/of/{n}/index.html",
    "d": lambda n: f"2024-03-{1 + n % 28:02d} 10:00:00",
    "2": lambda n: "yes" if n % 2 else "other",
    "3": lambda n: ("good", "bad", "neither")[n % 3],
    "p": lambda n: ("Positive", "Negative", "Neutral", "Irrelevant")[n % 4],
    "b": lambda n: str(n % 2),
    "5": lambda n: str(1 + n % 5),
    "f": lambda n: str(round(n % 7 * 0.7 + 0.05, 2)),
    "r": lambda n: str(n / 7),
    "k": lambda n: "same",
    "s": lambda n: "2012test" if n % 2 else "2012train",
    "l": lambda n: f"Dear customer {n}, thank you for your kind words; " * 4 if n % 9 else "",
    "o": lambda n: "bad" if n == 0 else "",
}


def _guess(tmp_path: Path, header: list[str] | None, cells: str) -> tuple[Any, list[str]]:
    """The guessed columns of a table, and what is unsure of them."""
    file = tmp_path / "a.csv"
    with file.open("w", encoding="utf-8", newline="") as stream:
        writer = csv.writer(stream)
        if header is not None:
            writer.writerow(header)
        writer.writerows([CELLS[kind](number) for kind in cells] for number in range(40))
    start: str | int = 0 if header is None else header[0]
    source = Source(path=str(file), header=header is not None, text=start)
    profiles = sample_columns(source, InputFile(file, "a.csv"), "csv")
    columns = guess_columns(profiles, {})
    if columns is None:
        return None, []
    return (columns.text, columns.pair, columns.label), list(
        describe_doubts(profiles, columns, ["text", "pair", "label"])
    )


@pytest.mark.parametrize(
    ("header", "cells", "expected"),
    [
        # MultiNLI, with the judgment of each annotator beside the one that counts
        ("pairID,sentence1,sentence2,label1,gold_label", "itt33", (1, 2, 4)),
        # the paraphrases of Microsoft Research
        ("Quality,#1 ID,#2 ID,#1 String,#2 String", "biitt", (3, 4, 0)),
        # SICK, whose judgments are two
        ("pair_ID,sentence_A,sentence_B,relatedness_score,entailment_judgment", "ittf3", (1, 2, 4)),
        ("qid,question1,question2,is_duplicate", "ittb", (1, 2, 3)),
        ("index,question,sentence,label", "itt2", (1, 2, 3)),
        ("v1,v2", "2t", (1, None, 0)),
        ("text,label,label_text", "tb2", (0, None, 1)),
        # reviews of products
        ("Id,UserId,ProfileName,HelpfulnessNumerator,Score,Time,Summary,Text", "iwwb5ihT", (7, 4)),
        ("asin,reviewerName,reviewText,overall,summary", "iwt5h", (2, 3)),
        # tweets of airlines: an expert's judgment of few, and how sure the others were
        (
            "tweet_id,airline_sentiment,airline_sentiment_confidence,airline,"
            "airline_sentiment_gold,name,text,tweet_created",
            "i3r2owtd",
            (6, 1),
        ),
        # a part of the text that is no text of its own
        ("textID,text,selected_text,sentiment", "wtT3", (1, 3)),
        # the words of a template are the same in many rows
        ("id,test_case,case_templ,label_gold,direction", "itm32", (1, 3)),
        ("date,Text,Note,Filiale", "dtf2", (1, 2)),
        ("url,headline,is_sarcastic", "uhb", (1, 2)),
        ("timestamp,author,comment,subreddit,stance", "dwt23", (2, 4)),
        ("text,price", "tr", (0, 1)),
        ("text,intent_id,channel", "t52", (0, 1)),
        # BoolQ, whose passages are far longer than its questions
        ("question,passage,idx,label", "hTib", (0, 1, 3)),
        ("conversation_id,turn,speaker,utterance,dialog_act", "553t3", (3, 4)),
        ("data.text,annotation.label,annotation.annotator", "t22", (0, 1)),
        ("id,text,url", "itu", (1, None)),
        ("date,id", "di", None),
    ],
)
def test_columns_of_data_sets_of_the_field(
    tmp_path: Path, header: str, cells: str, expected: tuple[int | None, ...] | None
) -> None:
    names = header.split(",")
    found, _ = _guess(tmp_path, names, cells)
    if expected is None:
        assert found is None
        return
    text, pair, label = expected if len(expected) == 3 else (expected[0], None, expected[1])
    assert found == tuple(None if place is None else names[place] for place in (text, pair, label))


def test_columns_without_names(tmp_path: Path) -> None:
    found, doubts = _guess(tmp_path, None, "ksiftt")
    assert found == (4, 5, 3)
    assert doubts == ["columns 4 and 5 are taken for a pair of texts"]
    # labels that are known
    assert _guess(tmp_path, None, "i2pt")[0] == (3, None, 2)
    # of several classes the nearest to the text
    assert _guess(tmp_path, None, "i3t2")[0] == (2, None, 1)
    # a heading is no second text
    assert _guess(tmp_path, None, "5hT")[0] == (2, None, 0)


@pytest.mark.parametrize(
    ("header", "cells", "text"),
    [
        (["reviewId", "content", "score", "replyContent"], "it5l", "content"),
        (["id", "review", "rating", "developer_response"], "it5l", "review"),
        (["id", "body", "stars", "responseText"], "it5l", "body"),
        # a usual name goes before one that could be anything
        (["id", "text", "label", "details"], "it5T", "text"),
        (["id", "opinion", "label", "response_body"], "it5l", "opinion"),
        # but not where it is a note on few rows, or a class
        (["id", "details", "label", "comment"], "it5o", "details"),
        (["id", "details", "label", "review"], "it53", "details"),
    ],
)
def test_replies_and_usual_names(tmp_path: Path, header: list[str], cells: str, text: str) -> None:
    found, doubts = _guess(tmp_path, header, cells)
    assert found == (text, None, header[2])
    assert not any("texts too" in doubt for doubt in doubts if "details" not in header)


def test_what_is_unsure_is_told(tmp_path: Path) -> None:
    assert _guess(tmp_path, ["text", "label", "user"], "t2w")[1] == []
    assert _guess(tmp_path, ["body", "queue", "priority"], "t23")[1] == [
        "no column is called as a label is; queue is a guess, and so would be priority (3 "
        "different) (data.source.label=COLUMN)"
    ]
    assert _guess(tmp_path, ["text", "sentiment", "emotion"], "t23")[1] == [
        "the label may be another column: emotion (3 different) (data.source.label=COLUMN)"
    ]
    assert _guess(tmp_path, ["argument", "topic", "stance_WA"], "t2f")[1] == [
        "the label may be another column: stance_WA (7 different) (data.source.label=COLUMN)"
    ]
    assert _guess(tmp_path, ["text", "label", "stance_WA"], "t2f")[1] == []
    assert _guess(tmp_path, ["text_de", "text_en", "label"], "tt2")[1] == [
        "text_en: texts too, which are not taken; data.source.text=[text_de,text_en] joins columns"
    ]


@pytest.mark.parametrize(
    ("name", "rank"),
    [
        ("gold_label", 0),
        ("Label", 1),
        ("airline_sentiment", 2),
        ("reviews.rating", 1),
        ("labelId", 2),
        ("queue", 3),
        ("annotator_labels", 4),
        ("sentiment:confidence", 4),
        ("user_id", 5),
    ],
)
def test_ranks_of_names(name: str, rank: int) -> None:
    assert rank_label_name(name, is_numeric=False) == rank


def test_names_of_second_texts() -> None:
    names = ["Text_B", "s2", "#2 String", "hypothesis", "b", "v2"]
    firsts = ["Text_A", "s1", "#1 String", "premise", "a"]
    assert [find_second_text(name, names) for name in firsts] == [*names[:4], None]
