"""Generated notes with up to three topics of five: what each of their sentences is about.

A sentence may also say what was not talked about, and that is no topic of the note.

    "We talked about the guitar. Nobody mentioned the soup."   music
    "The meeting was short."   none
"""

from random import Random

from src.data.synthetic.drawing import pick_uniform, pick_weighted, split_words

TOPIC_NOUNS = {
    "food": split_words("soup bread cheese dessert sauce salad recipe oven kitchen spices"),
    "music": split_words("guitar choir melody concert drums orchestra violin singer album piano"),
    "sport": split_words("match referee goalkeeper league coach stadium tournament sprint team"),
    "technology": split_words(
        "laptop software printer password network server robot keyboard browser battery"
    ),
    "travel": split_words("flight hotel passport luggage beach ferry visa airport cruise museum"),
}
TOPICS = tuple(TOPIC_NOUNS)
MENTIONS = (
    "We talked about the {}.",
    "Everybody praised the {}.",
    "There was news of the {}.",
    "Most of the time went to the {}.",
)
DENIALS = (
    "Nobody mentioned the {}.",
    "Not a word about the {}.",
    "There was no news of the {}.",
)
NEUTRAL_SENTENCES = (
    "The meeting was short.",
    "It rained all day.",
    "Two of us came late.",
    "The room was full.",
    "We will meet again on Monday.",
    "Thank you for the minutes.",
)

# How many topics a note has, how many are denied, and notes with a neutral sentence; those without
# a topic always have one.
_NUM_TOPICS_WEIGHTS = ((0, 0.15), (1, 0.35), (2, 0.3), (3, 0.2))
_NUM_DENIED_WEIGHTS = ((0, 0.5), (1, 0.4), (2, 0.1))
_NEUTRAL_FRACTION = 0.4
# Mentions that name two nouns of the topic.
_TWO_NOUNS_FRACTION = 0.4


def generate_note(random: Random) -> tuple[str, tuple[str, ...]]:
    """A note and its topics, in alphabetical order."""
    num_topics = pick_weighted(random, _NUM_TOPICS_WEIGHTS)
    num_denied = pick_weighted(random, _NUM_DENIED_WEIGHTS)
    drawn = _shuffle(random, TOPICS)
    topics, denied = drawn[:num_topics], drawn[num_topics : num_topics + num_denied]
    sentences = [
        pick_uniform(random, patterns).format(_generate_subject(random, topic))
        for names, patterns in ((topics, MENTIONS), (denied, DENIALS))
        for topic in names
    ]
    if not topics or random.random() < _NEUTRAL_FRACTION:
        sentences.append(pick_uniform(random, NEUTRAL_SENTENCES))
    return " ".join(_shuffle(random, sentences)), tuple(sorted(topics))


def _generate_subject(random: Random, topic: str) -> str:
    """One noun of a topic or two."""
    nouns = _shuffle(random, TOPIC_NOUNS[topic])
    return f"{nouns[0]} and the {nouns[1]}" if random.random() < _TWO_NOUNS_FRACTION else nouns[0]


def _shuffle(random: Random, texts: tuple[str, ...] | list[str]) -> list[str]:
    return [text for _, text in sorted((random.random(), text) for text in texts)]
