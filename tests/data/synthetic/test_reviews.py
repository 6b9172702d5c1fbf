"""The generated reviews: the verdict rule by hand, and every generated text read back by another
reader.
"""

import itertools
import re

import pytest

from src.core.user_errors import UserError
from src.data.synthetic.lexicon import NEGATIVE, POSITIVE
from src.data.synthetic.reviews import Clause, Generated, Sentence, lexicon, review_polarity

ADJECTIVES = [
    lexicon.ADJECTIVES,
    *(domain.adjectives for domain in lexicon.DOMAINS),
]
OPINIONS = {
    word: sign for adjectives in ADJECTIVES for sign, words in adjectives.items() for word in words
}

DREADFUL = Clause("dreadful", "battery", NEGATIVE)
NOT_DISAPPOINTING = Clause("disappointing", "screen", NEGATIVE, negator="not at all")
SUPERB = Clause("superb", "cable", POSITIVE)


@pytest.mark.parametrize(
    ("clause", "text", "worth"),
    [
        (SUPERB, "superb cable", 2),
        (DREADFUL, "dreadful battery", -2),
        (NOT_DISAPPOINTING, "not at all disappointing screen", 2),
        (Clause("tasty", "wine", POSITIVE, negator="anything but"), "anything but tasty wine", -2),
        (Clause("bland", "soup", NEGATIVE, degree="slightly"), "slightly bland soup", -1),
        (Clause("careless", "service", NEGATIVE, degree="utterly"), "utterly careless service", -4),
        (Clause("slow", "laptop", NEGATIVE, degree="woefully"), "woefully slow laptop", -4),
    ],
)
def test_what_a_clause_is_worth(clause, text, worth):
    assert str(clause) == text
    assert clause.sentiment_score == worth


@pytest.mark.parametrize(
    ("sentence", "text", "worth"),
    [
        (
            Sentence((SUPERB, NOT_DISAPPOINTING)),
            "Superb cable and not at all disappointing screen.",
            4,
        ),
        (
            Sentence((NOT_DISAPPOINTING,), DREADFUL, "but"),
            "Dreadful battery, but not at all disappointing screen.",
            2,
        ),
        (Sentence((DREADFUL,), SUPERB, "despite"), "Despite superb cable, dreadful battery.", -2),
        (
            Sentence((DREADFUL,), SUPERB, "notwithstanding", False),
            "Dreadful battery, notwithstanding superb cable.",
            -2,
        ),
    ],
)
def test_a_conceded_clause_counts_for_nothing(sentence, text, worth):
    assert str(sentence) == text
    assert sentence.sentiment_score == worth


def test_intensity_decides_between_sentences():
    mild = Sentence((Clause("tasty", "soup", POSITIVE, degree="slightly"),))
    strong = Sentence((Clause("careless", "service", NEGATIVE, degree="utterly"),))
    assert review_polarity([mild, strong]) == NEGATIVE
    assert review_polarity([mild, Sentence((SUPERB,))]) == POSITIVE
    assert review_polarity([Sentence((DREADFUL,)), Sentence((SUPERB,))]) == 0


def read_back(text: str) -> int:
    """The verdict from the bare text: worked out with regular expressions, and with no code of the
    generator.
    """
    total = 0
    for sentence in re.sub(r"^\w+: ", "", text).lower().rstrip(".").split(". "):
        held = re.sub(
            r"^.*, (but|yet) |^(despite|notwithstanding) .*?, |, (despite|notwithstanding) .*$",
            "",
            sentence,
        )
        for clause in held.split(" and "):
            words = clause.split()
            strength = (
                1
                if clause.startswith(lexicon.MILD_DEGREES)
                else 4
                if len(words) == 3 and words[0].endswith("ly")
                else 2
            )
            if clause.startswith(lexicon.NEGATOR_PHRASES):
                strength = -2
            total += OPINIONS[words[-2]] * strength
    return (total > 0) - (total < 0)


def test_every_label_is_what_another_reader_finds():
    for split in ("train", "test"):
        for record in Generated(train=1500, test=1500).read_records(split):
            assert {1: "positive", -1: "negative"}[read_back(record.text)] == record.label, record


def test_unlabelled_text_closes_on_its_verdict():
    for record in Generated(train=1000, labelled=False).read_records("train"):
        assert record.label is None
        body, closing = re.fullmatch(r"(.*\.) (\w+(?: and \w+)?)\.", record.text).groups()
        told = {
            sign
            for sign, words in lexicon.CLOSING_VERBS.items()
            for word in words
            if word in closing.lower().split()
        }
        assert told == {read_back(body)}


def test_labelled_rows_hold_no_telling_word():
    telling = {
        word
        for kind in (lexicon.POLAR_DEGREES, lexicon.CLOSING_VERBS)
        for words in kind.values()
        for word in words
    }
    words = {
        word
        for record in Generated(train=2000).read_records("train")
        for word in re.findall(r"\w+", record.text.lower())
    }
    assert not words & telling
    assert telling <= set(
        itertools.chain.from_iterable(
            re.findall(r"\w+", record.text.lower())
            for record in Generated(train=500, labelled=False).read_records("train")
        )
    )


def test_the_first_rows_are_known():
    # a golden text: it may change only together with the numbers that the documentation gives for
    # this data set
    assert [
        (record.label, record.text) for record in Generated(train=2, seed=1).read_records("train")
    ] == [
        (
            "negative",
            "Fridge: Despite never sloppy timer, a bit wobbly thermostat. "
            "Lovely filter, yet utterly atrocious display.",
        ),
        (
            "positive",
            "Despite poor stitching, exceptional pocket. "
            "Somewhat terrific sleeve, notwithstanding slightly threadbare fabric.",
        ),
    ]
    assert [
        record.text for record in Generated(train=2, seed=1, labelled=False).read_records("train")
    ] == [
        "Overheating microphone and woefully buggy antenna. Horribly distorted screen and flimsy "
        "battery. Returned.",
        "Phone: Gloriously excellent battery and gloriously decent antenna. Kept and treasured.",
    ]


def test_a_row_depends_on_seed_and_index_alone():
    few, many = (list(Generated(train=rows, seed=3).read_records("train")) for rows in (10, 50))
    assert many[:10] == few
    assert list(Generated(train=10, test=7, seed=3).read_records("train")) == few
    assert list(Generated(train=10, seed=4).read_records("train")) != few


@pytest.mark.parametrize("rows", [1, 2, 101])
def test_labels_are_balanced_within_one_row(rows):
    labels = [record.label for record in Generated(validation=rows).read_records("validation")]
    assert len(labels) == rows
    assert abs(labels.count("positive") - labels.count("negative")) <= 1


def test_no_two_splits_share_a_review():
    def bodies(source: Generated, split: str) -> set[str]:
        # without the name of the thing, and without the closing word of unlabelled text
        texts = (re.sub(r"^\w+: ", "", record.text) for record in source.read_records(split))
        return {text if source.labelled else text[: text.rindex(". ") + 1] for text in texts}

    sizes = {"train": 1500, "validation": 1500, "test": 1500}
    kinds = [
        bodies(Generated(**sizes, labelled=labelled, seed=seed), split)
        for labelled, seed in ((True, 0), (False, 5))
        for split in sizes
    ]
    for one, other in itertools.combinations(kinds, 2):
        assert not one & other


def test_reviews_are_varied():
    texts = [record.text for record in Generated(train=2000).read_records("train")]
    assert len(set(texts)) > 1900
    words = {word for text in texts for word in re.findall(r"\w+", text.lower())}
    assert set(OPINIONS) <= words
    assert len(OPINIONS) > 300


def test_no_word_has_two_meanings():
    adjectives = [
        word for adjectives in ADJECTIVES for words in adjectives.values() for word in words
    ]
    nouns = [word for domain in lexicon.DOMAINS for word in domain.things + domain.aspects]
    told = [
        word
        for kind in (lexicon.POLAR_DEGREES, lexicon.CLOSING_VERBS)
        for words in kind.values()
        for word in words
    ]
    every = adjectives + nouns + told + list(lexicon.STRONG_DEGREES)
    assert len(every) == len(set(every))


def test_interface():
    source = Generated(train=5, validation=4, test=3)
    source.check()
    assert source.available_splits() == ("train", "validation", "test")
    assert [len(list(source.read_records(split))) for split in source.available_splits()] == [
        5,
        4,
        3,
    ]
    first = next(source.read_records("test"))
    assert (first.pair, first.where) == (None, "generated test, row 1")
    with pytest.raises(KeyError):
        list(source.read_records("dev"))


def test_fingerprint_names_the_content():
    source = Generated(train=20)
    assert source.fingerprint_split("train") == Generated(train=20, test=9).fingerprint_split(
        "train"
    )
    others = [Generated(train=21), Generated(train=20, seed=1), Generated(train=20, labelled=False)]
    assert len({each.fingerprint_split("train") for each in (source, *others)}) == 4
    assert source.fingerprint_split("train") != source.fingerprint_split("test")


def test_refuses_what_is_no_size():
    with pytest.raises(UserError, match=r"Generated\.train"):
        Generated(train=0)
