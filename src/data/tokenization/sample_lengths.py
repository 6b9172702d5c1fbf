"""How a tokenizer takes the texts of files, for a look at them before a run."""

from collections.abc import Sequence
from pathlib import Path

from src.data.tokenization.dropped_letters import DroppedLetters


def describe_sample(folder: str, texts: Sequence[str], *, key: str, is_part: bool) -> str:
    """How long texts are in a tokenizer's tokens, and how many of these it does not know.

    Args:
        folder: of the tokenizer, which the config calls `key`.
        is_part: whether the texts are only the first ones.
    """
    from tokenizers import Tokenizer

    file = Path(folder).expanduser() / "tokenizer.json"
    if not file.is_file():
        return f"tokens: there is no {file}; {key}=FOLDER shows them"
    tokenizer = Tokenizer.from_file(str(file))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    ids = [encoded.ids for encoded in tokenizer.encode_batch(list(texts))]
    lengths = sorted(map(len, ids)) or [0]
    unknown = tokenizer.token_to_id(str(getattr(tokenizer.model, "unk_token", None)))
    count = sum(row.count(unknown) for row in ids) if unknown is not None else 0
    dropped = DroppedLetters(tokenizer).count(*texts)
    return (
        f"tokens of a text: half have up to {lengths[len(lengths) // 2]:,}, nine tenths up to "
        f"{lengths[len(lengths) * 9 // 10]:,}, the longest {lengths[-1]:,}; "
        f"{100 * count / max(1, sum(lengths)):.1f} % of them unknown"
        + f"; {dropped:,} letters are dropped, for which it has no token" * bool(dropped)
        + f" (first {len(texts):,} rows)" * is_part
    )
