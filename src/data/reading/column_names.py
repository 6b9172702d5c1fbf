"""What the names of columns say of what stands in them, as the data sets of the field have them."""

import re
from collections.abc import Sequence


def _parse_words(text: str) -> frozenset[str]:
    return frozenset(text.split())


_LABEL_WORDS = _parse_words(
    """
    label labels class classes target targets category categories sentiment sentiments score scores
    rating ratings star stars polarity topic topics intent intents emotion emotions stance quality
    duplicate similarity relatedness entailment acceptability toxic toxicity spam hate hateful
    offensive irony sarcasm sarcastic humor overall grade intensity valence subtask outcome verdict
    judgment judgement acceptable act acts y gold truth
    etiqueta etiquetas etiquette étiquette classe clase klasse kategorie categoria categoría
    catégorie bewertung sterne thema stimmung sentimiento sentimento émotion
    метка класс категория тональность 标签 标注 类别 情感 ラベル
    """
)
# Of numbers only: as words, "note" is a text.
_VALUE_WORDS = _parse_words("note nota punkte points price value amount preis prix")
_GOLD_WORDS = _parse_words("gold consensus majority final truth")
# What numbers of classes are called beside a word for a label.
_NUMBER_WORDS = _parse_words("id idx index nr no number")
# Of columns about a row and not about its text.
_BOOKKEEPING_WORDS = _NUMBER_WORDS | _parse_words(
    """
    annotator annotators annotation annotations annot annotated worker workers rater raters
    confidence agreement
    ids ts epoch key hash uuid guid qid url urls link source sources file filename
    path page date time timestamp datetime created updated year month day user username author
    name names lang language locale country version split fold batch count counts total license
    parse template templ lemma unnamed trusted judgments variance std deviation error weight
    platform device speaker turn
    """
)
_TEXT_WORDS = _parse_words(
    """
    text texts sentence sentences review reviews comment comments content contents body tweet
    message utterance utterances utt document
    texto texte kommentar satz nachricht commentaire avis comentario mensaje testo
    текст отзыв 文本 内容 评论 テキスト
    """
)
_OTHER_TEXT_WORDS = _parse_words(
    """
    string question questions post query description excerpt passage article abstract statement
    news sms email mail feedback verbatim narrative premise hypothesis dialogue conversation
    essay answer claim headline title summary complaint note notes transcript story lyrics plot
    caption paragraph context tokens words
    """
)
# Whoever wrote a text is rarely its label; an `author` may be.
_PERSON_WORDS = _parse_words("user username userid sender nickname nick login handle from_id")
_KEY_WORDS = _parse_words("id ids idx index key keys hash uuid guid qid")
# Inside an object that is called as a label is, the label itself.
_NAME_KEYS = frozenset(("name", "value"))
# What is asked in the messages of a chat.
_ASKED_NAME = re.compile(r"(messages|conversations?)\.(user|human)", re.IGNORECASE)
# With these begin columns of what somebody answered to the text of a row.
_REPLY_WORDS = _parse_words("reply replies response responses")
_AUTHOR_WORDS = _parse_words("developer dev vendor owner seller merchant business host management")
_FIRST_WORDS = ("1", "a", "one", "first", "left")
_SECOND_WORDS = ("2", "b", "two", "second", "right")
_PLACE_WORDS = frozenset((*_FIRST_WORDS, *_SECOND_WORDS))
# The names of two texts that make a row together, where they are not numbered.
_SECOND_TEXTS = {
    "premise": ("hypothesis",),
    "context": ("hypothesis", "response"),
    "question": ("sentence", "passage", "context", "paragraph"),
    "query": ("passage", "document", "doc", "product_title"),
    "claim": ("evidence",),
    "headline": ("articlebody", "article_body"),
    "anchor": ("positive",),
}


def split_name(name: object) -> list[str]:
    """The words of a name in small letters, parted at signs, capitals and digits: "label1" has two,
    and so has "#1 String". Of a path of keys they are those of the last one.
    """
    keys = [key for key in str(name).split(".") if not key.startswith("$")]
    last = keys[-1] if len(keys) > 1 and keys[-1].strip() else str(name)
    parted = re.sub(r"(?<=[^\W\d_])(?=\d)|(?<=[a-z])(?=[A-Z])", " ", last)
    return [word for word in re.split(r"[\W_]+", parted.lower()) if word]


def is_person_name(name: object) -> bool:
    """Whether a column says who wrote a text: user, sender, author.nickname."""
    outer = str(name).rpartition(".")[0]
    words = {*split_name(name), *split_name(outer)} if outer else {*split_name(name)}
    inside = bool(outer) and "author" in split_name(outer)
    return inside or not words.isdisjoint(_PERSON_WORDS)


def is_key_name(name: object) -> bool:
    """Whether a column says which row this is: id, doc_key, uuid."""
    return not _KEY_WORDS.isdisjoint(split_name(name))


def says_label(name: object) -> bool:
    """Whether a name says that this is the label, whatever it is about."""
    return not {"label", "labels", "gold", "target", "class"}.isdisjoint(split_name(name))


def rank_label_name(name: object, *, is_numeric: bool) -> int:
    """How little a name is that of the label: 0 for one that settles it (gold_label), 1 for one
    that says nothing else (label), 2 for one that says it among others (airline_sentiment), 3 for
    one that says nothing of labels, 4 for what is said about a label (annotator_labels), 5 for what
    is said about a row (user_id).
    """
    outer, _, last = str(name).rpartition(".")
    if last in _NAME_KEYS and not _LABEL_WORDS.isdisjoint(split_name(outer)):
        return rank_label_name(outer, is_numeric=is_numeric)
    words = {word for word in split_name(name) if not word.isdecimal()}
    known = words & (_LABEL_WORDS | (_VALUE_WORDS if is_numeric else frozenset()))
    beside = words & _BOOKKEEPING_WORDS
    # the numbers of classes are called so
    if known and beside <= _NUMBER_WORDS:
        if words & _GOLD_WORDS and not beside:
            return 0
        # label_text: the name of the class beside its number
        return 1 if words == known else 4 if split_name(name)[-1] == "text" else 2
    if known:
        return 4
    return 5 if beside else 3


def weigh_text_name(name: object) -> float:
    """How much a name is that of a text, as a factor: 6 for one that says nothing else."""
    if _ASKED_NAME.fullmatch(str(name)):
        return 6
    words = set(split_name(name))
    if words & _BOOKKEEPING_WORDS:
        return 0.25
    if is_reply_name(name):
        return 0.1
    if words & _TEXT_WORDS:
        numbers = {word for word in words if word.isdecimal()} | words & _PLACE_WORDS
        return (5 if numbers else 6) if words <= _TEXT_WORDS | numbers else 3
    return 2 if words & _OTHER_TEXT_WORDS else 1


def is_reply_name(name: object) -> bool:
    """Whether a column is called as one is that holds the answer of another to the text of a row:
    replyContent, developer_response.
    """
    words = split_name(name)
    begins = len(words) > 1 and words[0] in _REPLY_WORDS and words[1] in _TEXT_WORDS
    answers = not {*words}.isdisjoint(_REPLY_WORDS | {"answer"})
    return begins or (answers and not _AUTHOR_WORDS.isdisjoint(words))


def is_usual_text_name(name: object) -> bool:
    """Whether a name says that this is the text, and nothing else: content, review_text, text2."""
    words = {word for word in split_name(name) if not word.isdecimal()} - _PLACE_WORDS
    return bool(words) and words <= _TEXT_WORDS


def find_named_second(name: object, names: Sequence[str | int]) -> str | int | None:
    """The same for those whose names are fixed: "hypothesis" beside "premise"."""
    by_folded = {str(other).lower(): other for other in names}
    seconds = _SECOND_TEXTS.get(str(name).lower(), ())
    return next((by_folded[second] for second in seconds if second in by_folded), None)


def find_second_text(name: object, names: Sequence[str | int]) -> str | int | None:
    """The column whose text makes a row together with that of a column; None if none is called so:
    "hypothesis" beside "premise", "#2 String" beside "#1 String".
    """
    if (named := find_named_second(name, names)) is not None:
        return named
    words = split_name(name)
    for place, word in enumerate(words):
        if len(words) > 1 and word in _FIRST_WORDS:
            second = _SECOND_WORDS[_FIRST_WORDS.index(word)]
            wanted = [*words[:place], second, *words[place + 1 :]]
            for other in names:
                if split_name(other) == wanted:
                    return other
    return None
