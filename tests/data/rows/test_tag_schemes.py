import pytest

from src.core.user_errors import UserError
from src.data.rows.records import RawRecord
from src.data.rows.tag_schemes import TagScheme, TagSurvey
from src.data.rows.token_labels import EntitySpan, TokenLabels, join_words

# Ada Lee, Bath, and a second place right behind it
TYPES = ["PER", "PER", None, "LOC", "LOC"]
IN_SCHEMES = {
    "IOB1": "I-PER I-PER O I-LOC B-LOC",
    "IOB2 (BIO)": "B-PER I-PER O B-LOC B-LOC",
    "BIOES": "B-PER E-PER O S-LOC S-LOC",
    "BILOU": "B-PER L-PER O U-LOC U-LOC",
    "BMEWO": "B-PER E-PER O W-LOC W-LOC",
}
NAMES = ("O", "B-LOC", "I-LOC", "B-PER", "I-PER")


def _record(tags: str | list[int], place: int = 1) -> RawRecord:
    split = tags.split() if isinstance(tags, str) else tags
    text, words = join_words(["w"] * len(split))
    return RawRecord(text, None, TokenLabels(tags=tuple(split)), f"row {place}", words=words)


def _survey(*rows: RawRecord, names: list[str] | None = None) -> TagSurvey:
    survey = TagSurvey(names)
    for row in rows:
        survey.add("train", row)
    return survey


@pytest.mark.parametrize("scheme", IN_SCHEMES)
def test_every_scheme_becomes_bio(scheme: str) -> None:
    row = _record(IN_SCHEMES[scheme])
    survey = _survey(row, _record("O O"))
    found = survey.finish()
    assert (found.names, found.types) == (NAMES, ("LOC", "PER"))
    assert found.name == ("BIOES" if scheme == "BMEWO" else scheme) or scheme == "BMEWO"
    assert found.read_record(row, None)[1] == (3, 4, 0, 1, 1)
    first = next(survey.describe(found))
    assert first.startswith(f"tags of words: {found.name}")
    assert len(list(survey.describe(found))) == 1


@pytest.mark.parametrize(
    ("tags", "names", "said"),
    [
        # CRF toolkits write the letter behind the type, others a colon; seqeval reads bare letters
        ("PER-B PER-I O LOC-B LOC-B", NAMES, "IOB2 (BIO), the letter behind the type"),
        ("B:PER E:PER O S:LOC S:LOC", NAMES, "BIOES, a colon behind the letter"),
        ("B I O B B", ("O", "B-entity", "I-entity"), "IOB2 (BIO), without types, called 'entity'"),
    ],
)
def test_other_spellings_become_bio(tags: str, names: tuple[str, ...], said: str) -> None:
    row = _record(tags)
    survey = _survey(row, _record("O O"))
    found = survey.finish()
    assert (found.names, found.name) == (names, said)
    assert [names[tag][:1] for tag in found.read_record(row, None)[1]] == list("BIOBB")
    assert survey.count_entities().total() == 3
    assert next(survey.describe(found)) == f"tags of words: {said}, brought to BIO"
    # as answers are scored: the model's types are known, the file's spelling is not
    known = TagScheme(found.names, found.types, "")
    assert len(list(known.list_entities(row, None))) == 3


def test_types_that_look_like_another_spelling_stay() -> None:
    for tags in ("vitamin-B PER O", "I O I"):
        found = _survey(_record(tags)).finish()
        assert found.name == "types without prefixes (IO)"
        assert set(found.types) == set(tags.split()) - {"O"}


def test_inside_tags_alone_and_types_alone_join_neighbours() -> None:
    for tags, name in (
        ("I-PER I-PER O I-LOC I-LOC", "IO"),
        ("PER PER O LOC LOC", "types without prefixes (IO)"),
    ):
        found = _survey(_record(tags)).finish()
        assert found.name == name
        assert found.names == NAMES
        assert found.read_record(_record(tags), None)[1] == (3, 4, 0, 1, 2)


def test_irregular_tags_are_counted() -> None:
    survey = _survey(_record("B-PER O I-PER I-LOC", 7), _record("B-LOC I-LOC"))
    found = survey.finish()
    assert found.read_record(_record("B-PER O I-PER I-LOC"), None)[1] == (3, 0, 3, 1)
    assert list(survey.describe(found)) == [
        "tags of words: IOB2 (BIO)",
        "2 entities beginning with a tag that goes on with one (I), read as a beginning "
        "(the first: row 7)",
    ]


def test_parts_of_speech_are_no_entities() -> None:
    survey = _survey(_record("NOUN VERB NOUN"))
    found = survey.finish()
    assert (found.names, found.types) == (("NOUN", "VERB"), ())
    assert found.read_record(_record("VERB NOUN"), None)[1] == (1, 0)


def test_numbers_have_names() -> None:
    row = _record([3, 4, 0])
    names = ["O", "B-LOC", "I-LOC", "B-PER", "I-PER"]
    assert _survey(row, names=names).finish().read_record(row, names)[1] == (3, 4, 0)
    # the order of types is that of the names; other schemes are brought to BIO too
    names = ["O", "S-PER", "S-LOC"]
    found = _survey(_record([2, 1]), names=names).finish()
    assert found.names == ("O", "B-PER", "I-PER", "B-LOC", "I-LOC")
    assert found.read_record(_record([2, 1]), names)[1] == (3, 1)
    with pytest.raises(UserError) as caught:
        _survey(row, _record([0, 6, 1])).finish()
    # the highest number says how many names there are
    assert str(caught.value) == (
        "data.label_names: row 1: the tag is the number 3, which nothing names; it takes 7 names, "
        "in the order of the numbers from 0 to 6: data.label_names=[NAME,NAME,...], or a file with "
        "one on each line"
    )
    with pytest.raises(UserError, match="the number 9, which none of 3 names has; it takes 10 na"):
        _survey(_record([9]), names=names).finish()


def _spans(text: str, *spans: tuple[int, int, str]) -> RawRecord:
    label = TokenLabels(spans=tuple(EntitySpan(*span) for span in spans))
    return RawRecord(text, None, label, "row 3")


def test_spans_become_tags_of_words() -> None:
    row = _spans("Ada Lee, Bath", (0, 7, "PER"), (9, 13, "LOC"))
    survey = _survey(row, RawRecord("none", None, (), "row 2"))
    found = survey.finish()
    words, tags = found.read_record(row, None)
    assert [row.text[begin:end] for begin, end in words] == ["Ada", "Lee", ",", "Bath"]
    assert tags == (3, 4, 0, 1)
    assert list(survey.describe(found)) == ["tags of words: spans of characters, brought to BIO"]


def test_what_is_wrong_with_spans_is_counted() -> None:
    row = _spans(
        # inside a word; nested in another; white space alone; with a blank at its end
        *("Adam of Bath x", (0, 3, "PER"), (0, 12, "LOC"), (4, 5, "LOC"), (8, 13, "LOC")),
    )
    survey = _survey(row)
    found = survey.finish()
    assert found.read_record(row, None)[1] == (1, 2, 2, 0)
    assert list(survey.describe(found))[1:] == [
        "2 entities overlapping another that begins before it, left out: a word has one tag "
        "(the first: row 3)",
        "1 entity without a visible character, left out (the first: row 3)",
    ]
    survey = _survey(_spans("Adam", (0, 3, "PER")))
    assert list(survey.describe(survey.finish()))[1:] == [
        "1 entity beginning or ending inside a word, widened to the whole word (the first: row 3)"
    ]


def test_what_is_remarked_on_spans_is_told() -> None:
    label = TokenLabels(spans=(EntitySpan(0, 3, "PER"),), remarks=("utf16", "quoted"))
    survey = _survey(RawRecord("Ada", None, label, "row 3"))
    assert list(survey.describe(survey.finish()))[1:] == [
        "1 entity counted in units of UTF-16, in which an emoji is two, read so (the first: row 3)",
        "1 entity with a text of its own that is not the one at its place, read as placed "
        "(the first: row 3)",
    ]


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        (["B-PER O", "PER O"], "the tag 'PER' has no prefix, but others have, such as 'B-PER'"),
        (["O O"], "no row of train has an entity"),
        (["NOUN NOUN"], "all words of train have the tag 'NOUN'"),
    ],
)
def test_faults(rows: list[str], message: str) -> None:
    survey = _survey(*map(_record, rows))
    with pytest.raises(UserError) as caught:
        survey.finish()
    assert message in str(caught.value)


def test_a_type_that_train_lacks() -> None:
    survey = _survey(_record("B-PER O"))
    survey.add("test", _record("B-LOC", 5))
    with pytest.raises(UserError) as caught:
        survey.finish()
    assert str(caught.value) == (
        "row 5: the type 'LOC' in test is none of the 1 found in train: PER; "
        "data.label_names=[PER,LOC] names them all"
    )
