"""From rows to stores in one pass: on all cores, in constant memory, and resumed where it was stopped."""

import json
import os
import sys
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ProcessPoolExecutor
from concurrent.futures.process import BrokenProcessPool
from contextlib import ExitStack
from itertools import islice
from multiprocessing import get_context, parent_process
from pathlib import Path
from typing import NamedTuple

from tqdm import tqdm

from src.data.encoding import Encoded, TextEncoder, Truncation
from src.data.store import Row, StoreWriter
from src.terms.durable import sync
from src.terms.world import LostProcess

CHUNK_TEXTS = 1000  # tokenised in one call: enough for all threads of the library
CHUNK_LETTERS = 1 << 20  # or fewer, where they are long: what bounds memory
JOURNAL_TOKENS = 1 << 22  # between two entries in the journal: seconds of work, at most, are done again
PARALLEL_LETTERS = 1 << 26  # below it one process is done before others have started (some seconds)
MOST_PROCESSES = 16  # reading and cleaning, in one process, feed no more
JOURNAL = "journal.json"


class Chunk(NamedTuple):
    """Neighbouring rows of one split."""

    split: str
    rows: list[Row]

    @property
    def letters(self) -> int:
        return sum(len(row.text) + len(row.pair or "") for row in self.rows)


class Size(NamedTuple):
    """What there is to do."""

    rows: int
    letters: int


def tokenise(
    folder: Path,
    rows: Iterable[tuple[str, Row]],
    encoder: TextEncoder,
    *,
    vocab_size: int,
    max_tokens: int | None,
    truncation: Truncation,
    valued: bool,
    size: Size,
) -> None:
    """Write a store for each split that has rows, `folder/SPLIT`.

    Where an earlier call was stopped, its journal says what is done: those rows are read again, because a stream has
    no other way to its middle, but not tokenised again. The stores are the same to the byte, however often it happened.

    Args:
        rows: of all splits, as they come, the same in every call; each with the name of its split.
        valued: whether targets are values and not classes.
    """
    folder.mkdir(parents=True, exist_ok=True)
    done, states = _journal(folder)
    settings = Settings(encoder, max_tokens, truncation)
    processes = min(_cores(), MOST_PROCESSES) if size.letters >= PARALLEL_LETTERS else 1
    with ExitStack() as stack:
        writers: dict[str, StoreWriter] = {}

        def writer(split: str) -> StoreWriter:
            if split not in writers:
                made = StoreWriter(folder / split, vocab_size, valued=valued, state=states.get(split))
                writers[split] = stack.enter_context(made)
            return writers[split]

        for split in states:
            writer(split)
        bar = stack.enter_context(tqdm(desc="tokenise", unit=" texts", total=size.rows, delay=1, disable=None))
        bar.update(sum(each.rows for each in writers.values()))
        noted, begun = 0, time.monotonic()
        written = 0  # tokens, in this call
        chunks = islice(_chunks(rows), done, None)
        for count, (chunk, encoded) in enumerate(_encoded(chunks, settings, processes), start=done + 1):
            writer(chunk.split).append(chunk.rows, encoded)
            written += len(encoded.ids)
            bar.set_postfix_str(f"{written / (time.monotonic() - begun):,.0f} tokens/s", refresh=False)
            bar.update(len(chunk.rows))
            if written - noted >= JOURNAL_TOKENS:
                noted = written
                _note(folder, count, writers)
        for each in writers.values():
            each.close()
    (folder / JOURNAL).unlink(missing_ok=True)


def _cores() -> int:
    """That this process may use; all there are where the system does not tell."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


def _journal(folder: Path) -> tuple[int, dict[str, dict[str, int]]]:
    """How many chunks are written, and how far each split's store has come; nothing where the journal is broken."""
    try:
        entry = json.loads((folder / JOURNAL).read_text())
        done, states = (
            int(entry["chunks"]),
            {split: StoreWriter.checked(state) for split, state in entry["stores"].items()},
        )
    except FileNotFoundError:
        return 0, {}
    except (ValueError, KeyError, TypeError, AttributeError):
        print(f"note: {folder / JOURNAL} is broken; tokenising starts over", file=sys.stderr, flush=True)
        return 0, {}
    return done, states


def _note(folder: Path, done: int, writers: dict[str, StoreWriter]) -> None:
    entry = {"chunks": done, "stores": {split: writer.state() for split, writer in writers.items()}}
    draft = folder / f"{JOURNAL}.draft"
    draft.write_text(json.dumps(entry))
    sync(draft)
    draft.replace(folder / JOURNAL)  # whole or not at all, even if the power fails now
    sync(folder)


def _chunks(rows: Iterable[tuple[str, Row]]) -> Iterator[Chunk]:
    """Rows of each split in their order, so many or so long that they are worth a call."""
    waiting: dict[str, list[Row]] = {}
    letters: dict[str, int] = {}
    for split, row in rows:
        waiting.setdefault(split, []).append(row)
        letters[split] = letters.get(split, 0) + len(row.text) + len(row.pair or "")
        if len(waiting[split]) == CHUNK_TEXTS or letters[split] >= CHUNK_LETTERS:
            yield Chunk(split, waiting.pop(split))
            letters[split] = 0
    for split, left in waiting.items():
        yield Chunk(split, left)


class Settings(NamedTuple):
    """What a process that tokenises must know."""

    encoder: TextEncoder
    max_tokens: int | None
    truncation: Truncation

    def encode(self, texts: Sequence[str], pairs: Sequence[str] | None) -> Encoded:
        return self.encoder.encode(texts, pairs, self.max_tokens, self.truncation)


def _encoded(chunks: Iterable[Chunk], settings: Settings, processes: int) -> Iterator[tuple[Chunk, Encoded]]:
    """Chunks in their order with their ids."""
    if processes == 1:
        yield from ((chunk, settings.encode(*_texts(chunk))) for chunk in chunks)
        return
    # Not forked: a copy of a process whose threads hold locks may wait for them for ever.
    pool = ProcessPoolExecutor(processes, get_context("spawn"), _start, (settings,))
    started = getattr(pool, "_processes", {})  # the pool forgets them when it breaks
    waiting: deque[tuple[Chunk, Future[Encoded]]] = deque()
    try:
        letters = 0  # of the chunks that wait: the longest texts are chunks by themselves
        for chunk in chunks:
            waiting.append((chunk, pool.submit(_work, *_texts(chunk))))
            letters += chunk.letters
            # Enough that none is idle, few enough to be held in memory.
            while len(waiting) > 2 * processes or (len(waiting) > 1 and letters > 4 * processes * CHUNK_LETTERS):
                letters -= waiting[0][0].letters
                yield _result(waiting)
        while waiting:
            yield _result(waiting)
    except BrokenProcessPool as error:
        pool.shutdown()  # until then some have no exit code
        signals = [-each.exitcode for each in started.values() if (each.exitcode or 0) < 0]
        remedy = "the same command goes on where this one stopped; on fewer cores (taskset) it needs less memory"
        raise LostProcess("tokenising", signals, remedy) from error
    finally:
        pool.shutdown(cancel_futures=True)


def _texts(chunk: Chunk) -> tuple[list[str], list[str] | None]:
    pairs = [row.pair or "" for row in chunk.rows] if chunk.rows[0].pair is not None else None
    return [row.text for row in chunk.rows], pairs


def _result(waiting: deque[tuple[Chunk, "Future[Encoded]"]]) -> tuple[Chunk, Encoded]:
    chunk, future = waiting.popleft()
    return chunk, future.result()


_encode: Callable[[Sequence[str], Sequence[str] | None], Encoded]  # of this process, where it tokenises for another


def _start(settings: Settings) -> None:
    """In a new process: one thread for each, and none that outlives the process it works for."""
    global _encode
    os.environ["TOKENIZERS_PARALLELISM"] = "false"
    _encode = settings.encode

    def end_with_parent() -> None:
        parent = parent_process()
        assert parent is not None
        parent.join()
        os._exit(1)

    threading.Thread(target=end_with_parent, daemon=True).start()


def _work(texts: Sequence[str], pairs: Sequence[str] | None) -> Encoded:
    return _encode(texts, pairs)
