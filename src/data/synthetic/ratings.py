"""Generated opinions of a hotel, rated by how much they praise.

An adjective is worth 2, 1, -1 or -2; "slightly" halves it, "very" makes it half as much again, and
"not" turns it to minus a half. The rating is 3 and the mean of the opinions.

    "The pool is very good and the staff is dreadful."   3 + (1.5 - 2) / 2 = 2.75
"""

from random import Random

from src.data.synthetic.drawing import pick_uniform, pick_weighted, split_words

ADJECTIVE_SCORES = {
    word: score
    for score, words in (
        (2, split_words("superb perfect magnificent wonderful splendid brilliant")),
        (1, split_words("good nice pleasant decent tidy agreeable")),
        (-1, split_words("dull poor plain bad tired untidy")),
        (-2, split_words("dreadful awful horrible disgusting abysmal appalling")),
    )
    for word in words
}
MODIFIER_FACTORS = {"": 1.0, "slightly ": 0.5, "very ": 1.5, "not ": -0.5}
ASPECTS = split_words("staff room food view price breakfast pool garden lobby service")
NEUTRAL_RATING = 3.0

_MODIFIER_WEIGHTS = (("", 0.5), ("slightly ", 0.15), ("very ", 0.2), ("not ", 0.15))
_NUM_OPINIONS_WEIGHTS = ((1, 0.25), (2, 0.4), (3, 0.35))


def generate_opinions(random: Random) -> tuple[str, float]:
    """One to three opinions, and the rating that they amount to, from 0 to 6."""
    scores, clauses = [], []
    for _ in range(pick_weighted(random, _NUM_OPINIONS_WEIGHTS)):
        modifier = pick_weighted(random, _MODIFIER_WEIGHTS)
        adjective = pick_uniform(random, tuple(ADJECTIVE_SCORES))
        scores.append(MODIFIER_FACTORS[modifier] * ADJECTIVE_SCORES[adjective])
        clauses.append(f"the {pick_uniform(random, ASPECTS)} is {modifier}{adjective}")
    text = " and ".join(clauses)
    return f"{text[0].upper()}{text[1:]}.", NEUTRAL_RATING + sum(scores) / len(scores)
