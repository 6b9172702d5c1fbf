"""Generated questions by what they ask for: person, place, number, date, thing or reason.

The question word decides by itself ("Why did the pilot ..."), or leaves it to the head noun behind
it ("Which old city did the pilot ..."); "how many" asks for a number whatever is counted. Nouns of
all classes stand elsewhere, too, where they say nothing.

    "Which city did the old pilot mention with the price?"   place
    "After the old price, how many cities did the pilot forget?"   number
"""

from random import Random

from src.data.synthetic.drawing import pick_uniform, split_words

HEAD_NOUNS = {
    "person": split_words(
        "painter composer inventor explorer poet senator pilot captain surgeon architect"
    ),
    "place": split_words(
        "city island river valley mountain country harbour village desert province"
    ),
    "number": split_words(
        "height price population distance weight percentage temperature length age speed"
    ),
    "date": split_words("year month century decade weekday season birthday evening hour date"),
    "thing": split_words("instrument tool animal book engine plant metal coin game fabric"),
    "reason": split_words(
        "reason cause motive purpose explanation excuse justification intention ground incentive"
    ),
}
QUESTION_CLASSES = tuple(HEAD_NOUNS)
# that need no noun
QUESTION_WORDS = {
    "person": ("Whom", "With whom"),
    "place": ("Where", "From where"),
    "number": ("How often", "How many times"),
    "date": ("When", "How long ago"),
    "thing": ("What", "With what"),
    "reason": ("Why", "To what end"),
}
COUNTING_WORD = "How many"
# What stands before the head noun, and what behind it: an inverted or a relative clause.
LEADING_WORDS = (
    ("Which", "did the {asker} {verb}"),
    ("About which", "did the {asker} {verb}"),
    ("What was the", "that the {asker} did {verb}"),
    ("Does anybody know the", "that the {asker} did {verb}"),
)
ADJECTIVES = split_words("old famous second favourite usual final")
VERBS = split_words("mention remember choose describe forget announce")
LINKS = ("with", "instead of", "because of", "after", "like")

# Questions whose class the question word tells, and nouns with an adjective.
_WORD_ALONE_FRACTION, _ADJECTIVE_FRACTION = 0.3, 0.5
# Questions for a number that count things, of those that have a noun.
_COUNTING_FRACTION = 0.5
# Questions that begin with a noun that says nothing.
_OTHER_FIRST_FRACTION = 0.3


def generate_question(random: Random, asked: str) -> str:
    """A question that asks for a class.

    Args:
        asked: one of `QUESTION_CLASSES`.
    """
    opening, clause, head_class = _generate_opening(random, asked)
    asker = _generate_adjective(random) + pick_uniform(random, HEAD_NOUNS["person"])
    others = [name for name in QUESTION_CLASSES if name != head_class]
    other = pick_uniform(random, HEAD_NOUNS[pick_uniform(random, others)])
    aside = f"{pick_uniform(random, LINKS)} the {_generate_adjective(random)}{other}"
    body = f"{opening} {clause.format(asker=asker, verb=pick_uniform(random, VERBS))}"
    if random.random() < _OTHER_FIRST_FRACTION:
        return f"{aside.capitalize()}, {body[0].lower()}{body[1:]}?"
    return f"{body} {aside}?"


def _generate_opening(random: Random, asked: str) -> tuple[str, str, str]:
    """What stands before the verb, the pattern of the clause behind it, and the class of its noun,
    or of the question word.
    """
    leading, clause = pick_uniform(random, LEADING_WORDS)
    inverted = LEADING_WORDS[0][1]
    if random.random() < _WORD_ALONE_FRACTION:
        return pick_uniform(random, QUESTION_WORDS[asked]), inverted, asked
    adjective = _generate_adjective(random)
    if asked == "number" and random.random() < _COUNTING_FRACTION:
        counted = pick_uniform(random, [name for name in QUESTION_CLASSES if name != "number"])
        noun = _form_plural(pick_uniform(random, HEAD_NOUNS[counted]))
        return f"{COUNTING_WORD} {adjective}{noun}", inverted, counted
    return f"{leading} {adjective}{pick_uniform(random, HEAD_NOUNS[asked])}", clause, asked


def _generate_adjective(random: Random) -> str:
    """An adjective with a space behind it, or nothing."""
    return f"{pick_uniform(random, ADJECTIVES)} " if random.random() < _ADJECTIVE_FRACTION else ""


def _form_plural(noun: str) -> str:
    return f"{noun[:-1]}ies" if noun[-1] == "y" and noun[-2] not in "aeiou" else f"{noun}s"
