"""Generated sentences with persons, organisations and places, for token classification. Nothing is
downloaded or stored.

Names need their surroundings: the same words are surnames and towns ("Lincoln"), and organisations
are called after both ("Lincoln Bank").
"""

from random import Random

from src.data.rows.token_labels import EntitySpan, TokenLabels
from src.data.synthetic.drawing import pick_uniform, split_words

FIRST_NAMES = split_words(
    """
    Ada Alan Anna Boris Clara David Edith Emma Felix Grace Hugo Ida Ivan James Julia Karl Laura Leo
    Maria Martin Nina Oscar Paula Peter Rosa Samuel Sophie Thomas Vera Walter
    """
)
# surnames, towns and parts of the names of organisations alike
SHARED_NAMES = split_words(
    """
    Lincoln Bedford Preston Ashford Hamilton Carlisle Stafford Warwick Kendal Morley Selby Thorne
    Halton Burnley Clifton Dalton Easton Fulton Grafton Harlow
    """
)
# parts of names that no list holds
_FIRST_SYLLABLES = split_words("Bar Cor Dal Fen Gil Har Kel Lor Mar Nor Pel Ros Sel Tor Vel Wes")
_LAST_SYLLABLES = split_words("bury combe dale field ham ington ley mouth nock stead ton wick")
ORGANISATION_WORDS = split_words(
    "Bank Motors Airlines United Press Foods Steel Records Hospital Insurance"
)
SENTENCES = (
    "{person} of {organisation} arrived in {place} on {day}.",
    "{organisation} said on {day} that {person} would leave.",
    "{person} met {person} in {place}.",
    "The {adjective} office of {organisation} in {place} was closed on {day}.",
    "{organisation} bought {organisation} for {number} million.",
    "{person}, who was born in {place}, joined {organisation}.",
    "It rained in {place} and {place} on {day}.",
    "Shares of {organisation} fell by {number} percent.",
    "{place}'s mayor, {person}, spoke to {organisation}.",
    "Nobody was hurt when a {adjective} train stopped near {place}.",
    "The {adjective} report was read by {number} people.",
    "{person} told reporters about the {adjective} plan of {organisation}.",
)
DAYS = split_words("Monday Tuesday Wednesday Thursday Friday Saturday Sunday")
ADJECTIVES = split_words("new old northern large small secret annual late")
# Shares of names that are made of syllables, of persons with a first name, and of organisations
# that are called by one name.
_MADE_NAME_FRACTION, _FIRST_NAME_FRACTION, _SHORT_NAME_FRACTION = 0.5, 0.7, 0.5


def generate_sentence(random: Random) -> tuple[str, TokenLabels]:
    """A sentence and its entities."""
    text, spans = "", []
    pieces = pick_uniform(random, SENTENCES).replace("}", "{").split("{")
    # every other piece stood in braces
    for number, piece in enumerate(pieces):
        if number % 2 == 0:
            text += piece
            continue
        words, kind = _fill_slot(random, piece)
        if kind is not None:
            spans.append(EntitySpan(len(text), len(text) + len(words), kind))
        text += words
    return text, TokenLabels(spans=tuple(spans))


def _fill_slot(random: Random, slot: str) -> tuple[str, str | None]:
    """The words for a slot and the type of entity that they are, if any."""
    match slot:
        case "person":
            first = random.random() < _FIRST_NAME_FRACTION
            given = f"{pick_uniform(random, FIRST_NAMES)} " if first else ""
            return given + _make_name(random), "PER"
        case "organisation":
            is_short = random.random() < _SHORT_NAME_FRACTION
            kind = "" if is_short else f" {pick_uniform(random, ORGANISATION_WORDS)}"
            return _make_name(random) + kind, "ORG"
        case "place":
            return _make_name(random), "LOC"
        case "day":
            return pick_uniform(random, DAYS), None
        case "number":
            return str(2 + int(random.random() * 98)), None
        case _:
            return pick_uniform(random, ADJECTIVES), None


def _make_name(random: Random) -> str:
    if random.random() < _MADE_NAME_FRACTION:
        return pick_uniform(random, _FIRST_SYLLABLES) + pick_uniform(random, _LAST_SYLLABLES)
    return pick_uniform(random, SHARED_NAMES)
