"""`python -m benchmarks.streaming`: training from an object storage, with a tenth of the corpus on
this machine, against training from the local store.

The storage is a server of S3's protocol on the loopback (moto), which takes its time from the same
processor. The encoder is the smallest that ships; each of 40 shards lasts some seconds, where those
of ordinary size last minutes.
"""

import hashlib
import sys
import tempfile
import time
from collections.abc import Iterator
from itertools import islice
from pathlib import Path
from statistics import median
from typing import Any

from benchmarks.object_storage import BUCKET, ObjectStorage
from benchmarks.setting import ROOT, write
from src.data.datamodule import TextDataModule

GATE = 0.95
TEXTS, TURNS, BATCHES = 240_000, 25, 100
SHARDS, WINDOW, CACHED = 40, 2, 4
# about a fortieth of the texts' tokens, and full rows
SHARD_TOKENS = 110_080


def main() -> int:
    with tempfile.TemporaryDirectory() as root:
        storage = ObjectStorage(Path(root))
        storage.start()
        try:
            return measure(Path(root))
        finally:
            storage.stop()


def measure(root: Path) -> int:
    config = compose_config()
    address = f"s3://{BUCKET}/corpus"
    local = prepare(config, root / "local")
    folder = prepare(config, root / "folder", str(root / "shards"))
    stored = prepare(config, root / "stored", address)
    assert stored.sharded_train is not None
    shards = len(stored.sharded_train.manifest.shards)

    whole, _ = hash_batches(folder)
    streamed, most = hash_batches(stored)
    middle = len(whole) // 2
    resumed, _ = hash_batches(prepare(config, root / "resumed", address), begin=middle)
    is_exact = streamed == whole and resumed == whole[middle:]

    train = build_step(config, local)
    loaders = {"local": iter(local.train_dataloader()), "stored": iter(stored.train_dataloader())}
    for one in loaders.values():
        train_some(train, one)
    waited = stored.sharded_train.cache.seconds_waited
    began = time.perf_counter()
    # short turns, each of which may begin: what else the machine does then falls on both
    pairs = []
    for turn in range(TURNS):
        names = ["local", "stored"][:: 1 if turn % 2 else -1]
        rates = {name: train_some(train, loaders[name]) for name in names}
        pairs.append((rates["local"], rates["stored"]))
    seconds = time.perf_counter() - began
    waited = stored.sharded_train.cache.seconds_waited - waited
    ratio = median(ours / theirs for theirs, ours in pairs)
    alone = {name: read_epoch(data) for name, data in (("local", local), ("stored", stored))}
    good = ratio >= GATE and is_exact and most <= CACHED <= shards / 10
    ratios = [ours / theirs for theirs, ours in pairs]
    theirs, ours = (median(column) for column in zip(*pairs, strict=True))
    write(
        "streaming",
        "A corpus in an object storage",
        "python -m benchmarks.streaming",
        [
            f"{local.split_tokens['train'].num_tokens:,} tokens in {shards} shards; windows of "
            f"{WINDOW}; at most {most} shards lay on this machine at any time, of {CACHED} that "
            "may.",
            "",
            f"- training of the smallest encoder: {ours:,.0f} tokens/s against {theirs:,.0f} from "
            f"the local store, {ratio:.3f} x (gate: {GATE}; reached: "
            f"{'yes' if ratio >= GATE else '**no**'}; by the clock, medians of {TURNS} turns of "
            f"{BATCHES} batches, of which the ratios are {min(ratios):.2f} to {max(ratios):.2f}; "
            f"for shards it waited {waited:.2f} of some {seconds / 2:.0f} seconds)",
            "- batches from the storage equal to those from a folder of shards, bit by bit, in an "
            f"epoch of {len(whole):,}, and after a resume in its middle with an empty cache: "
            f"{'yes' if is_exact else '**no**'}",
            f"- batches alone, without a training: {alone['stored']:,.0f} tokens/s against "
            f"{alone['local']:,.0f}, {alone['stored'] / alone['local']:.2f} x (no gate)",
        ],
    )
    return 0 if good else 1


def compose_config() -> dict[str, Any]:
    from hydra import compose, initialize_config_dir

    from src.config.compose import register_resolvers, to_plain_config

    register_resolvers()
    overrides = ["data=generated_text", "model=masked_lm", "model/encoder=modern_tiny"]
    settings = [f"data.source.train={TEXTS}", "data.batching.batch_size=16"]
    with initialize_config_dir(str(ROOT / "conf"), version_base="1.3"):
        return to_plain_config(compose("config", [*overrides, *settings]))


def prepare(config: dict[str, Any], cache: Path, address: str | None = None) -> TextDataModule:
    """The data with their tokens in a cache, and those of train at an address."""
    from dataclasses import replace

    from src.config.build_nodes import build_node
    from src.data.shards.settings import Shards

    node = replace(build_node(config["data"]), cache=str(cache))
    if address is not None:
        node = replace(
            node,
            shards=Shards(
                path=address,
                shard_tokens=SHARD_TOKENS,
                window_shards=WINDOW,
                cached_shards=CACHED,
            ),
        )
    data: TextDataModule = node.build()
    data.prepare_data()
    return data


def hash_batches(data: TextDataModule, begin: int = 0) -> tuple[list[str], int]:
    """A digest of each batch of the first epoch from one on, and the most shards that lay in the
    cache.
    """
    loader = data.train_dataloader()
    loader.load_state_dict({**loader.state_dict(), "batch": begin})
    copies = Path(data.config.cache) / "shards"
    digests, most = [], 0
    for batch in loader:
        digests.append(hashlib.sha256(b"".join(_iter_bytes(batch))).hexdigest())
        most = max(most, sum(1 for _ in copies.rglob("*.bin")))
    return digests, most


def _iter_bytes(batch: Any) -> Iterator[bytes]:
    for field in batch:
        if hasattr(field, "numpy"):
            yield field.numpy().tobytes()
        elif isinstance(field, tuple):
            yield from _iter_bytes(field)
        else:
            yield str(field).encode()


def build_step(config: dict[str, Any], data: TextDataModule) -> Any:
    """Forward and backward on a batch; gives the number of its tokens."""
    import torch

    from src.config.build_nodes import build_node

    torch.set_num_threads(1)
    module = build_node(config["model"]).build()
    module.set_dataset_info(data.dataset_info, total_steps=1)
    module.configure_model()

    def step(batch: Any) -> int:
        module.zero_grad()
        module.objective.forward(module.encoder, batch).loss.backward()
        return len(batch.tokens.ids)

    return step


def train_some(step: Any, batches: Iterator[Any]) -> float:
    """Tokens a second."""
    began = time.perf_counter()
    tokens = sum(step(batch) for batch in islice(batches, BATCHES))
    return tokens / (time.perf_counter() - began)


def read_epoch(data: TextDataModule) -> float:
    """Tokens a second."""
    began = time.perf_counter()
    tokens = sum(len(batch.tokens.ids) for batch in data.train_dataloader())
    return tokens / (time.perf_counter() - began)


if __name__ == "__main__":
    sys.exit(main())
