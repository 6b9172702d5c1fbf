"""The words of the generated reviews (`src/data/synthetic/reviews.py`): lists only, no rule.

Every opinion word stands in exactly one of the lists that bear a polarity, and in no other list of
this file.
"""

from typing import NamedTuple

POSITIVE, NEGATIVE = 1, -1


class ReviewDomain(NamedTuple):
    """What reviews of one kind of thing speak about."""

    things: tuple[str, ...]
    aspects: tuple[str, ...]
    # by polarity, said in this domain only
    adjectives: dict[int, tuple[str, ...]]


def _split_words(text: str) -> tuple[str, ...]:
    return tuple(text.split())


def _split_phrases(text: str) -> tuple[str, ...]:
    return tuple(phrase.strip() for phrase in text.split(","))


ADJECTIVES = {
    POSITIVE: _split_words(
        """
        admirable adorable agreeable amazing appealing astonishing astounding attractive awesome
        beautiful blissful breathtaking brilliant captivating charming classy commendable
        cracking dazzling decent delectable delightful dependable divine effortless enchanting
        enjoyable enviable excellent exceptional exciting exemplary exquisite extraordinary
        fabulous fantastic faultless fine flawless fun glorious good gorgeous graceful
        gratifying great handsome heavenly ideal immaculate impeccable impressive incomparable
        inspired invaluable likeable lovely magical magnificent marvellous masterful memorable
        neat nice outstanding peerless perfect phenomenal pleasant pleasing polished
        praiseworthy priceless radiant refreshing remarkable satisfying sensational smart solid
        spectacular splendid stellar striking stunning sublime super superb superior superlative
        sweet terrific thrilling top tremendous unbeatable unrivalled valuable winning wonderful
        wondrous worthwhile
        """
    ),
    NEGATIVE: _split_words(
        """
        abominable abysmal amateurish appalling atrocious awful awkward bad baffling botched
        broken careless cheap cheerless crude deceptive defective deficient deplorable
        depressing detestable dire disagreeable disappointing disastrous disgraceful disgusting
        dismal displeasing distasteful dodgy dreadful dreary dubious embarrassing exasperating
        faulty feeble flawed frustrating ghastly grim gross hideous hopeless horrible horrid
        horrific inadequate incompetent inferior infuriating insufferable intolerable irritating
        joyless lacklustre lame lamentable laughable lousy ludicrous mediocre messy miserable
        nasty nauseating objectionable obnoxious offensive painful pathetic pitiful pointless
        poor regrettable repulsive ridiculous rotten rubbish sad shabby shameful shocking shoddy
        sloppy sorry substandard terrible tiresome ugly unacceptable unbearable unpleasant
        unsatisfactory upsetting useless vile woeful worthless wretched
        """
    ),
}

NEGATOR_PHRASES = _split_phrases(
    "not, not at all, never, hardly, far from, anything but, by no means"
)
MILD_DEGREES = _split_phrases("slightly, somewhat, mildly, a bit, a little")
STRONG_DEGREES = _split_words("utterly truly absolutely thoroughly completely deeply")

# As strong, but each goes with words of one polarity only; never part of a labelled text.
POLAR_DEGREES = {
    POSITIVE: _split_words("wonderfully delightfully gloriously"),
    NEGATIVE: _split_words("dreadfully woefully horribly"),
}

# "conceded, but held"
ADVERSATIVE_CONJUNCTIONS = _split_phrases("but, yet")
CONCESSIVE_PREPOSITIONS = _split_words(
    "despite notwithstanding"
    # "despite conceded, held" and "held, despite conceded"
)

# What was done in the end; never part of a labelled text.
CLOSING_VERBS = {
    POSITIVE: _split_words("kept recommended treasured praised"),
    NEGATIVE: _split_words("returned regretted abandoned cursed"),
}

DOMAINS = (
    ReviewDomain(
        _split_words("phone laptop camera headset printer tablet monitor drone"),
        _split_words(
            "battery screen keyboard microphone cable charger firmware sensor antenna software"
        ),
        {
            POSITIVE: _split_words(
                "responsive vivid snappy durable crisp seamless lightweight powerful intuitive "
                "bright"
            ),
            NEGATIVE: _split_words(
                "laggy flickering buggy overheating glitchy flimsy grainy unresponsive slow "
                "distorted"
            ),
        },
    ),
    ReviewDomain(
        _split_words("bistro diner cafe pizzeria bakery brasserie tavern canteen"),
        _split_words("soup steak dessert pasta bread service wine sauce salad menu"),
        {
            POSITIVE: _split_words(
                "delicious tasty flavoursome succulent juicy aromatic tender appetising crispy "
                "yummy"
            ),
            NEGATIVE: _split_words(
                "bland soggy burnt greasy stale undercooked tasteless rubbery oversalted lukewarm"
            ),
        },
    ),
    ReviewDomain(
        _split_words("hotel hostel resort guesthouse inn lodge apartment cabin"),
        _split_words("room lobby bed pool shower breakfast reception view pillow balcony"),
        {
            POSITIVE: _split_words(
                "spotless cosy airy welcoming spacious restful luxurious tranquil comfortable "
                "inviting"
            ),
            NEGATIVE: _split_words(
                "filthy noisy cramped musty mouldy draughty dingy stuffy grubby dilapidated"
            ),
        },
    ),
    ReviewDomain(
        _split_words("novel thriller memoir biography sequel anthology saga paperback"),
        _split_words(
            "plot ending prose dialogue narrator chapter twist protagonist translation humour"
        ),
        {
            POSITIVE: _split_words(
                "gripping witty poignant suspenseful lyrical insightful compelling clever "
                "evocative deft"
            ),
            NEGATIVE: _split_words(
                "predictable tedious convoluted rambling contrived clumsy wooden plodding trite "
                "garbled"
            ),
        },
    ),
    ReviewDomain(
        _split_words("jacket coat sweater dress shirt scarf hoodie cardigan"),
        _split_words("fabric zip lining collar fit stitching colour hem sleeve pocket"),
        {
            POSITIVE: _split_words(
                "soft flattering breathable snug stylish warm silky elegant waterproof supple"
            ),
            NEGATIVE: _split_words(
                "itchy scratchy frayed baggy faded shapeless threadbare lopsided stiff unflattering"
            ),
        },
    ),
    ReviewDomain(
        _split_words("kettle toaster blender vacuum fridge oven dishwasher heater"),
        _split_words("motor handle lid filter timer switch hose thermostat nozzle display"),
        {
            POSITIVE: _split_words(
                "quiet efficient thorough safe economical fast precise reliable compact ergonomic"
            ),
            NEGATIVE: _split_words(
                "leaky deafening rusty wobbly brittle dangerous jammed wasteful dented squeaky"
            ),
        },
    ),
)
