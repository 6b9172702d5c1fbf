"""Text to batches, side by side with `datasets` and its collator: `python -m benchmarks.data`.

Real text comes from REAL_DATA (IMDb reviews, the tokenizer of bert-base-uncased). How memory and time grow with the
corpus is measured on generated files, in a process for each size.
"""

import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.curves import Curve, Growth
from benchmarks.material import minilm, real
from benchmarks.setting import ROOT, Row, write

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

TEXTS = 4000  # reviews, 5 MB
TURNS = 5  # of each, in turns; the median ratio counts
ROW_TOKENS, ROWS = 128, 16  # of a batch
BATCHES = 60  # of theirs in one turn; ours takes all there are
TOKENISE_GATE, LOADER_GATE = 1.3, 20.0
SIZES = (10, 50, 200)  # MB of text
LETTERS = 1000  # of a generated document


def rows() -> list[Row]:
    """Both comparisons; the curves are `growth`."""
    return [tokenise(), loader()]


def tokenise() -> Row:
    """Texts in memory to ids on disk, processor time of all threads; every turn starts with nothing remembered."""
    from datasets import Dataset, disable_progress_bars

    from src.data.encoding import TextEncoder
    from src.data.store import TokenStore

    disable_progress_bars()
    texts, tokenizer = list(_reviews(TEXTS)), _tokenizer()
    data = Dataset.from_dict({"text": texts})
    with tempfile.TemporaryDirectory() as root:
        place = Path(root)

        def theirs() -> Any:
            return data.map(
                lambda batch: tokenizer(batch["text"]),
                batched=True,
                remove_columns=["text"],
                load_from_cache_file=False,
                cache_file_name=str(place / "theirs.arrow"),
            )

        def ours() -> TokenStore:
            return _store(place / "ours", texts, TextEncoder(tokenizer.backend_tokenizer))  # type: ignore[attr-defined]

        def plain() -> TokenStore:
            encoder = TextEncoder(tokenizer.backend_tokenizer)  # type: ignore[attr-defined]
            encoder._words = None  # as for tokenizers of other kinds, whose words are not remembered
            return _store(place / "plain", texts, encoder)

        tokens = ours().tokens
        expected = [each for row in theirs()["input_ids"] for each in row]
        for found in (ours(), plain()):
            if found.ids.tolist() != expected:
                raise AssertionError("the ids differ from those of datasets.map")
        seconds = _interleaved(ours, theirs, plain)
    ratios = [their / our for our, their, _ in seconds]
    other = median(their / bare for _, their, bare in seconds)
    speeds = [tokens / median(each) / 1e6 for each in zip(*seconds, strict=True)]
    ratio = median(ratios)
    return Row(
        "tokenise to disk, IMDb reviews, per core",
        speeds[0],
        speeds[1],
        "million tokens/s",
        ratio,
        f"{TOKENISE_GATE:g} x datasets.map with the fast tokenizer",
        f"ids equal; without remembered words (tokenizers other than BERT's) {other:.2f} x",
        min(ratio, other) >= TOKENISE_GATE,
    )


def loader() -> Row:
    """Tokens on disk to masked batches of 16 rows of 128, one process, no workers."""
    import torch
    from datasets import Dataset
    from torch.utils.data import DataLoader
    from transformers import DataCollatorForLanguageModeling

    from src.data.batching import Masked
    from src.data.datamodule import _as_it_is
    from src.data.encoding import TextEncoder
    from src.data.feeding import Ahead, BatchSource
    from src.data.tokenizer import TextTokenizer

    tokenizer = _tokenizer()
    with tempfile.TemporaryDirectory() as root:
        store = _store(Path(root), list(_reviews(TEXTS)), TextEncoder(tokenizer.backend_tokenizer))  # type: ignore[attr-defined]
        blocks = store.ids[: store.tokens // ROW_TOKENS * ROW_TOKENS].reshape(-1, ROW_TOKENS).astype(int)
        batching = Masked(row_tokens=ROW_TOKENS, batch_size=ROWS)
        plan = batching.plan(store, seed=0, training=True)
        source = BatchSource(store, batching, TextTokenizer(tokenizer), seed=0, training=True)
        our_loader: Any = DataLoader(source, sampler=Ahead(plan, source), batch_size=None, collate_fn=_as_it_is)  # type: ignore[arg-type]
        special = [tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True) for row in blocks.tolist()]
        columns = {  # what `run_mlm.py` of transformers makes
            "input_ids": blocks.tolist(),
            "token_type_ids": [[0] * ROW_TOKENS] * len(blocks),
            "attention_mask": [[1] * ROW_TOKENS] * len(blocks),
            "special_tokens_mask": special,
        }
        collator = DataCollatorForLanguageModeling(tokenizer)
        their_loader: Any = DataLoader(
            Dataset.from_dict(columns),  # type: ignore[arg-type]
            batch_size=ROWS,
            shuffle=True,
            collate_fn=collator,
            generator=torch.Generator().manual_seed(0),
        )
        _check_batches(our_loader, their_loader, blocks)

        def ours() -> int:
            return sum(len(batch.tokens.ids) for batch in our_loader)

        def theirs() -> int:
            return sum(batch["input_ids"].numel() for batch in islice(their_loader, BATCHES))

        our_tokens, their_tokens = ours(), theirs()
        seconds = _interleaved(ours, theirs)
    ratio = median((their / their_tokens) / (our / our_tokens) for our, their in seconds)
    return Row(
        "batches ready for the model, MLM 16 x 128",
        our_tokens / median(our for our, _ in seconds) / 1e6,
        their_tokens / median(their for _, their in seconds) / 1e6,
        "million tokens/s",
        ratio,
        f"{LOADER_GATE:g} x the HF data set with its collator",
        "the same rows; masks put back give the same tokens; no workers",
        ratio >= LOADER_GATE,
    )


def _check_batches(ours: Any, theirs: Any, blocks: Any) -> None:
    """Both loaders give the text itself once the masked tokens are put back, and ours gives every token of it."""
    import torch

    known = {tuple(row) for row in blocks.tolist()}
    seen = 0
    for batch in ours:
        ids = batch.tokens.ids.clone()
        ids[batch.masked] = batch.targets
        seen += len(ids)
        if batch.tokens.row and not known.issuperset(map(tuple, ids.view(-1, ROW_TOKENS).tolist())):
            raise AssertionError("our batches hold other tokens than the text")
    for batch in islice(theirs, 5):
        ids = torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
        if not known.issuperset(map(tuple, ids.tolist())):
            raise AssertionError("their batches hold other tokens than the text")
    if not blocks.size <= seen < blocks.size + ROW_TOKENS:
        raise AssertionError(f"our batches hold {seen:,} tokens of {blocks.size:,}")


def growth() -> Growth:
    """Memory and time against the size of a corpus, read, divided and tokenised from a file."""
    points = []
    for size in SIZES:
        command = [sys.executable, "-m", "benchmarks.data", f"size={size}"]
        said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
        points.append(json.loads(said.splitlines()[-1]))
    lines = [
        "Text in documents of 1,000 letters: read, cleaned, a tenth held out, what repeats it dropped, tokenised; two",
        "processes and more from 64 MB on. Peak resident memory beyond what a corpus of 100 texts has left behind.",
        "",
        "| MB of text | documents | tokens | processor seconds | MB/s of a core | peak MB beyond | MB of a worker |",
        "|" + " ---: |" * 7,
    ]
    for size, each in zip(SIZES, points, strict=True):
        cells = (f"{size:,}", f"{each['documents']:,}", f"{each['tokens']:,}", f"{each['seconds']:.0f}",
                 f"{size / each['seconds']:.1f}", f"{each['beyond']:.0f}", f"{each['worker']:.0f}")  # fmt: skip
        lines.append(f"| {' | '.join(cells)} |")
    first, last = points[-2], points[-1]
    bytes_each = (last["beyond"] - first["beyond"]) * 1e6 / (last["documents"] - first["documents"])
    documents = 5e9 / LETTERS
    memory = last["beyond"] + bytes_each * (documents - last["documents"]) / 1e6
    text = [
        *lines,
        "",
        f"The last step adds {bytes_each:.0f} bytes a document. At that rate 5 GB ({documents:,.0f} documents) take "
        f"{memory:,.0f} MB beyond, and {5000 / SIZES[-1] * last['seconds'] / 60:.0f} minutes of a core.",
    ]
    at, seconds = list(map(float, SIZES)), [each["seconds"] for each in points]
    beyond = {"the process": [each["beyond"] for each in points], "a worker": [each["worker"] for each in points]}
    return Growth(
        text,
        [
            Curve("tokenising: time against the corpus", "MB of text", "processor seconds", at, {"ours": seconds}),
            Curve("tokenising: memory against the corpus", "MB of text", "MB beyond", at, beyond, log=False),
        ],
    )


def _grown(size: int) -> dict[str, float]:
    """In a process of its own: what a corpus of so many MB costs."""
    import numpy as np

    from src.data.batching import Masked
    from src.data.cleaning import Cleaning
    from src.data.datamodule import TextDataModule
    from src.data.generated import Generated
    from src.data.sources import Source
    from src.data.splitting import Split
    from src.data.tokenizer import PretrainedTokenizer

    tokenizer = PretrainedTokenizer(name_or_path=str(minilm()))
    with tempfile.TemporaryDirectory() as root:
        file = Path(root) / "text.txt"
        words = " ".join(record.text for record in Generated(train=2000, labelled=False).read("train"))
        pick = np.random.default_rng(0)
        documents = size * 1_000_000 // LETTERS
        with file.open("w") as sink:
            for number in range(documents):
                begin = int(pick.integers(len(words) - LETTERS))
                sink.write(f"{number:x} {words[begin : begin + LETTERS - 10]}\n")
        settings = {"task": "masked_lm", "cleaning": Cleaning(), "split": Split(), "tokenizer": tokenizer}
        small = Path(root) / "small.txt"
        small.write_text("\n".join(f"{number} {words[number : number + 100]}" for number in range(100)))
        TextDataModule(**settings, source=Source(path=str(small)), batching=Masked(), cache=root).prepare_data()
        before, began = _peak(), time.process_time()
        data = TextDataModule(**settings, source=Source(path=str(file)), batching=Masked(), cache=root)
        watch = _Watch()
        data.prepare_data()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "documents": documents,
            "tokens": sum(store.tokens for store in data.stores.values()),
            "seconds": time.process_time() - began + children.ru_utime + children.ru_stime,
            "beyond": _peak() - before,
            "worker": watch.most / 1e6,
        }


class _Watch(threading.Thread):
    """The most memory that a child process was seen to take, in bytes; what the system remembers of children that are
    gone counts the moment before they were anything but a copy of their parent."""

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.most = 0
        self.start()

    def run(self) -> None:
        process = psutil.Process()
        while True:
            with suppress(psutil.NoSuchProcess):
                self.most = max([self.most, *(each.memory_info().rss for each in process.children())])
            time.sleep(0.2)


def _peak() -> float:
    """MB, of this process so far."""
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024 / 1e6


def _interleaved(*works: Callable[[], object]) -> list[tuple[float, ...]]:
    """Processor seconds of each, in turns."""
    seconds = []
    for _ in range(TURNS):
        turn = []
        for work in works:
            began = time.process_time()
            work()
            turn.append(time.process_time() - began)
        seconds.append(tuple(turn))
    return seconds


def _store(folder: Path, texts: list[str], encoder: Any) -> Any:
    from src.data import tokenising
    from src.data.store import Row as Text
    from src.data.store import TokenStore

    tokenising.tokenise(
        folder,
        (("train", Text(text, None, 0, number)) for number, text in enumerate(texts)),
        encoder,
        vocab_size=2**15,
        max_tokens=None,
        truncation="head",
        valued=False,
        size=tokenising.Size(len(texts), 0),
    )
    return TokenStore.open(folder / "train")


def _reviews(count: int) -> Iterator[str]:
    with gzip.open(real("imdb") / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        for line in islice(lines, 0, 6 * count, 6):  # they stand sorted by label
            yield json.loads(line)["text"]


def _tokenizer() -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(str(minilm()), local_files_only=True, model_max_length=1 << 20)
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _line(row: Row) -> str:
    figures = f"{row.ours:.2f} against {row.theirs:.2f} {row.unit}: {row.ratio:.2f} x" if row.theirs else ""
    return f"- {row.name}: {figures} (gate: {row.gate}; reached: {row.verdict}; {row.note})"


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    if sys.argv[1:] and sys.argv[1].startswith("size="):
        print(json.dumps(_grown(int(sys.argv[1].removeprefix("size=")))))
    else:
        lines = [*map(_line, rows()), "", *growth().text]
        write("data", "From text to batches", "REAL_DATA=FOLDER python -m benchmarks.data", lines)
