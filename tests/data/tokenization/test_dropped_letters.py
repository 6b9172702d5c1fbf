"""Letters that a tokenizer leaves out: found where its model can, and never where it cannot."""

import pytest
from tokenizers import AddedToken, Tokenizer, models, normalizers, pre_tokenizers

from src.data.tokenization.dropped_letters import DroppedLetters


def _build(tokens: list[str], **settings: object) -> Tokenizer:
    backend = Tokenizer(models.BPE({token: i for i, token in enumerate(tokens)}, [], **settings))
    backend.pre_tokenizer = pre_tokenizers.Whitespace()
    return backend


@pytest.mark.parametrize(
    ("backend", "dropped"),
    [
        # white space is no letter that is lost
        (_build(list("ab")), 2),
        (_build(["a</w>", "b"], end_of_word_suffix="</w>"), 2),
        (_build(["a", "##b"], continuing_subword_prefix="##"), 2),
        (_build(["a", "b", "[UNK]"], unk_token="[UNK]"), 0),
        (_build(["a", "b", *(f"<0x{byte:02X}>" for byte in range(256))], byte_fallback=True), 0),
        (Tokenizer(models.WordPiece({"a": 0, "[UNK]": 1}, unk_token="[UNK]")), 0),
    ],
)
def test_letters_without_any_token(backend: Tokenizer, dropped: int) -> None:
    assert DroppedLetters(backend).count("ab \u00e9 bax", None) == dropped


def test_letters_on_bytes() -> None:
    alphabet = sorted(pre_tokenizers.ByteLevel.alphabet())
    whole, part = _build(alphabet), _build(list("ab\u0120"))
    for backend in (whole, part):
        backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    assert not DroppedLetters(whole).is_possible
    assert DroppedLetters(part).count("ab \u00e9\u00e9") == 2


def test_what_a_normalizer_takes_out_or_an_added_token_holds_is_not_meant() -> None:
    backend = _build(list("ab"))
    backend.normalizer = normalizers.Sequence([normalizers.NFD(), normalizers.StripAccents()])
    backend.add_tokens([AddedToken("\u2603")])
    assert DroppedLetters(backend).count("a\u0301 \u00e1 \u2603 b") == 0
