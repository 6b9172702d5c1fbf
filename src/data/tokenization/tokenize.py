"""Rows to token stores in one pass: on all cores, in constant memory, and resumed where an earlier
pass was stopped.
"""

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from itertools import islice
from multiprocessing import get_context
from pathlib import Path
from typing import Any, NamedTuple, Protocol

from tqdm import tqdm

from src.core.failures import LostProcessError
from src.core.files import write_json
from src.core.printing import print_line
from src.core.processes import call_when_parent_ends, count_usable_cores
from src.data.rows.token_labels import WordSpan
from src.data.tokenization.text_encoder import EncodedTexts, TextEncoder, Truncation
from src.data.tokenization.token_store import TargetLayout, TextRow, TokenStoreWriter

# A chunk has at most so many texts, enough for all threads of the tokenizer's library, or at least
# so many characters: long texts make small chunks, which bounds memory.
CHUNK_TEXTS = 1000
CHUNK_CHARACTERS = 1 << 20
# between two entries in the journal: after a stop, some seconds of work are done again
TOKENS_PER_JOURNAL_ENTRY = 1 << 22
# below it one process is done before others have started, which takes seconds
MIN_PARALLEL_CHARACTERS = 1 << 26
# reading and cleaning, in one process, keep no more of them busy
MAX_PROCESSES = 16
JOURNAL_FILE = "journal.json"


class RowChunk(NamedTuple):
    """Neighbouring rows of one split."""

    split: str
    rows: list[TextRow]

    @property
    def characters(self) -> int:
        return sum(len(row.text) + len(row.pair or "") for row in self.rows)

    @property
    def texts(self) -> tuple[list[str], list[str] | None, list[Sequence[WordSpan]] | None]:
        """The texts, their second texts where rows are pairs, and their words where these have
        tags.
        """
        if self.rows[0].words is not None:
            return [row.text for row in self.rows], None, [row.words or () for row in self.rows]
        has_pairs = self.rows[0].pair is not None
        pairs = [row.pair or "" for row in self.rows] if has_pairs else None
        return [row.text for row in self.rows], pairs, None


class StoreWriter(Protocol):
    """Writes the tokens of a split; a `TokenStoreWriter` says what its methods do."""

    num_rows: int

    def append_rows(self, rows: Sequence[TextRow], encoded: EncodedTexts) -> None: ...
    def sync_state(self) -> dict[str, int]: ...
    def finish_store(self) -> None: ...
    def __enter__(self) -> Any: ...
    def __exit__(self, *_: object) -> None: ...


# a writer for the folder of a split, which goes on from a state where there is one
OpenWriter = Callable[[Path, dict[str, int] | None], StoreWriter]


class CorpusSize(NamedTuple):
    """How much there is to tokenise, in all splits together."""

    rows: int
    characters: int


class EncodingSettings(NamedTuple):
    """Everything that a process needs to encode texts."""

    encoder: TextEncoder
    max_tokens: int | None
    truncation: Truncation

    def encode(
        self,
        texts: Sequence[str],
        pairs: Sequence[str] | None,
        words: Sequence[Sequence[WordSpan]] | None,
    ) -> EncodedTexts:
        if words is not None:
            assert self.max_tokens is not None
            return self.encoder.encode_words(texts, words, self.max_tokens, self.truncation)
        return self.encoder.encode(texts, pairs, self.max_tokens, self.truncation)


def tokenize_to_stores(
    folder: Path,
    rows: Iterable[tuple[str, TextRow]],
    encoder: TextEncoder,
    *,
    vocab_size: int,
    max_tokens: int | None,
    truncation: Truncation,
    targets: TargetLayout,
    size: CorpusSize,
    own_writers: Mapping[str, OpenWriter] | None = None,
) -> None:
    """Write a store for each split that has rows, `folder/SPLIT`.

    If an earlier call was stopped, its journal says which rows are done. These are read again,
    because a stream has no other way to its middle, but not tokenised again. The stores are the
    same to the byte, however often that happens.

    Args:
        rows: of all splits in any order, but the same order in every call; each with the name of
            its split.
        targets: what a store holds for each row beside its ids.
        own_writers: of splits that are kept in another way than in a store, by their names.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done, states = _read_journal(folder)
    settings = EncodingSettings(encoder, max_tokens, truncation)
    is_large = size.characters >= MIN_PARALLEL_CHARACTERS
    processes = min(count_usable_cores(), MAX_PROCESSES) if is_large else 1
    with ExitStack() as stack:
        writers: dict[str, StoreWriter] = {}

        def open_store(place: Path, state: dict[str, int] | None) -> StoreWriter:
            return TokenStoreWriter(place, vocab_size, targets=targets, state=state)

        def get_writer(split: str) -> StoreWriter:
            if split not in writers:
                open_writer = (own_writers or {}).get(split, open_store)
                writer = open_writer(folder / split, states.get(split))
                writers[split] = writer
                stack.enter_context(writer)
            return writers[split]

        for split in states:
            get_writer(split)
        progress_bar = stack.enter_context(
            tqdm(desc="tokenise", unit=" texts", total=size.rows, delay=1, disable=None)
        )
        progress_bar.update(sum(writer.num_rows for writer in writers.values()))
        started_at = time.monotonic()
        # tokens that this call has written, and those of them that the journal knows
        written, recorded = 0, 0
        chunks = islice(_iter_chunks(rows), done, None)
        encoded_chunks = _encode_chunks(chunks, settings, processes)
        for count, (chunk, encoded) in enumerate(encoded_chunks, start=done + 1):
            get_writer(chunk.split).append_rows(chunk.rows, encoded)
            written += len(encoded.ids)
            speed = written / (time.monotonic() - started_at)
            progress_bar.set_postfix_str(f"{speed:,.0f} tokens/s", refresh=False)
            progress_bar.update(len(chunk.rows))
            if written - recorded >= TOKENS_PER_JOURNAL_ENTRY:
                recorded = written
                _write_journal(folder, count, writers)
        for writer in writers.values():
            writer.finish_store()
    (folder / JOURNAL_FILE).unlink(missing_ok=True)


def _read_journal(folder: Path) -> tuple[int, dict[str, dict[str, int]]]:
    """The number of chunks that are written, and the state of each split's store; nothing of both
    where the journal is absent or broken.
    """
    try:
        entry = json.loads((folder / JOURNAL_FILE).read_text())
        states = {
            split: TokenStoreWriter.parse_state(state) for split, state in entry["stores"].items()
        }
        return int(entry["chunks"]), states
    except FileNotFoundError:
        return 0, {}
    except (ValueError, KeyError, TypeError, AttributeError):
        print_line(
            f"note: {folder / JOURNAL_FILE} is broken; tokenising starts over", to_stderr=True
        )
        return 0, {}


def _write_journal(folder: Path, done: int, writers: Mapping[str, StoreWriter]) -> None:
    states = {split: writer.sync_state() for split, writer in writers.items()}
    write_json(folder / JOURNAL_FILE, {"chunks": done, "stores": states}, fsync=True)


def _iter_chunks(rows: Iterable[tuple[str, TextRow]]) -> Iterator[RowChunk]:
    """The rows of each split in their order, in chunks."""
    waiting: dict[str, list[TextRow]] = {}
    characters: dict[str, int] = {}
    for split, row in rows:
        waiting.setdefault(split, []).append(row)
        characters[split] = characters.get(split, 0) + len(row.text) + len(row.pair or "")
        if len(waiting[split]) == CHUNK_TEXTS or characters[split] >= CHUNK_CHARACTERS:
            yield RowChunk(split, waiting.pop(split))
            characters[split] = 0
    for split, rest in waiting.items():
        yield RowChunk(split, rest)


def _encode_chunks(
    chunks: Iterable[RowChunk], settings: EncodingSettings, processes: int
) -> Iterator[tuple[RowChunk, EncodedTexts]]:
    """The chunks in their order, with their ids. Raises LostProcessError if a process ends before
    its work is done.
    """
    if processes == 1:
        yield from ((chunk, settings.encode(*chunk.texts)) for chunk in chunks)
        return
    # Not forked: a copy of a process whose threads hold locks may wait for them for ever.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _init_worker, (settings,))
    # the pool forgets its processes when one of them is lost
    started = getattr(pool, "_processes", {})
    waiting: deque[tuple[RowChunk, Future[EncodedTexts]]] = deque()
    try:
        # of the chunks that wait
        characters = 0
        for chunk in chunks:
            waiting.append((chunk, pool.submit(_encode_in_worker, *chunk.texts)))
            characters += chunk.characters
            # Enough wait that no process is idle, and few enough to be held in memory, even where
            # each is one long text.
            while len(waiting) > 2 * processes or (
                len(waiting) > 1 and characters > 4 * processes * CHUNK_CHARACTERS
            ):
                first, future = waiting.popleft()
                characters -= first.characters
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()
    except BrokenProcessPool as error:
        # before this, some processes have no exit code yet
        pool.shutdown()
        exit_codes = [process.exitcode or 0 for process in started.values()]
        remedy = (
            "the same command goes on where this one stopped; on fewer cores (taskset) "
            "it needs less memory"
        )
        signals = [-code for code in exit_codes if code < 0]
        raise LostProcessError("tokenising", signals, remedy) from error
    finally:
        pool.shutdown(cancel_futures=True)


# in a process of the pool: how it encodes
_worker_encode: Callable[..., EncodedTexts]


def _init_worker(settings: EncodingSettings) -> None:
    """Prepare a process of the pool: one thread for its work, and it ends with its parent."""
    global _worker_encode
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _worker_encode = settings.encode
    call_when_parent_ends(lambda: os._exit(1))


def _encode_in_worker(
    texts: Sequence[str],
    pairs: Sequence[str] | None,
    words: Sequence[Sequence[WordSpan]] | None,
) -> EncodedTexts:
    return _worker_encode(texts, pairs, words)
