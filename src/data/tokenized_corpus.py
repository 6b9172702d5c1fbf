"""The rows of a `DataConfig` as tokens, made once for each content."""

import hashlib
import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.dataset_info import TEXT_TASKS
from src.core.user_errors import UserError
from src.data.batches.batching import Batching, Labelled
from src.data.batches.tagged_batches import describe_words
from src.data.cache import ContentCache
from src.data.preparation.splitting import SPLITS
from src.data.shards.shard_writer import ShardWriter, remove_growing_files
from src.data.shards.sharded_tokens import ShardedTokens
from src.data.surveyed_corpus import SurveyedCorpus, hash_as_json
from src.data.tokenization.dropped_letters import DroppedLetters
from src.data.tokenization.row_digest import iter_json_pieces
from src.data.tokenization.text_encoder import OWN_TOKENIZER_HINT, Truncation
from src.data.tokenization.token_counts import CountedTokens, TokenCounts
from src.data.tokenization.token_store import TargetLayout, TextRow, TokenStore
from src.data.tokenization.tokenize import CorpusSize, OpenWriter, tokenize_to_stores
from src.data.tokenization.tokenizer import TextTokenizer

if TYPE_CHECKING:
    from src.data.data_config import DataConfig


class TokenizedCorpus(NamedTuple):
    """The tokens of each split, those of train apart where they are in shards, what is known of
    the rows, and a hash of all that decides on the tokens.
    """

    stores: dict[str, TokenStore]
    sharded_train: ShardedTokens | None
    summary: dict[str, Any]
    key: str


def find_truncation(batching: Batching) -> Truncation:
    """What is kept of a text that is too long."""
    return batching.truncation if isinstance(batching, Labelled) else "head"


def tokenize_corpus(
    surveyed: SurveyedCorpus, tokenizer: TextTokenizer, config: "DataConfig", cache: ContentCache
) -> TokenizedCorpus:
    """Tokenise the rows, or find their tokens in the cache.

    Raises:
        UserError: the tokenizer knows nothing of the texts.
        StorageOutage: the storage of shards has not answered for too long.
    """
    shards = config.shards
    key = hash_as_json(
        [
            surveyed.key,
            tokenizer.fingerprint,
            config.batching.truncation_tokens,
            find_truncation(config.batching),
            # earlier versions have not counted them
            *["letters"] * DroppedLetters(tokenizer.backend).is_possible,
            *([] if shards is None else ["shards", shards.shard_tokens]),
        ]
    )[:32]
    shard_folder = None if shards is None else shards.open_folder()

    def open_shard_writer(place: Path, state: dict[str, int] | None) -> ShardWriter:
        assert shards is not None and shard_folder is not None
        return ShardWriter(
            place,
            shard_folder,
            key,
            vocab_size=tokenizer.vocab_size,
            shard_tokens=shards.shard_tokens,
            state=state,
        )

    def open_stores(folder: Path) -> tuple[dict[str, TokenStore], ShardedTokens | None]:
        splits = [split for split in SPLITS if (folder / split).is_dir()]
        if shards is None or shard_folder is None:
            return {split: TokenStore.open(folder / split) for split in splits}, None
        train = ShardedTokens(folder / "train", shard_folder, cache.root / "shards", shards)
        stores = {split: TokenStore.open(folder / split) for split in splits if split != "train"}
        return stores, train

    def write_stores(folder: Path) -> None:
        own_writers: dict[str, OpenWriter] = {} if shards is None else {"train": open_shard_writer}
        facts = _write_rows(folder, surveyed, tokenizer, config, own_writers)
        if shards is not None:
            remove_growing_files(folder / "train")
        stores, train = open_stores(folder)
        parts: dict[str, CountedTokens] = {**({} if train is None else {"train": train}), **stores}
        counts = {split: TokenCounts.from_store(part, tokenizer) for split, part in parts.items()}
        _check_known_tokens(counts, config.task in TEXT_TASKS)
        _write_summary(folder, surveyed, config, counts, facts)

    # on this machine for shards of this very place, beside them wherever these are
    place = key if shard_folder is None else hash_as_json([key, shard_folder.address])
    folder = cache.get_or_build("tokens", place, write_stores, resumable=True, copy_key=key)
    summary = json.loads((folder / "about.json").read_text(encoding="utf-8"))
    return TokenizedCorpus(*open_stores(folder), summary, key)


def _write_rows(
    folder: Path,
    surveyed: SurveyedCorpus,
    tokenizer: TextTokenizer,
    config: "DataConfig",
    own_writers: Mapping[str, OpenWriter],
) -> dict[str, Any]:
    """Write the tokens of each split; returns the digest of its rows, and the number of letters
    that the tokenizer dropped.
    """
    corpus, survey, _ = surveyed
    summary = survey.data_summary
    digests = {
        split: hashlib.sha256(json.dumps(summary["label_names"] or None).encode())
        for split in summary["rows"]
    }
    letters, dropped = DroppedLetters(tokenizer.backend), dict.fromkeys(summary["rows"], 0)

    def iter_rows_with_digest() -> Iterator[tuple[str, TextRow]]:
        for split, row in corpus.iter_rows(survey):
            dropped[split] += letters.count(row.text, row.pair)
            for piece in iter_json_pieces(row):
                digests[split].update(piece.encode())
            yield split, row

    tokenize_to_stores(
        folder,
        iter_rows_with_digest(),
        tokenizer.encoder,
        vocab_size=tokenizer.vocab_size,
        max_tokens=config.batching.truncation_tokens,
        truncation=find_truncation(config.batching),
        targets=TargetLayout.of_task(config.task, len(summary["label_names"])),
        size=CorpusSize(sum(summary["rows"].values()), summary["letters"]),
        own_writers=own_writers,
    )
    return {
        "digests": {split: digest.hexdigest() for split, digest in digests.items()},
        "dropped_letters": dropped,
    }


def _write_summary(
    folder: Path,
    surveyed: SurveyedCorpus,
    config: "DataConfig",
    counts: Mapping[str, TokenCounts],
    facts: Mapping[str, Any],
) -> None:
    """Write about.json: the summary of the survey, a digest of the rows of each split, the unigram
    entropy, and the unknown tokens of each split.
    """
    summary = surveyed.survey.data_summary
    if config.task == "token_classification":
        summary |= describe_words(folder, summary)
    is_text = config.task in TEXT_TASKS
    found = {
        **facts,
        "unigram_entropy": counts["train"].compute_entropy() if is_text else None,
        "unknown": {split: one.num_unknown for split, one in counts.items()},
        "unknown_share": {split: one.unknown_share for split, one in counts.items()},
    }
    (folder / "about.json").write_text(
        json.dumps({**summary, **found}, ensure_ascii=False), encoding="utf-8"
    )


def _check_known_tokens(counts: Mapping[str, TokenCounts], is_text: bool) -> None:
    """Raise UserError if the texts of a split that is learnt from, or by which a language model is
    judged, are made of special and unknown tokens alone.
    """
    for split in ("train", "validation") if is_text else ("train",):
        if split not in counts or counts[split].num_known:
            continue
        raise UserError(
            f"the tokenizer knows nothing of the {split} texts: all they become is "
            f"{counts[split].num_unknown} unknown tokens and special ones "
            "(BERT's makes one unknown token of 100 characters without a space)",
            key="data.tokenizer",
            hint=OWN_TOKENIZER_HINT,
        )
