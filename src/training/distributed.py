"""One model on several ranks: strategies, collective operations, and what holds on each rank."""

import contextlib
import inspect
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import ClusterEnvironment
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from src.training.launcher import RankInfo, RankLauncher, detect_cluster_environment
from src.training.lightning_internals import disable_sigterm_broadcast

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from src.model.encoder import Encoder
    from src.model.module import EncoderModule

# of ranks for the first one, between two trainings
_BORDER_SECONDS = 7 * 86400.0

T = TypeVar("T")
RankPredictions = tuple[Tensor, Tensor, Tensor]


class LocalEnvironment(ClusterEnvironment):
    """The ranks of one machine that the first of them has started, for Lightning."""

    def __init__(self, rank_info: RankInfo, port: int) -> None:
        super().__init__()
        self._rank_info = rank_info
        self._port = port

    @property
    def creates_processes_externally(self) -> bool:
        return True

    @property
    def main_address(self) -> str:
        return "127.0.0.1"

    @property
    def main_port(self) -> int:
        return self._port

    @staticmethod
    def detect() -> bool:
        return False

    def world_size(self) -> int:
        return self._rank_info.world_size

    def set_world_size(self, size: int) -> None:
        """Known already."""

    def global_rank(self) -> int:
        return self._rank_info.rank

    def set_global_rank(self, rank: int) -> None:
        """Known already."""

    def local_rank(self) -> int:
        return self._rank_info.local_rank

    def node_rank(self) -> int:
        return 0


class ReplicatedStrategy(DDPStrategy):
    """The whole model on every rank (DDP): gradients are averaged, buffers are constants."""

    def __init__(self, environment: ClusterEnvironment, start_seconds: float) -> None:
        known = inspect.signature(DistributedDataParallel).parameters
        # It had the other name before torch 2.13.
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"
        options: dict[str, Any] = {name: False}
        super().__init__(
            cluster_environment=environment,
            timeout=timedelta(seconds=start_seconds),
            # One copy of the gradients instead of two.
            gradient_as_bucket_view=True,
            **options,
        )

    def setup(self, trainer: Trainer) -> None:
        encoder: Encoder = self.lightning_module.encoder  # type: ignore[union-attr, assignment]
        # a whole network of transformers may hold parameters that no loss reaches
        self._ddp_kwargs["find_unused_parameters"] = not encoder.has_own_head
        super().setup(trainer)

    def _configure_launcher(self) -> None:
        """No launcher: the processes are there, and Lightning would set the number of threads."""


class ShardedStrategy(ModelParallelStrategy):
    """Weights, gradients and optimizer state divided among all ranks (FSDP2; Zhao et al., 2023).

    Each transformer layer is gathered when it is needed; the rest (embeddings, head) stays whole
    from the forward pass to the end of the backward pass. Checkpoints are whole: one file, written
    by the first rank.
    """

    def __init__(self, environment: ClusterEnvironment, size: int, start_seconds: float) -> None:
        super().__init__(
            data_parallel_size=size,
            tensor_parallel_size=1,
            save_distributed_checkpoint=False,
            timeout=timedelta(seconds=start_seconds),
        )
        self.cluster_environment = environment

    def _configure_launcher(self) -> None:
        """No launcher: the processes are there."""

    def setup(self, trainer: Trainer) -> None:
        encoder: Encoder = self.lightning_module.encoder  # type: ignore[union-attr, assignment]
        # Evaluation comes after training with the same model.
        if not isinstance(encoder, FSDPModule):
            # It bypasses the modules at which weights are gathered.
            encoder.uses_fast_path = False
            encoder.check_direction()
            encoder.set_gradient_checkpointing(encoder.gradient_checkpointing)
            shard_encoder(encoder, self.device_mesh["data_parallel"])
        super().setup(trainer)


def build_strategy(kind: Literal["ddp", "fsdp"], launcher: RankLauncher) -> Strategy:
    """Build Lightning's strategy for several ranks.

    The ranks wait `launcher.start_seconds` for each other until `RankFailureCallback` sees training
    begin.
    """
    info = launcher.rank_info
    environment: ClusterEnvironment = LocalEnvironment(info, launcher.port)
    if info.is_launched_externally and (detected := detect_cluster_environment(info.world_size)):
        _, environment = detected
    if kind == "ddp":
        return ReplicatedStrategy(environment, launcher.start_seconds)
    return ShardedStrategy(environment, info.world_size, launcher.start_seconds)


def set_collective_timeout(seconds: float, strategy: Strategy) -> None:
    """From now on, raise an error in ranks that wait longer than this for another one."""
    groups = [dist.group.WORLD]
    # Its mesh may have groups of its own.
    if isinstance(strategy, ShardedStrategy):
        groups += strategy.device_mesh.get_all_groups()
    for group in groups:
        distributed_c10d._set_pg_timeout(timedelta(seconds=seconds), group)


def wait_at_border(launcher: RankLauncher, strategy: Strategy) -> None:
    """Have the ranks wait, until training begins again, for as long as the first one takes to save
    a model and to read data, as before they have begun.
    """
    launcher.has_training_begun = False
    if launcher.rank_info.world_size > 1:
        set_collective_timeout(_BORDER_SECONDS, strategy)


def shard_encoder(encoder: "Encoder", mesh: "DeviceMesh") -> None:
    """Divide the parameters of an encoder among the ranks of a mesh, in place."""
    for layer in encoder.get_layers():
        fully_shard(layer, mesh=mesh)
    fully_shard(encoder, mesh=mesh)
    # Objectives call these instead of `forward`.
    register_fsdp_forward_method(encoder, "encode")
    register_fsdp_forward_method(encoder, "run_network")


def unshard_encoder(encoder: "Encoder") -> None:
    """Make divided parameters whole again, in place and in main memory, to save them.

    All ranks must call it; only the first keeps the values. It does nothing to an encoder that is
    whole, and the encoder cannot be trained afterwards.
    """
    if not isinstance(encoder, FSDPModule):
        return
    _reshard_modules(encoder)
    # Tied weights stay tied.
    whole: dict[nn.Parameter, nn.Parameter] = {}
    for module in encoder.modules():
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if parameter not in whole:
                value: Tensor = parameter.full_tensor()  # type: ignore[attr-defined]
                value = value.cpu() if dist.get_rank() == 0 else value.new_empty(0)
                whole[parameter] = nn.Parameter(value, requires_grad=parameter.requires_grad)
            module._parameters[name] = whole[parameter]


def _reshard_modules(encoder: nn.Module) -> None:
    """Divide weights again that an evaluation has left gathered, for want of a backward pass."""
    for module in encoder.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def load_checkpoint_weights(module: "EncoderModule", checkpoint: str) -> None:
    """Load the weights of a checkpoint that the first rank can read.

    Whole models are loaded in the first rank alone: Lightning broadcasts them before it tests, and
    the first rank saves them. Divided ones are handed out here.
    """
    if not isinstance(module.encoder, FSDPModule):
        if current_rank() == 0:
            module.load_weights(checkpoint)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    _reshard_modules(module.encoder)
    state = (
        torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"]
        if current_rank() == 0
        else {}
    )
    set_model_state_dict(
        module, state, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True)
    )


def current_rank() -> int:
    """Return the rank of this process; 0 without a process group."""
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gather_from_ranks(value: T) -> list[T]:
    """Return the value that each rank holds, by rank. All ranks must call it."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, value)
    return parts


def gather_predictions(own: RankPredictions | None) -> RankPredictions | None:
    """Return row ids [N], targets [N] and outputs of all ranks, ordered by row id.

    Each row lies on one rank alone.
    """
    parts = [part for part in gather_from_ranks(own) if part is not None]
    if not parts:
        return None
    rows, targets, outputs = (torch.cat(columns) for columns in zip(*parts, strict=True))
    # words of one row stay in their order
    order = rows.argsort(stable=True)
    return rows[order], targets[order], outputs[order]


class RankFailureCallback(Callback):
    """The first callback on each of several ranks: it ends all of them when one fails.

    An exception ends all ranks before anything can wait for them. The first one then writes its
    last checkpoint alone, which it can where it has the whole model. Once training begins, no rank
    waits for another longer than `trainer.rank_timeout_seconds`. A signal to end is the first
    rank's business: it leaves between two optimizer steps (src/training/step_control.py), with the
    others still in step. Dropout differs between ranks.
    """

    def __init__(self, launcher: RankLauncher) -> None:
        self._launcher = launcher

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy, ShardedStrategy):
            for callback in trainer.checkpoint_callbacks:
                # Lightning's own. The other shards are out of reach by then.
                if hasattr(callback, "save_on_exception"):
                    callback.save_on_exception = False

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._launcher.has_training_begun = True
        set_collective_timeout(self._launcher.timeout_seconds, trainer.strategy)
        # The first rank draws the same dropout as a run on one device.
        if self._launcher.rank_info.rank > 0:
            torch.manual_seed(torch.initial_seed() + self._launcher.rank_info.rank)
            # Python refuses this outside of the main thread.
            with contextlib.suppress(ValueError):
                for name in ("SIGINT", "SIGTERM", "SIGHUP", "SIGUSR1", "SIGUSR2"):
                    signal.signal(signal.Signals[name], signal.SIG_IGN)
        disable_sigterm_broadcast(trainer)

    def on_exception(
        self, trainer: Trainer, pl_module: LightningModule, exception: BaseException
    ) -> None:
        self._launcher.end_all_ranks(exception)
