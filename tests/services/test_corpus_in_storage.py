"""A training corpus in an object storage: what a real server of S3's protocol gives back, and a run
that loses it.
"""

import os
import re
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from benchmarks.object_storage import BUCKET, NetworkCable, ObjectStorage
from benchmarks.setting import ROOT
from src.core.object_folder import ObjectFolder, StorageOutage
from src.core.user_errors import UserError
from src.data.reading import archives, fetched_files
from src.data.reading.fetched_files import fetch_source
from src.data.reading.sources import Source
from src.data.shards.settings import PATH_KEY
from src.tracking.store import Store
from tests.data.shards.test_shard_writer import make_chunks, open_tokens, write_shards
from tests.services.test_shared_store import results

pytestmark = pytest.mark.services
TRAINING = (
    "+experiment=mlm_quickstart",
    "data.source.train=2000",
    "trainer.accelerator=cpu",
    "trainer.max_steps=150",
    "trainer.val_check_steps=50",
    "callbacks.checkpoint.every_steps=10",
    "report.page=false",
    "data/shards=stored",
    "data.shards.shard_tokens=2048",
    "data.shards.window_shards=2",
    "data.shards.cached_shards=4",
    "data.shards.outage_seconds=1",
)


@pytest.fixture
def address(storage: ObjectStorage, request: pytest.FixtureRequest) -> str:
    return f"s3://{BUCKET}/{request.node.name}"


def test_objects_are_read_as_they_were_written_last(address: str) -> None:
    folder = ObjectFolder(address, key=PATH_KEY, outage_seconds=0)
    folder.check()
    with pytest.raises(FileNotFoundError):
        folder.read("a/b.bin")
    # one that another process writes, in pieces, and over another one
    large = os.urandom(60 << 20)
    for content in (b"1234", large, b"12"):
        ObjectFolder(address, key=PATH_KEY, outage_seconds=0).write("a/b.bin", content)
        assert folder.read("a/b.bin") == content


def test_a_bucket_that_is_not_there(
    storage: ObjectStorage, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(UserError) as caught:
        ObjectFolder("s3://another-bucket/corpus", key=PATH_KEY, outage_seconds=0).check()
    assert str(caught.value) == (
        "data.shards.path=s3://another-bucket/corpus: there is no bucket another-bucket"
    )
    monkeypatch.setenv("AWS_ENDPOINT_URL", NetworkCable(storage.port).address)
    with pytest.raises(UserError, match="bucket cannot be read: EndpointConnectionError: Could"):
        ObjectFolder("s3://bucket/corpus", key=PATH_KEY).check()


def test_shards_are_those_of_a_folder(address: str, tmp_path: Path) -> None:
    chunks = make_chunks()
    remote = write_shards(tmp_path / "one" / "train", address, chunks)
    local = write_shards(tmp_path / "two" / "train", str(tmp_path / "shards"), chunks)
    assert remote.manifest == local.manifest
    begins = np.arange(local.num_tokens // 8) * 8
    ids = [tokens.read_spans(begins, 8)[0] for tokens in (remote, local)]
    assert np.array_equal(*ids)
    # in a fork, whose parent has connections and threads
    child = os.fork()
    if not child:
        own = open_tokens(tmp_path / "one" / "train", address)
        own.cache.place = tmp_path / "fork"
        os._exit(0 if np.array_equal(own.read_spans(begins, 8)[0], ids[0]) else 1)
    assert os.waitpid(child, 0)[1] == 0


def test_half_an_object_is_never_taken_for_whole(address: str, tmp_path: Path) -> None:
    """As s3fs leaves it behind where a stream breaks."""
    tokens = write_shards(tmp_path / "train", address, make_chunks())
    folder = tokens.cache.folder
    name = tokens.manifest.name_shard(1)
    whole = folder.read(name)
    with (
        pytest.raises(RuntimeError, match="broken"),
        folder._filesystem.open(f"{address}/{name}", "wb") as stream,
    ):
        stream.write(whole[:20])
        raise RuntimeError("broken")
    begins = np.array([tokens.manifest.shard_tokens])
    with pytest.raises(UserError, match="000001.bin is not what the manifest says"):
        tokens.read_spans(begins, 8)
    folder.write(name, whole)
    assert tokens.read_spans(begins, 8)[0].size == 8


def test_a_storage_that_cannot_be_reached(
    storage: ObjectStorage, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    cable = NetworkCable(storage.port)
    monkeypatch.setenv("AWS_ENDPOINT_URL", cable.address)
    folder = ObjectFolder(address, key=PATH_KEY, outage_seconds=0)
    cable.plug_in()
    folder.write("a.bin", b"content")
    assert folder.read("a.bin") == b"content"
    cable.cut()
    with pytest.raises(StorageOutage, match="has not answered for 0.0 s"):
        folder.read("a.bin")
    cable.plug_in()
    assert folder.read("a.bin") == b"content"
    cable.cut()


def _start(root: Path, *overrides: str, endpoint: str) -> subprocess.Popen[str]:
    settings = {"OMP_NUM_THREADS": "1", "AWS_ENDPOINT_URL": endpoint}
    return subprocess.Popen(
        [sys.executable, "-m", "src.run", *overrides, f"tracking.root={root}"],
        cwd=ROOT,
        env=os.environ | settings,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


def test_a_run_that_loses_its_storage_fails_and_goes_on_to_the_same_end(
    storage: ObjectStorage, address: str, tmp_path: Path
) -> None:
    """With an empty cache it ends as the run whose shards lay in a folder, to the last bit."""
    store = Store(root=str(tmp_path))
    local = (f"data.shards.path={tmp_path / 'shards'}", f"data.cache={tmp_path / 'local'}")
    said, _ = (process := _start(tmp_path, *TRAINING, *local, endpoint="")).communicate(timeout=300)
    assert process.returncode == 0, said
    [undisturbed] = [run.id for run in store.search_runs()]

    cable = NetworkCable(storage.port)
    cable.plug_in()
    shards = f"data.shards.path={address}"
    cache = f"data.cache={tmp_path / 'first'}"
    process = _start(tmp_path, *TRAINING, shards, cache, endpoint=cable.address)
    assert process.stdout is not None
    said = ""
    with process.stdout as lines:
        for line in lines:
            said += line
            if line.startswith("validated at step 50/"):
                cable.cut()
    assert process.wait() == 1, said
    assert f"error: StorageOutage: {address} has not answered for 1 s" in said, said
    found = re.search(r"python -m src.run resume=([0-9a-f]+)", said)
    assert found is not None, said
    assert len(list((tmp_path / "first" / "shards").rglob("*.bin"))) <= 4

    cable.plug_in()
    empty = f"data.cache={tmp_path / 'second'}"
    process = _start(tmp_path, f"resume={found[1]}", empty, endpoint=cable.address)
    said, _ = process.communicate(timeout=300)
    cable.cut()
    assert process.returncode == 0, said
    [resumed] = [run for run in store.search_runs() if run.id != undisturbed]
    assert resumed.status == "FINISHED"
    assert results(store, resumed.id) == results(store, undisturbed)


def test_source_files_are_read_from_it(
    storage: ObjectStorage, address: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (archives, fetched_files):
        monkeypatch.setattr(module, "CACHE_ROOT", tmp_path)
    folder = ObjectFolder(address, key=PATH_KEY, outage_seconds=0)
    for rows in (["good film"], ["good film", "bad film"]):
        # of the second the storage's listings may not know yet
        folder.write("train.txt", "\n".join(rows).encode())
        fetch_source.cache_clear()
        source = Source(path=address)
        source.check()
        assert [record.text for record in source.read_records("train")] == rows
    fetch_source.cache_clear()
    with pytest.raises(UserError, match="there is nothing"):
        Source(path=f"{address}/nowhere").check()
