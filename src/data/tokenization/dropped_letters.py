"""Letters of texts that a tokenizer leaves out without a trace."""

from typing import Any


class DroppedLetters:
    """Finds the letters for which a tokenizer (`tokenizers.Tokenizer`) has no token at all.

    A model of byte pairs (BPE) without an unknown token passes over such letters; all other models
    have an unknown token or raise an error. What its normalizer takes out is not meant: accents,
    or white space between words.
    """

    def __init__(self, backend: Any) -> None:
        self._backend = backend
        self.is_possible = _may_drop_letters(backend)
        self._seen: set[str] = set()
        self._dropped: set[str] = set()

    def count(self, *texts: str | None) -> int:
        """How many letters of these texts are dropped."""
        if not self.is_possible:
            return 0
        total = 0
        for text in filter(None, texts):
            letters = set(text)
            if new := letters - self._seen:
                self._seen |= new
                self._dropped.update(filter(self._is_dropped, new))
            if self._dropped:
                total += sum(map(text.count, letters & self._dropped))
        return total

    def _is_dropped(self, letter: str) -> bool:
        backend = self._backend
        if backend.token_to_id(letter) is not None:
            return False
        if backend.normalizer is not None:
            letter = backend.normalizer.normalize_str(letter)
        pieces = [letter]
        if backend.pre_tokenizer is not None:
            pieces = [piece for piece, _ in backend.pre_tokenizer.pre_tokenize_str(letter)]
        return any(not self._has_token(part) for piece in pieces for part in piece)

    def _has_token(self, part: str) -> bool:
        model = self._backend.model
        begins = ("", model.continuing_subword_prefix or "")
        ends = ("", model.end_of_word_suffix or "")
        return any(
            self._backend.token_to_id(begin + part + end) is not None
            for begin in begins
            for end in ends
        )


def _may_drop_letters(backend: Any) -> bool:
    from tokenizers.pre_tokenizers import ByteLevel

    model = backend.model
    if type(model).__name__ != "BPE" or model.unk_token is not None:
        return False

    def has_all(tokens: list[str]) -> bool:
        return all(backend.token_to_id(token) is not None for token in tokens)

    if model.byte_fallback and has_all([f"<0x{byte:02X}>" for byte in range(256)]):
        return False
    steps = f"{backend.normalizer!r} {backend.pre_tokenizer!r}"
    return not ("ByteLevel" in steps and has_all(ByteLevel.alphabet()))
