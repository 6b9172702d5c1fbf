"""Several ranks: where a process stands, what they put together, and that two train as one does.

Ranks here are processes of one CPU that talk through gloo.
"""

import os
import re
import shutil
import signal
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
import torch.distributed as dist
from safetensors.torch import load_file
from torch import Tensor
from torch.distributed.device_mesh import init_device_mesh

from src.config.rules import find_rule_errors
from src.core.user_errors import UserError
from src.pipeline.run import RunOutcome, run
from src.tracking.store import Store
from src.training import distributed, launcher, rank_process
from src.training.distributed import (
    RankFailureCallback,
    ReplicatedStrategy,
    ShardedStrategy,
    gather_predictions,
    set_collective_timeout,
    shard_encoder,
    unshard_encoder,
)
from src.training.launcher import LostRank, RankInfo, find_rank_info
from src.training.trainer import Training

pytestmark = pytest.mark.long

LAUNCHERS = (
    "TORCHELASTIC_RUN_ID",
    "SLURM_NTASKS",
    "SLURM_JOB_NAME",
    "RANK",
    "WORLD_SIZE",
    "PALIMPSEST_RANKS",
)


@pytest.fixture(autouse=True)
def alone(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in LAUNCHERS:
        monkeypatch.delenv(name, raising=False)


# -- where a process stands


def under_torchrun(monkeypatch: pytest.MonkeyPatch, **variables: int) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "job")
    for name, value in variables.items():
        monkeypatch.setenv(name, str(value))


def test_one_device_is_one_process() -> None:
    assert find_rank_info(1, 1) == RankInfo(rank=0, world_size=1)


def test_the_first_of_several_starts_the_others() -> None:
    assert find_rank_info(3, 1) == RankInfo(rank=0, world_size=3, local_rank=0, local_world_size=3)


def test_a_process_that_was_started_by_the_first(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PALIMPSEST_RANKS", "3")
    monkeypatch.setenv("RANK", "2")
    assert find_rank_info(3, 1) == RankInfo(rank=2, world_size=3, local_rank=2, local_world_size=3)


def test_under_torchrun_on_two_machines(monkeypatch: pytest.MonkeyPatch) -> None:
    under_torchrun(monkeypatch, RANK=3, WORLD_SIZE=4, LOCAL_RANK=1)
    assert find_rank_info(2, 2) == RankInfo(
        rank=3, world_size=4, local_rank=1, local_world_size=2, is_launched_externally=True
    )


@pytest.mark.parametrize("machines", [1, 3])
def test_as_many_machines_as_torchrun_has_begun_on(
    monkeypatch: pytest.MonkeyPatch, machines: int
) -> None:
    under_torchrun(monkeypatch, RANK=1, WORLD_SIZE=2 * machines, LOCAL_RANK=1)
    assert find_rank_info(2, "auto") == RankInfo(1, 2 * machines, 1, 2, is_launched_externally=True)
    with pytest.raises(UserError, match=r"trainer.devices=5 times trainer.num_nodes=auto is 5"):
        find_rank_info(5, "auto")
    monkeypatch.delenv("TORCHELASTIC_RUN_ID")
    assert find_rank_info(2, "auto") == RankInfo(0, 2, 0, 2)


def test_under_slurm(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, value in {
        "NTASKS": 4,
        "PROCID": 3,
        "LOCALID": 1,
        "NODEID": 1,
        "JOB_NAME": "train",
    }.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    with pytest.raises(UserError, match="SLURM: You set `--ntasks=4`.*--ntasks-per-node"):
        find_rank_info(2, 2)
    monkeypatch.setenv("SLURM_NTASKS_PER_NODE", "2")
    assert find_rank_info(2, 2) == RankInfo(
        rank=3, world_size=4, local_rank=1, local_world_size=2, is_launched_externally=True
    )
    # a task of a job whose tasks are runs of their own
    assert find_rank_info(1, 1) == RankInfo()


@pytest.mark.parametrize("devices", [1, 3])
def test_a_launcher_and_a_config_that_disagree(
    monkeypatch: pytest.MonkeyPatch, devices: int
) -> None:
    under_torchrun(monkeypatch, RANK=0, WORLD_SIZE=2, LOCAL_RANK=0)
    with pytest.raises(
        UserError, match=rf"torchrun has started 2 processes, but trainer.devices={devices}"
    ):
        find_rank_info(devices, 1)


def test_several_machines_need_a_launcher() -> None:
    with pytest.raises(
        UserError, match=r"trainer.num_nodes=2: .*torchrun --nnodes=2 --nproc-per-node=4"
    ):
        find_rank_info(4, 2)


@pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU")
def test_processes_of_a_cpu() -> None:
    training = Training(max_epochs=1, devices=2, accelerator="cpu", threads=3)
    assert training.build_launcher(_nothing).rank_info == RankInfo(world_size=2, local_world_size=2)
    assert training.build_launcher(_nothing).threads_per_rank == 3
    shared = (
        Training(max_epochs=1, devices=2, accelerator="cpu")
        .build_launcher(_nothing)
        .threads_per_rank
    )
    assert shared == max(1, len(os.sched_getaffinity(0)) // 2)
    assert Training(max_epochs=1, devices="auto").build_launcher(_nothing).rank_info == RankInfo()


@pytest.mark.parametrize(
    ("kind", "expected"),
    [("auto", ReplicatedStrategy), ("ddp", ReplicatedStrategy), ("fsdp", ShardedStrategy)],
)
def test_what_lightning_is_given(kind: Any, expected: type) -> None:
    training = Training(max_epochs=1, devices=2, accelerator="cpu", strategy=kind, threads=1)
    trainer = training.build(
        callbacks=[],
        logger=False,
        lightning_precision="32-true",
        root=".",
        launcher=training.build_launcher(_nothing),
    )
    assert isinstance(trainer.strategy, expected)
    assert (trainer.world_size, trainer.global_rank, trainer.strategy.launcher) == (2, 0, None)
    assert any(isinstance(each, RankFailureCallback) for each in trainer.callbacks)


def test_ranks_do_not_choose_their_arithmetic_each_for_itself(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    training = Training(max_epochs=1, accelerator="cpu")
    assert training.resolve_precision(RankInfo(1, 2, is_launched_externally=True))[0] == "32-true"
    monkeypatch.setitem(rank_process._first_rank_message, "arithmetic", "bf16-mixed")
    assert training.resolve_precision(RankInfo(1, 2)) == ("bf16-mixed", "as the first rank found")


def test_muon_wants_whole_matrices(composed: Callable[..., dict[str, Any]]) -> None:
    [fault] = find_rule_errors(composed("trainer=fsdp", "model/optim=muon"))
    assert "trainer=ddp or model/optim=adamw fits" in str(fault)


def _nothing(error: BaseException) -> None:
    pass


# -- collectives, in a group of one


@pytest.fixture
def group() -> Iterator[None]:
    dist.init_process_group("gloo", store=dist.HashStore(), rank=0, world_size=1)
    yield
    dist.destroy_process_group()


def test_answers_of_all_ranks_stand_by_row(group: None, monkeypatch: pytest.MonkeyPatch) -> None:
    def part(*rows: int) -> tuple[Tensor, Tensor, Tensor]:
        return torch.tensor(rows), torch.tensor(rows) * 10, torch.tensor(rows)[:, None] / 2

    monkeypatch.setattr(distributed, "gather_from_ranks", lambda value: [part(4, 1), part(0), None])
    rows, targets, answers = gather_predictions(part(4, 1)) or ()
    assert (rows.tolist(), targets.tolist(), answers.tolist()) == (
        [0, 1, 4],
        [0, 10, 40],
        [[0.0], [0.5], [2.0]],
    )
    monkeypatch.undo()
    assert gather_predictions(None) is None
    assert [each.tolist() for each in gather_predictions(part(2, 1)) or ()] == [
        [1, 2],
        [10, 20],
        [[0.5], [1.0]],
    ]


def test_to_start_is_given_time_of_its_own(group: None) -> None:
    training = Training(
        max_epochs=1, devices=2, accelerator="cpu", threads=1, rank_timeout_seconds=7
    )
    trainer = training.build(
        callbacks=[],
        logger=False,
        lightning_precision="32-true",
        root=".",
        launcher=training.build_launcher(_nothing),
    )
    strategy: Any = trainer.strategy
    assert strategy._timeout.total_seconds() == launcher.START_TIMEOUT_SECONDS
    assert training.build_launcher(_nothing).start_seconds == launcher.START_TIMEOUT_SECONDS
    longer = Training(
        max_epochs=1, devices=2, accelerator="cpu", rank_timeout_seconds=9000
    ).build_launcher(_nothing)
    assert longer.start_seconds == 9000
    set_collective_timeout(7, strategy)
    backend: Any = dist.distributed_c10d._get_default_group()._get_backend(torch.device("cpu"))
    assert backend.options._timeout.total_seconds() == 7


def test_a_sharded_encoder_becomes_whole_again(group: None) -> None:
    from transformers import BertConfig, BertForMaskedLM

    from src.model.encoder import Encoder

    config = BertConfig(
        vocab_size=60,
        hidden_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=32,
    )
    encoder = Encoder(BertForMaskedLM(config), "masked_lm")
    before = {name: value.clone() for name, value in encoder.state_dict().items()}
    shard_encoder(encoder, init_device_mesh("cpu", (1,)))
    assert all(hasattr(each, "full_tensor") for each in encoder.parameters())
    unshard_encoder(encoder)
    after = encoder.state_dict()
    assert list(after) == list(before)
    assert all(
        type(after[name]) is Tensor and torch.equal(after[name], before[name]) for name in before
    )
    network: Any = encoder.network
    assert network.cls.predictions.decoder.weight is network.bert.embeddings.word_embeddings.weight


@pytest.mark.parametrize("family", ["gpt2", "xlnet"])
def test_a_network_that_runs_as_a_whole_is_sharded_too(family: str, group: None) -> None:
    from transformers import AutoConfig

    from src.core.batch import build_tokens
    from src.model.encoder import Encoder
    from src.model.model_classes import AUTO_MODEL_CLASSES

    width = {"gpt2": "n_embd", "xlnet": "d_model"}[family]
    sizes = {"n_layer": 2, "n_head": 2, width: 16, "vocab_size": 60, "pad_token_id": 1}
    network = AUTO_MODEL_CLASSES["sequence"].from_config(AutoConfig.for_model(family, **sizes))
    encoder = Encoder(network, "sequence").eval()
    tokens = build_tokens(torch.arange(2, 14), torch.tensor([7, 5]))
    expected = encoder.compute_logits(tokens)
    shard_encoder(encoder, init_device_mesh("cpu", (1,)))
    found = encoder.compute_logits(tokens)
    torch.testing.assert_close(found, expected)
    found.sum().backward()
    assert sum(each.grad is not None for each in encoder.parameters()) > 20


# -- two ranks train as one does

SMALL = (
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.threads=1",
    "trainer.log_every_n_steps=1",
    "trainer.max_epochs=2",
    "callbacks.progress.style=off",
    "tracking.system_metrics=false",
    "callbacks.checkpoint.mode=min",
    "callbacks.checkpoint.monitor=val/loss",
)
LABELLED = (
    "+experiment=quickstart_scratch",
    "data.source.train=43",
    "data.source.validation=15",
    "data.source.test=21",
    "data.batching.eval_batch_size=4",
)
MASKED = (
    "+experiment=mlm_quickstart",
    "data.source.train=50",
    "data.source.validation=11",
    "data.source.test=7",
    "data.batching.row_tokens=32",
    "data.batching.eval_batch_size=3",
    "trainer.max_steps=null",
    "trainer.val_check_steps=null",
)
# batch sizes of one process and of two; last batches are odd
PAIRS: dict[str, tuple[tuple[str, ...], int, int]] = {
    "ddp": (LABELLED, 8, 4),
    "fsdp": ((*MASKED, "trainer.accumulate_grad_batches=2"), 6, 3),
}
TIMED = re.compile("second|flops|mfu|joule|energy|system/")


@pytest.fixture(scope="module")
def project(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    root = tmp_path_factory.mktemp("project")
    (root / "mlruns").mkdir()
    shutil.copy(blank_database, root / "mlruns" / "mlflow.db")
    return root


@pytest.fixture
def trained(project: Path, composed: Callable[..., dict[str, Any]]) -> Callable[..., RunOutcome]:
    def train(*overrides: str) -> RunOutcome:
        return run(
            **composed(
                *SMALL, *overrides, f"tracking.root={project}", f"data.cache={project}/.cache"
            )
        )

    return train


NO_GPUS = pytest.mark.skipif(torch.cuda.device_count() < 2, reason="there are no two GPUs")


@pytest.mark.parametrize(
    "accelerator", ["cpu", pytest.param("gpu", marks=[pytest.mark.gpu, NO_GPUS])]
)
@pytest.mark.parametrize("kind", list(PAIRS))
def test_two_ranks_train_as_one_process_does(
    project: Path, trained: Callable[..., RunOutcome], kind: str, accelerator: str
) -> None:
    store, (settings, whole, half) = Store(root=str(project)), PAIRS[kind]
    if accelerator == "gpu":
        settings = (*settings, "trainer.accelerator=gpu", "trainer.threads=null")
    alone = trained(*settings, f"data.batching.batch_size={whole}")
    before = len(store.search_runs())
    together = trained(
        *settings, f"data.batching.batch_size={half}", f"trainer={kind}", "trainer.devices=2"
    )
    # one run of both ranks
    assert len(store.search_runs()) == before + 1
    assert not dist.is_initialized()

    client = store.open().client
    histories = [
        {
            key: [
                (each.step, each.value) for each in client.get_metric_history(outcome.run_id, key)
            ]
            for key in client.get_run(outcome.run_id).data.metrics
            if not TIMED.search(key)
        }
        for outcome in (alone, together)
    ]
    assert set(histories[0]) == set(histories[1])
    assert {"train/loss", "train/gradient_norm", "val/loss", "test/loss"} <= set(histories[0])
    for key, points in histories[0].items():
        assert [step for step, _ in histories[1][key]] == [step for step, _ in points]
        assert [value for _, value in histories[1][key]] == pytest.approx(
            [value for _, value in points], rel=2e-4
        ), key

    first, second = (
        load_file(store.fetch_model_folder(each.run_id) / "model.safetensors")
        for each in (alone, together)
    )
    assert set(first) == set(second)
    for name, weights in first.items():
        assert (second[name] - weights).abs().max() <= 1e-4, name


def test_a_rank_that_is_killed_ends_the_run_as_failed(
    project: Path, trained: Callable[..., RunOutcome], monkeypatch: pytest.MonkeyPatch
) -> None:
    started: list[subprocess.Popen[bytes]] = []

    def kill(self: RankFailureCallback, trainer: Any, *rest: Any) -> None:
        started[:] = self._launcher._processes.values()
        if trainer.global_step == 3:
            started[0].kill()

    monkeypatch.setattr(RankFailureCallback, "on_train_batch_end", kill)
    with pytest.raises(LostRank, match="rank 1 of 2 .* was killed by SIGKILL"):
        ddp = (
            "trainer=ddp",
            "trainer.devices=2",
            "trainer.max_epochs=500",
            "callbacks.checkpoint.every_steps=2",
        )
        trained(*LABELLED, "data.batching.batch_size=4", *ddp)
    [newest, *_] = Store(root=str(project)).search_runs(limit=1)
    assert newest.status == "FAILED"
    assert newest.tags["failure.reason"].startswith("LostRank: rank 1 of 2")
    assert [each.poll() for each in started] == [-signal.SIGKILL]
    # the last one, for another try
    assert list((project / "mlruns" / "checkpoints" / newest.id).glob("*.ckpt"))
    assert not dist.is_initialized()
