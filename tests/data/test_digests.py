"""A set of digests: what goes in is found, what did not is not, and it takes little room."""

from hypothesis import given
from hypothesis import strategies as st

from src.data.preparation.cleaning import DigestSet, hash_text


@given(st.lists(st.integers(1, 2**64 - 1) | st.integers(1, 50), max_size=200))
def test_it_is_a_set(numbers: list[int]) -> None:
    digests, known = DigestSet(), set()
    for number in numbers:
        assert (number in digests) == (number in known)
        assert digests.add(number) == (number not in known)
        known.add(number)
        assert number in digests
        assert len(digests) == len(known)


def test_it_grows() -> None:
    """Neighbouring numbers are the worst that a weak hash could meet."""
    digests = DigestSet()
    assert all(digests.add(number) for number in range(1, 20_001))
    assert all(number in digests for number in range(1, 20_001))
    assert not any(number in digests for number in range(20_001, 40_000))
    assert 12 * len(digests) <= 8 * len(digests._table) <= 24 * len(digests)


def test_texts_pairs_and_labels_are_told_apart() -> None:
    wholes = [
        ("a",),
        ("b",),
        ("a", "b"),
        ("ab", ""),
        ("", "ab"),
        ("a", None, "b"),
        ("a", "b", "c"),
        ("\ud800",),
    ]
    assert len({hash_text(*each) for each in wholes}) == len(wholes)
    assert hash_text("a") == hash_text("a", None, None) != 0
