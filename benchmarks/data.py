"""Text to batches, side by side with `datasets` and its collator: `python -m benchmarks.data`.

Real text comes from REAL_DATA (IMDb reviews, the tokenizer of bert-base-uncased). How memory and
time grow with the corpus is measured on generated files, in a process for each size.
"""

import gc
import gzip
import json
import os
import resource
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from itertools import islice
from pathlib import Path
from statistics import median
from typing import TYPE_CHECKING, Any

import psutil

from benchmarks.curves import Curve, Growth
from benchmarks.material import minilm, real
from benchmarks.setting import ROOT, Row, write
from src.config.command_line import parse_key_values
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from transformers import PreTrainedTokenizerBase

# reviews, 5 MB
TEXTS = 4000
# of each, in turns; the median ratio counts
TURNS = 5
# of a batch
ROW_TOKENS, ROWS = 128, 16
# of theirs in one turn; ours takes all there are
BATCHES = 60
TOKENISE_GATE, LOADER_GATE = 1.3, 20.0
# MB of text, by the letters of a generated document
SIZES = {1000: (10, 50, 200), 40: (2, 8, 32)}


def rows() -> list[Row]:
    """Both comparisons; the curves are `growth`."""
    return [tokenise(), loader()]


def tokenise() -> Row:
    """Texts in memory to ids on disk, processor time of all threads; every turn starts with nothing
    remembered.
    """
    from datasets import Dataset, disable_progress_bars

    from src.data.tokenization.text_encoder import TextEncoder
    from src.data.tokenization.token_store import TokenStore

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
            return _store(place / "ours", texts, TextEncoder(tokenizer.backend_tokenizer))

        def plain() -> TokenStore:
            encoder = TextEncoder(tokenizer.backend_tokenizer)
            # as for tokenizers of other kinds, whose words are not remembered
            encoder._word_cache = None
            return _store(place / "plain", texts, encoder)

        tokens = ours().num_tokens
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

    from src.data.batches.batching import Masked
    from src.data.batches.loader import BatchDataset, PrefetchSampler, _collate_identity
    from src.data.tokenization.text_encoder import TextEncoder
    from src.data.tokenization.tokenizer import TextTokenizer

    tokenizer = _tokenizer()
    with tempfile.TemporaryDirectory() as root:
        store = _store(Path(root), list(_reviews(TEXTS)), TextEncoder(tokenizer.backend_tokenizer))
        blocks = (
            store.ids[: store.num_tokens // ROW_TOKENS * ROW_TOKENS]
            .reshape(-1, ROW_TOKENS)
            .astype(int)
        )
        batching = Masked(row_tokens=ROW_TOKENS, batch_size=ROWS)
        plan = batching.build_batch_sampler(store, seed=0, training=True)
        source = BatchDataset(store, batching, TextTokenizer(tokenizer), seed=0, training=True)
        batches: Any = source
        our_loader: Any = DataLoader(
            batches,
            sampler=PrefetchSampler(plan, source),
            batch_size=None,
            collate_fn=_collate_identity,
        )
        special = [
            tokenizer.get_special_tokens_mask(row, already_has_special_tokens=True)
            for row in blocks.tolist()
        ]
        # what `run_mlm.py` of transformers makes
        columns = {
            "input_ids": blocks.tolist(),
            "token_type_ids": [[0] * ROW_TOKENS] * len(blocks),
            "attention_mask": [[1] * ROW_TOKENS] * len(blocks),
            "special_tokens_mask": special,
        }
        collator = DataCollatorForLanguageModeling(tokenizer)
        their_loader: Any = DataLoader(
            Dataset.from_dict(columns),
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
    """Both loaders give the text itself once the masked tokens are put back, and ours gives every
    token of it.
    """
    import torch

    known = {tuple(row) for row in blocks.tolist()}
    seen = 0
    for batch in ours:
        ids = batch.tokens.ids.clone()
        ids[batch.masked_positions] = batch.targets
        seen += len(ids)
        if batch.tokens.row_tokens and not known.issuperset(
            map(tuple, ids.view(-1, ROW_TOKENS).tolist())
        ):
            raise AssertionError("our batches hold other tokens than the text")
    for batch in islice(theirs, 5):
        ids = torch.where(batch["labels"] == -100, batch["input_ids"], batch["labels"])
        if not known.issuperset(map(tuple, ids.tolist())):
            raise AssertionError("their batches hold other tokens than the text")
    if not blocks.size <= seen < blocks.size + ROW_TOKENS:
        raise AssertionError(f"our batches hold {seen:,} tokens of {blocks.size:,}")


def growth() -> Growth:
    """Memory and time against the size of a corpus, read, divided and tokenised from a file."""
    lines = [
        "Text of documents read, cleaned, a tenth held out, what repeats it dropped (the survey), "
        "then tokenised; two",
        "processes and more from 64 MB on, where there are two cores. Memory is what a process "
        "holds for itself, pages",
        "of mapped files, which the system takes back at will, left out: the most that was "
        "sampled in either, beyond",
        "what it held after a corpus of 100 texts. The words here are few; to remember many takes "
        "50 MB at most.",
        "",
        "| letters of a document | MB of text | documents | tokens | processor seconds | MB/s of "
        "a core | "
        "MB, survey | MB, tokenising | MB of a worker |",
        "|" + " ---: |" * 9,
    ]
    words, curves = [], []
    for letters, sizes in SIZES.items():
        points = [_measured(size, letters) for size in sizes]
        for size, each in zip(sizes, points, strict=True):
            cells = (
                f"{letters:,}",
                f"{size:,}",
                f"{each['documents']:,}",
                f"{each['tokens']:,}",
                f"{each['seconds']:.0f}",
                f"{size / each['seconds']:.1f}",
                f"{each['survey']:.0f}",
                f"{each['tokenise']:.0f}",
                f"{each['worker']:.0f}",
            )
            lines.append(f"| {' | '.join(cells)} |")
        words.append(_outlook(letters, sizes, points))
        at, kind = list(map(float, sizes)), f"documents of {letters:,} letters"
        seconds = {"ours": [each["seconds"] for each in points]}
        names = {"survey": "survey", "tokenising": "tokenise", "a worker": "worker"}
        held = {name: [each[key] for each in points] for name, key in names.items()}
        curves += [
            Curve(f"tokenising, {kind}: time", "MB of text", "processor seconds", at, seconds),
            Curve(f"tokenising, {kind}: memory", "MB of text", "MB beyond", at, held, log=False),
        ]
    return Growth([*lines, "", *words], curves)


def _measured(size: int, letters: int) -> dict[str, float]:
    """In a process of its own, which has seen no other corpus."""
    command = [sys.executable, "-m", "benchmarks.data", f"size={size}", f"letters={letters}"]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout
    found: dict[str, float] = json.loads(said.splitlines()[-1])
    return found


def _outlook(letters: int, sizes: Sequence[int], points: Sequence[Mapping[str, float]]) -> str:
    """What the last two sizes say of 5 GB: of each of both parts by itself, since the one that
    takes more memory now may hide what grows.
    """
    before, last = points[-2], points[-1]
    documents, more = 5e9 / letters, last["documents"] - before["documents"]
    rates = {
        part: max(0.0, (last[part] - before[part]) * 1e6 / more) for part in ("survey", "tokenise")
    }
    memory = max(
        last[part] + each * (documents - last["documents"]) / 1e6 for part, each in rates.items()
    )
    minutes = 5000 / sizes[-1] * last["seconds"] / 60
    return (
        f"Documents of {letters:,} letters: from {sizes[-2]} to {sizes[-1]} MB each adds "
        f"{rates['survey']:.1f} bytes "
        f"to the survey and {rates['tokenise']:.1f} to tokenising. At that rate 5 GB "
        f"({documents:,.0f} documents) take "
        f"{memory:,.0f} MB (and 50 MB of remembered words), and {minutes:.0f} minutes of a core."
    )


def _grown(size: int, letters: int) -> dict[str, float]:
    """In a process of its own: what a corpus of so many MB costs."""
    from src.data.batches.batching import Masked
    from src.data.data_config import DataConfig
    from src.data.preparation.cleaning import Cleaning
    from src.data.preparation.splitting import Split
    from src.data.reading.sources import Source
    from src.data.tokenization.tokenizer import PretrainedTokenizer

    tokenizer = PretrainedTokenizer(name_or_path=str(minilm()))
    with tempfile.TemporaryDirectory() as root:
        file, small = Path(root) / "text.txt", Path(root) / "small.txt"
        documents = _write_documents(file, size * 1_000_000 // letters, letters)
        _write_documents(small, 100, 100)
        settings: Any = {
            "task": "masked_lm",
            "cleaning": Cleaning(),
            "split": Split(),
            "tokenizer": tokenizer,
        }
        small_source, source = Source(path=str(small)), Source(path=str(file))
        DataConfig(
            **settings, source=small_source, batching=Masked(), cache=root
        ).build().prepare_data()
        gc.collect()
        before, began = _held(os.getpid()), time.process_time()
        data: Any = DataConfig(**settings, source=source, batching=Masked(), cache=root).build()
        watch, write = _Watch(), data._write_token_stores

        def tokenised(*arguments: Any) -> None:
            watch.part = "tokenise"
            write(*arguments)

        data._write_token_stores = tokenised
        data.prepare_data()
        children = resource.getrusage(resource.RUSAGE_CHILDREN)
        return {
            "documents": documents,
            "tokens": sum(store.num_tokens for store in data.token_stores.values()),
            "seconds": time.process_time() - began + children.ru_utime + children.ru_stime,
            "survey": (watch.most["survey"] - before) / 1e6,
            "tokenise": (watch.most["tokenise"] - before) / 1e6,
            "worker": watch.most["worker"] / 1e6,
        }


def _write_documents(file: Path, count: int, letters: int) -> int:
    """So many lines, no two alike, of words of a small language."""
    import numpy as np

    from src.data.synthetic.reviews import Generated

    words = " ".join(
        record.text for record in Generated(train=2000, labelled=False).read_records("train")
    )
    pick = np.random.default_rng(0)
    with file.open("w") as sink:
        for first in range(0, count, 10_000):
            begins = pick.integers(len(words) - letters, size=min(10_000, count - first)).tolist()
            for number, begin in enumerate(begins, first):
                # a thousand words at most: more would be remembered
                head = f"{number:,} ".replace(",", " ")
                sink.write(f"{head}{words[begin : begin + letters - 1 - len(head)]}\n")
    return count


class _Watch(threading.Thread):
    """The most memory in bytes that this process was seen to hold in each part of its work, and any
    child process.
    """

    def __init__(self) -> None:
        super().__init__(daemon=True)
        self.part = "survey"
        self.most = {"survey": 0, "tokenise": 0, "worker": 0}
        self.start()

    def run(self) -> None:
        process = psutil.Process()
        while True:
            self._see(self.part, process.pid)
            with suppress(psutil.NoSuchProcess, OSError):
                for each in process.children():
                    self._see("worker", each.pid)
            time.sleep(0.02)

    def _see(self, part: str, process: int) -> None:
        self.most[part] = max(self.most[part], _held(process))


def _held(process: int) -> int:
    """Bytes of memory that are the process's own; 0 where it has just ended."""
    for line in Path(f"/proc/{process}/status").read_text().splitlines():
        if line.startswith("RssAnon:"):
            return int(line.split()[1]) * 1024
    return 0


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
    from src.data.tokenization import tokenize
    from src.data.tokenization.token_store import TargetLayout, TokenStore
    from src.data.tokenization.token_store import TextRow as Text

    tokenize.tokenize_to_stores(
        folder,
        (("train", Text(text, None, 0, number)) for number, text in enumerate(texts)),
        encoder,
        vocab_size=2**15,
        max_tokens=None,
        truncation="head",
        targets=TargetLayout(),
        size=tokenize.CorpusSize(len(texts), 0),
    )
    return TokenStore.open(folder / "train")


def _reviews(count: int) -> Iterator[str]:
    with gzip.open(real("imdb") / "train.jsonl.gz", "rt", encoding="utf-8") as lines:
        # they stand sorted by label
        for line in islice(lines, 0, 6 * count, 6):
            yield json.loads(line)["text"]


def _tokenizer() -> "PreTrainedTokenizerBase":
    from transformers import AutoTokenizer

    tokenizer = AutoTokenizer.from_pretrained(
        str(minilm()), local_files_only=True, model_max_length=1 << 20
    )
    tokenizer.backend_tokenizer.no_truncation()
    tokenizer.backend_tokenizer.no_padding()
    return tokenizer


def _line(row: Row) -> str:
    figures = (
        f"{row.ours:.2f} against {row.theirs:.2f} {row.unit}: {row.ratio:.2f} x"
        if row.theirs
        else ""
    )
    return f"- {row.name}: {figures} (gate: {row.gate}; reached: {row.verdict}; {row.note})"


def main(arguments: Sequence[str]) -> int:
    """Everything, into a result file; with size=MB (and letters=N of a document) one corpus, as a
    line of JSON.
    """
    try:
        asked = parse_key_values(arguments, {"size": "", "letters": "1000"})
        for key, value in asked.items():
            if value and (not value.isdecimal() or not int(value)):
                raise UserError(f"{key}={value}: expected a whole number above 0")
    except UserError as fault:
        print(f"error: {fault}", file=sys.stderr)
        return 2
    if asked["size"]:
        print(json.dumps(_grown(int(asked["size"]), int(asked["letters"]))))
    else:
        lines = [*map(_line, rows()), "", *growth().text]
        write("data", "From text to batches", "REAL_DATA=FOLDER python -m benchmarks.data", lines)
    return 0


if __name__ == "__main__":
    os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")
    sys.exit(main(sys.argv[1:]))
