"""One model on several ranks: how Lightning meets them, and what must be put together again at the end."""

import contextlib
import inspect
import signal
from datetime import timedelta
from typing import TYPE_CHECKING, Any, Literal, TypeVar

import torch
import torch.distributed as dist
from lightning.fabric.plugins.environments import (
    ClusterEnvironment,
    LSFEnvironment,
    MPIEnvironment,
    SLURMEnvironment,
    TorchElasticEnvironment,
)
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import DDPStrategy, ModelParallelStrategy, Strategy
from torch import Tensor, nn
from torch.distributed import distributed_c10d
from torch.distributed.fsdp import FSDPModule, fully_shard, register_fsdp_forward_method
from torch.nn.parallel import DistributedDataParallel

from src.terms.fault import Fault
from src.training.ranks import Place, Ranks

if TYPE_CHECKING:
    from torch.distributed.device_mesh import DeviceMesh

    from src.model.encoder import Encoder
    from src.model.module import EncoderModule

T = TypeVar("T")
Answers = tuple[Tensor, Tensor, Tensor]
_LAUNCHERS: dict[str, tuple[type[ClusterEnvironment], dict[str, Any]]] = {
    "torchrun": (TorchElasticEnvironment, {}),  # first: it is also used inside SLURM
    "SLURM": (SLURMEnvironment, {"auto_requeue": False}),  # a run is resumed by its id, not by a file left behind
    "LSF": (LSFEnvironment, {}),
    "MPI": (MPIEnvironment, {}),
}


def launched_by(size: int) -> tuple[str, ClusterEnvironment] | None:
    """What has started this process as one of `size`, by Lightning's own tests in Lightning's own order."""
    for name, (environment, options) in _LAUNCHERS.items():
        if not environment.detect():
            continue
        if name == "torchrun":
            return name, environment(**options)
        if size == 1:
            return None  # one of several tasks of a job that know nothing of each other
        try:
            found = environment(**options)
        except RuntimeError as error:  # SLURM wants --ntasks-per-node
            raise Fault(f"{name}: {error}") from error
        return (name, found) if found.world_size() > 1 else None
    return None


class Local(ClusterEnvironment):
    """Ranks of one machine that the first of them has started."""

    def __init__(self, place: Place, port: int) -> None:
        super().__init__()
        self._place = place
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
        return self._place.size

    def set_world_size(self, size: int) -> None:
        """Known already."""

    def global_rank(self) -> int:
        return self._place.rank

    def set_global_rank(self, rank: int) -> None:
        """Known already."""

    def local_rank(self) -> int:
        return self._place.local_rank

    def node_rank(self) -> int:
        return 0


class Replicated(DDPStrategy):
    """The whole model on every rank (DDP): gradients are averaged, buffers are constants."""

    def __init__(self, environment: ClusterEnvironment, start_seconds: float) -> None:
        known = inspect.signature(DistributedDataParallel).parameters
        name = "forward_sync_buffers" if "forward_sync_buffers" in known else "broadcast_buffers"  # before torch 2.13
        options: dict[str, Any] = {name: False}
        super().__init__(
            cluster_environment=environment,
            timeout=timedelta(seconds=start_seconds),
            gradient_as_bucket_view=True,  # one copy of the gradients instead of two
            **options,
        )

    def _configure_launcher(self) -> None:
        """None: the processes are there, and Lightning would change the number of threads."""


class Sharded(ModelParallelStrategy):
    """Weights, gradients and optimizer state divided among all ranks (FSDP2; Zhao et al., 2023).

    Each transformer layer is gathered when it is needed; the rest (embeddings, head) stays whole from the forward pass
    to the end of the backward pass. Checkpoints are whole: one file, written by the first rank.
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
        """None: the processes are there."""

    def setup(self, trainer: Trainer) -> None:
        encoder: Encoder = self.lightning_module.encoder  # type: ignore[union-attr, assignment]
        if not isinstance(encoder, FSDPModule):  # evaluation comes after training with the same model
            encoder.lean = False  # its arithmetic goes past the modules, at which weights are gathered
            encoder.checkpoint_gradients(encoder.checkpointing)
            shard(encoder, self.device_mesh["data_parallel"])
        super().setup(trainer)


def strategy(kind: Literal["ddp", "fsdp"], ranks: Ranks) -> Strategy:
    """How ranks work together. Until `Guard` sees training begin they wait `ranks.start_seconds` for each other."""
    found = launched_by(ranks.place.size) if ranks.place.launched else None
    environment = Local(ranks.place, ranks.port) if found is None else found[1]
    if kind == "ddp":
        return Replicated(environment, ranks.start_seconds)
    return Sharded(environment, ranks.place.size, ranks.start_seconds)


def wait_at_most(seconds: float, strategy: Strategy) -> None:
    """From now on a rank that does not answer for so long, while others wait for it, is an error in these."""
    groups = [dist.group.WORLD]
    if isinstance(strategy, Sharded):  # its mesh may have groups of its own
        groups += strategy.device_mesh.get_all_groups()
    for each in groups:
        distributed_c10d._set_pg_timeout(timedelta(seconds=seconds), each)


def shard(encoder: "Encoder", mesh: "DeviceMesh") -> None:
    """Divide the parameters of an encoder among the ranks of a mesh, in place."""
    for layer in encoder.layers():
        fully_shard(layer, mesh=mesh)
    fully_shard(encoder, mesh=mesh)
    register_fsdp_forward_method(encoder, "encode")  # objectives call this, not forward


def unshard(encoder: "Encoder") -> None:
    """Make the parameters whole again, in place, one at a time and in the main memory: for saving, not for training.

    All ranks call it together; only the first keeps the values. Does nothing to an encoder that is whole.
    """
    if not isinstance(encoder, FSDPModule):
        return
    _reshard(encoder)
    whole: dict[nn.Parameter, nn.Parameter] = {}  # tied weights stay tied
    for module in encoder.modules():
        for name, parameter in module._parameters.items():
            if parameter is None:
                continue
            if parameter not in whole:
                value: Tensor = parameter.full_tensor()  # type: ignore[attr-defined]
                value = value.cpu() if dist.get_rank() == 0 else value.new_empty(0)
                whole[parameter] = nn.Parameter(value, requires_grad=parameter.requires_grad)
            module._parameters[name] = whole[parameter]


def _reshard(encoder: nn.Module) -> None:
    """Evaluation leaves what is used last gathered, since no backward pass comes."""
    for module in encoder.modules():
        if isinstance(module, FSDPModule):
            module.reshard()


def load_weights(module: "EncoderModule", checkpoint: str) -> None:
    """Take the weights of a checkpoint that the first rank can read.

    Whole models are loaded there alone: Lightning hands them on before it tests, and the first rank saves them. Sharded
    ones are handed out here.
    """
    if not isinstance(module.encoder, FSDPModule):
        if rank() == 0:
            module.load_weights(checkpoint)
        return
    from torch.distributed.checkpoint.state_dict import StateDictOptions, set_model_state_dict

    _reshard(module.encoder)
    state = torch.load(checkpoint, map_location="cpu", weights_only=True)["state_dict"] if rank() == 0 else {}
    set_model_state_dict(module, state, options=StateDictOptions(full_state_dict=True, broadcast_from_rank0=True))


def rank() -> int:
    return dist.get_rank() if dist.is_available() and dist.is_initialized() else 0


def gathered(value: T) -> list[T]:
    """What each rank holds, by rank, on all of them."""
    if not (dist.is_available() and dist.is_initialized()):
        return [value]
    parts: list[Any] = [None] * dist.get_world_size()
    dist.all_gather_object(parts, value)
    return parts


def all_answers(own: Answers | None) -> Answers | None:
    """Row ids [N], targets [N] and answers of all ranks, by row id. Each row lies on one rank alone."""
    parts = [each for each in gathered(own) if each is not None]
    if not parts:
        return None
    rows, targets, answers = (torch.cat(each) for each in zip(*parts, strict=True))
    order = rows.argsort()
    return rows[order], targets[order], answers[order]


class Guard(Callback):
    """What must hold on each rank while Lightning is at work.

    Once training begins a rank is waited for as long as `trainer.rank_timeout_seconds` says, and no longer.

    Dropout differs between ranks. A signal to end is the first rank's business: it leaves between two optimizer steps
    (src/training/obeying.py), with the others still in step. An exception anywhere ends all ranks before anything can
    wait for them; the first then writes its last checkpoint alone, which it can where it has the whole model.
    """

    def __init__(self, ranks: Ranks) -> None:
        self._ranks = ranks

    def setup(self, trainer: Trainer, pl_module: LightningModule, stage: str) -> None:
        if isinstance(trainer.strategy, Sharded):
            for each in trainer.checkpoint_callbacks:
                if hasattr(each, "save_on_exception"):
                    each.save_on_exception = False  # the other shards are out of reach by then

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        self._ranks.begun = True
        wait_at_most(self._ranks.timeout_seconds, trainer.strategy)
        if self._ranks.place.rank > 0:  # the first keeps the noise of a run on one device
            torch.manual_seed(torch.initial_seed() + self._ranks.place.rank)
            with contextlib.suppress(ValueError):  # not the main thread
                for signum in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2):
                    signal.signal(signum, signal.SIG_IGN)
        # Lightning asks all ranks before each batch whether a signal came, which stops the queue of a GPU.
        loop: Any = trainer.fit_loop.epoch_loop
        if hasattr(loop, "_broadcast_sigterm_tensor"):
            loop._broadcast_sigterm_tensor = _nothing

    def on_exception(self, trainer: Trainer, pl_module: LightningModule, exception: BaseException) -> None:
        self._ranks.fail(exception)


def _nothing() -> None:
    """Instead of a question that `Guard` makes needless."""
