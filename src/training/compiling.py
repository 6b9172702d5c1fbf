"""torch.compile for steps whose shapes stay: packed rows of masked language modelling.

Shape legend: B sequences, T tokens, K masked positions.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_warn

from src.terms.fault import Fault

GRAPHS_UP_TO_WIDTH = 384  # below it a GPU waits for the host to start its kernels; CUDA graphs start them all at once
_SHAPES = 4  # compiled at most: a full batch, and the smaller ones of a batch warm-up
_SEQUENCES = 64  # the number of sequences is rounded up to a multiple of it


class Compiled:
    """An objective's `forward` that runs compiled where a batch has a shape that comes again, else as it is.

    Of a packed batch T and K hardly ever change, but B does, and so does the longest sequence. Both are rounded up:
    empty sequences at the end, which attention passes over, and the length of a row. A shape is compiled when it is met
    for the second time, so that the one short batch of an epoch costs no compilation.

    Args:
        forward: (encoder, batch) to a result with a `loss`; batches of other kinds and evaluation run uncompiled.
        graphs: record CUDA graphs. Not with gradients that are added up over batches, whose memory a graph would
            overwrite.
        strict: raise where compilation fails; else warn, and go on uncompiled.
        backend: of torch.compile.
    """

    def __init__(
        self, forward: Callable[..., Any], *, graphs: bool = False, strict: bool = False, backend: str = "inductor"
    ) -> None:
        self._plain = forward
        self._graphs = graphs
        self._strict = strict
        mode = "reduce-overhead" if graphs else None
        self._compiled: Callable[..., Any] | None = torch.compile(forward, dynamic=False, backend=backend, mode=mode)
        self._met: Counter[tuple[int, int]] = Counter()  # (T, K)
        self._chosen: set[tuple[int, int]] = set()
        self._sequences = 0  # room for so many

    def __call__(self, encoder: Any, batch: Any) -> Any:
        if self._compiled is None or not torch.is_grad_enabled() or not self._comes_again(batch):
            return self._plain(encoder, batch)
        if self._graphs:
            torch.compiler.cudagraph_mark_step_begin()
        try:
            result = self._compiled(encoder, self._evened(batch))
        except torch._dynamo.exc.TorchDynamoException as error:
            if self._strict:
                raise
            reason = str(error).strip().partition("\n")[0]
            rank_zero_warn(f"torch.compile failed, so steps run uncompiled; trainer.compile=false says so: {reason}")
            self._compiled = None
            return self._plain(encoder, batch)
        # What a graph gives out is overwritten by its next run, and the loss is looked at later.
        return result._replace(loss=result.loss.clone()) if self._graphs else result

    def state_dict(self) -> dict[str, Any]:
        """Which shapes were met, and are compiled: a training that goes on compiles the same from its first step."""
        return {"met": dict(self._met), "chosen": sorted(self._chosen), "sequences": self._sequences}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._met, self._chosen = Counter(state["met"]), set(state["chosen"])
        self._sequences = state["sequences"]

    def _comes_again(self, batch: Any) -> bool:
        tokens = batch.tokens
        if not tokens.row or not hasattr(batch, "masked"):
            return False
        shape = (len(tokens.ids), len(batch.masked))
        self._met[shape] += 1
        if self._met[shape] > 1 and len(self._chosen) < _SHAPES:
            self._chosen.add(shape)
        return shape in self._chosen

    def _evened(self, batch: Any) -> Any:
        """The batch with its number of sequences and its longest one rounded up."""
        tokens = batch.tokens
        if tokens.count > self._sequences:  # with a quarter more, the next batches will have room
            self._sequences = -(-tokens.count * 5 // (4 * _SEQUENCES)) * _SEQUENCES
        empty = self._sequences - tokens.count
        starts = torch.nn.functional.pad(tokens.starts, (0, empty), value=len(tokens.ids))
        return batch._replace(tokens=tokens._replace(starts=starts, longest=tokens.row))


class Compiling(Callback):
    """Compiles the objective of the module that is trained, where that pays.

    Args:
        choice: None compiles masked language modelling where every GPU has the whole model. Never on a CPU, where it
            gained 4 % of a step and took 8 to 38 s, and whose attention is not made of traceable parts.

    Raises Fault where it is chosen but cannot be.
        backend: of torch.compile.
    """

    def __init__(self, choice: bool | None = None, *, backend: str = "inductor") -> None:
        self._choice = choice
        self._backend = backend
        self._compiled: Compiled | None = None
        self._loaded: Mapping[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return self._compiled.state_dict() if self._compiled is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        objective: Any = pl_module.objective
        refusal = obstacle(
            pl_module.device.type, objective.kind, sharded=isinstance(trainer.strategy, ModelParallelStrategy)
        )
        if refusal is not None:
            if self._choice is True:
                raise Fault(f"trainer.compile=true, but {refusal} (trainer.compile=null decides by itself)")
            return
        encoder: Any = pl_module.encoder
        graphs = encoder.config.hidden_size <= GRAPHS_UP_TO_WIDTH and trainer.accumulate_grad_batches == 1
        compiled = Compiled(objective.forward, graphs=graphs, strict=self._choice is True, backend=self._backend)
        if self._loaded is not None:
            compiled.load_state_dict(self._loaded)
        self._compiled = compiled
        vars(objective)["forward"] = compiled  # of this object, before its class's

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        vars(pl_module.objective).pop("forward", None)


def obstacle(device: str, kind: str, *, sharded: bool) -> str | None:
    """Why a training cannot run compiled, or None."""
    if device != "cuda":
        return f"steps are compiled on a GPU alone, and this one runs on: {device}"
    if kind != "masked_lm":
        return f"only batches of masked language modelling have the same shape again and again, and this is {kind}"
    if sharded:
        return "weights are divided among devices (trainer.strategy=fsdp)"
    return None if find_spec("triton") is not None else "triton is not installed"
