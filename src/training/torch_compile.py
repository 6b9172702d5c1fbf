"""torch.compile for training steps whose shapes recur: packed rows of masked language modelling.

Shape legend: B sequences, T tokens, K masked positions.
"""

from collections import Counter
from collections.abc import Callable, Mapping
from importlib.util import find_spec
from typing import Any

import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from lightning.pytorch.strategies import ModelParallelStrategy
from lightning.pytorch.utilities.rank_zero import rank_zero_only, rank_zero_warn

from src.core.printing import print_line
from src.core.user_errors import UserError

# Up to this width a GPU waits for the host to start its kernels; CUDA graphs start them at once.
CUDA_GRAPHS_MAX_WIDTH = 384
# A full batch, and the smaller ones of a batch warm-up.
_MAX_COMPILED_SHAPES = 4
# The number of sequences is rounded up to a multiple of this.
_SEQUENCES_MULTIPLE = 64


class CompiledForward:
    """An objective's `forward`, compiled for the shapes of batches that recur.

    Of a packed batch T and K hardly ever change, but B and the longest sequence do. Both are
    rounded up: B by empty sequences at the end, which attention passes over, the longest sequence
    to the length of a row. A shape is compiled when it is met for the second time, so that the one
    short batch of an epoch costs no compilation.

    Args:
        forward: (encoder, batch) to a result with a `loss`. Batches of other kinds, and evaluation,
            run uncompiled.
        cuda_graphs: record CUDA graphs. Not with gradients that are added up over batches, whose
            memory a graph would overwrite.
        strict: raise where compilation fails; else warn, and go on uncompiled.
        backend: of torch.compile.
    """

    def __init__(
        self,
        forward: Callable[..., Any],
        *,
        cuda_graphs: bool = False,
        strict: bool = False,
        backend: str = "inductor",
    ) -> None:
        self._eager_forward = forward
        self._cuda_graphs = cuda_graphs
        self._strict = strict
        mode = "reduce-overhead" if cuda_graphs else None
        self._compiled_forward: Callable[..., Any] | None = torch.compile(
            forward, dynamic=False, backend=backend, mode=mode
        )
        # Keys are (T, K).
        self._shape_counts: Counter[tuple[int, int]] = Counter()
        self._compiled_shapes: set[tuple[int, int]] = set()
        self._has_said_limit = False
        # B, rounded up.
        self._padded_sequences = 0

    def __call__(self, encoder: Any, batch: Any) -> Any:
        if (
            self._compiled_forward is None
            or not torch.is_grad_enabled()
            or not self._should_compile(batch)
        ):
            return self._eager_forward(encoder, batch)
        if self._cuda_graphs:
            torch.compiler.cudagraph_mark_step_begin()
        try:
            result = self._compiled_forward(encoder, self._pad_to_compiled_shape(batch))
        except torch._dynamo.exc.TorchDynamoException as error:
            if self._strict:
                raise
            reason = str(error).strip().partition("\n")[0]
            rank_zero_warn(
                "torch.compile failed, so steps run uncompiled; trainer.compile=false says so: "
                f"{reason}"
            )
            self._compiled_forward = None
            return self._eager_forward(encoder, batch)
        # What a graph gives out is overwritten by its next run, and the loss is looked at later.
        return result._replace(loss=result.loss.clone()) if self._cuda_graphs else result

    def state_dict(self) -> dict[str, Any]:
        """Return the shapes that were met and compiled; a resumed training begins with them."""
        return {
            "met": dict(self._shape_counts),
            "chosen": sorted(self._compiled_shapes),
            "sequences": self._padded_sequences,
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self._shape_counts, self._compiled_shapes = Counter(state["met"]), set(state["chosen"])
        self._padded_sequences = state["sequences"]

    def _should_compile(self, batch: Any) -> bool:
        tokens = batch.tokens
        if not tokens.row_tokens or not hasattr(batch, "masked_positions"):
            return False
        shape = (len(tokens.ids), len(batch.masked_positions))
        self._shape_counts[shape] += 1
        if self._shape_counts[shape] > 1 and shape not in self._compiled_shapes:
            if len(self._compiled_shapes) < _MAX_COMPILED_SHAPES:
                self._compiled_shapes.add(shape)
            elif not self._has_said_limit:
                self._has_said_limit = True
                rank_zero_only(print_line)(
                    f"torch.compile: batches have more than {_MAX_COMPILED_SHAPES} shapes, and "
                    "those of further ones run uncompiled; each number of masks of "
                    "data.batching.mask_fraction_end makes one"
                )
        return shape in self._compiled_shapes

    def _pad_to_compiled_shape(self, batch: Any) -> Any:
        """Round up the number of sequences of a batch and the length of its longest one."""
        tokens = batch.tokens
        # A quarter more leaves room for the next batches.
        if tokens.num_sequences > self._padded_sequences:
            self._padded_sequences = (
                -(-tokens.num_sequences * 5 // (4 * _SEQUENCES_MULTIPLE)) * _SEQUENCES_MULTIPLE
            )
        empty = self._padded_sequences - tokens.num_sequences
        cu_seqlens = torch.nn.functional.pad(tokens.cu_seqlens, (0, empty), value=len(tokens.ids))
        return batch._replace(
            tokens=tokens._replace(cu_seqlens=cu_seqlens, max_seqlen=tokens.row_tokens)
        )


class CompileCallback(Callback):
    """Compiles the objective of the module that is trained.

    Args:
        requested: None compiles masked language modelling where every GPU has the whole model.
            On a CPU that would gain 4 % of a step and take 8 to 38 s, and attention there is not
            made of traceable parts.
        backend: of torch.compile.

    Raises:
        UserError: when training starts, if it is requested but impossible.
    """

    # Checkpoints of all versions have its state under this key.
    state_key = "Compiling"

    def __init__(self, requested: bool | None = None, *, backend: str = "inductor") -> None:
        self._requested = requested
        self._backend = backend
        self._compiled_forward: CompiledForward | None = None
        self._loaded_state: Mapping[str, Any] | None = None

    def state_dict(self) -> dict[str, Any]:
        return self._compiled_forward.state_dict() if self._compiled_forward is not None else {}

    def load_state_dict(self, state_dict: dict[str, Any]) -> None:
        self._loaded_state = state_dict

    def on_train_start(self, trainer: Trainer, pl_module: LightningModule) -> None:
        objective: Any = pl_module.objective
        refusal = find_compile_obstacle(
            pl_module.device.type,
            objective.head,
            sharded=isinstance(trainer.strategy, ModelParallelStrategy),
        )
        encoder: Any = pl_module.encoder
        if refusal is None and not encoder.has_own_head:
            refusal = "padded rows, in which this family runs, differ in length from step to step"
        if refusal is not None:
            if self._requested is True:
                raise build_compile_error(refusal)
            return
        graphs = (
            encoder.config.hidden_size <= CUDA_GRAPHS_MAX_WIDTH
            and trainer.accumulate_grad_batches == 1
        )
        compiled = CompiledForward(
            objective.forward,
            cuda_graphs=graphs,
            strict=self._requested is True,
            backend=self._backend,
        )
        if self._loaded_state is not None:
            compiled.load_state_dict(self._loaded_state)
        self._compiled_forward = compiled
        # An attribute of the object comes before its class's.
        vars(objective)["forward"] = compiled

    def on_train_end(self, trainer: Trainer, pl_module: LightningModule) -> None:
        vars(pl_module.objective).pop("forward", None)


def build_compile_error(obstacle: str) -> UserError:
    """The error of a training that is to be compiled and cannot be."""
    return UserError(
        f"trainer.compile=true, but {obstacle} (trainer.compile=null decides by itself)"
    )


def find_compile_obstacle(device: str, head: str, *, sharded: bool) -> str | None:
    """Return why a training cannot run compiled, or None."""
    if device != "cuda":
        return f"steps are compiled on a GPU alone, and this one runs on: {device}"
    if head != "masked_lm":
        return (
            "only batches of masked language modelling have the same shape again and again, and "
            f"this is {head}"
        )
    if sharded:
        return "weights are divided among devices (trainer.strategy=fsdp)"
    return None if find_spec("triton") is not None else "triton is not installed"
