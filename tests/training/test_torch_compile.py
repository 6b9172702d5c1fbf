"""Compiled steps give the loss and the gradients of plain ones; compiled by a backend that runs the
traced graphs.
"""

from collections.abc import Callable
from typing import Any

import pytest
import torch
from lightning.pytorch import Callback, LightningModule, Trainer
from torch import Tensor
from torch.utils.data import DataLoader
from transformers import AutoConfig

from src.core.batch import LabelledBatch, MaskedBatch, build_tokens
from src.core.user_errors import UserError
from src.model import fast_encoder
from src.model.attention import ragged_attention, relative_attention
from src.model.encoder import Encoder
from src.model.model_classes import AUTO_MODEL_CLASSES
from src.model.objectives.masked_lm import MaskedLM
from src.training import torch_compile
from src.training.torch_compile import CompileCallback, CompiledForward, find_compile_obstacle

ROW = 16
MEASURES = {
    "vocab_size": 60,
    "hidden_size": 16,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "pad_token_id": 0,
}
MEASURES |= {"intermediate_size": 32, "max_position_embeddings": 64}
MEASURES |= {"hidden_dropout_prob": 0.0, "attention_probs_dropout_prob": 0.0}
FAMILIES: dict[str, dict[str, Any]] = {
    "bert": {"num_hidden_layers": 1},
    "deberta-v2": {
        "relative_attention": True,
        "position_buckets": 8,
        "pos_att_type": ["c2p", "p2c"],
    },
    "modernbert": {
        **{f"{name}_token_id": 2 for name in ("bos", "eos", "cls", "sep")},
        "local_attention": 6,
    },
}
# torch's own while it traces
pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning", "ignore::FutureWarning", "ignore:The .grad attribute of a Tensor"
)


@pytest.fixture(autouse=True)
def as_on_a_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    """A CPU's attention is no part of what is compiled; this is the other one."""

    def fused(
        qkv: Tensor,
        layout: Any,
        *,
        scale: float,
        dropout: float,
        window: Any = None,
        rotation: Any = None,
    ) -> Any:
        query, key, value = qkv.unbind(1)
        if rotation is not None:
            query, key = (
                ragged_attention.apply_rotary(each, *(part[:, None] for part in rotation))
                for each in (query, key)
            )
        return ragged_attention._fused_attention(query, key, value, layout, scale, dropout, window)

    monkeypatch.setattr(fast_encoder, "ragged_attention", fused)
    monkeypatch.setattr(fast_encoder, "relative_attention", relative_attention._attend_padded)
    torch.manual_seed(1)
    torch._dynamo.reset()


def encoder(family: str = "bert") -> Encoder:
    torch.manual_seed(1)
    config = AutoConfig.for_model(family, **(MEASURES | FAMILIES[family]))
    return Encoder(AUTO_MODEL_CLASSES["masked_lm"].from_config(config), "masked_lm").train()


def packed(*rows: list[int], masked: int = 4) -> MaskedBatch:
    lengths = [length for row in rows for length in row]
    ids = torch.randint(5, 60, (sum(lengths),))
    tokens = build_tokens(
        ids, torch.tensor(lengths), row_tokens=ROW if all(sum(row) == ROW for row in rows) else 0
    )
    return MaskedBatch(
        tokens, torch.randperm(len(ids))[:masked].sort().values, torch.randint(5, 60, (masked,))
    )


def gradients(
    call: Callable[..., Any], encoder: Encoder, batch: MaskedBatch
) -> tuple[Tensor, list[Tensor]]:
    encoder.zero_grad()
    loss = call(encoder, batch).loss
    loss.backward()
    return loss.detach(), [
        each.grad.clone() for each in encoder.parameters() if each.grad is not None
    ]


@pytest.mark.parametrize("family", sorted(FAMILIES))
def test_the_same_loss_and_gradients(family: str) -> None:
    network, objective = encoder(family).train(), MaskedLM()
    compiled = CompiledForward(objective.forward, strict=True, backend="aot_eager")
    for batch in (
        packed([16], [10, 6]),
        packed([3, 13], [4, 4, 8]),
        packed([16], [16]),
        packed([1] * 16, [16]),
    ):
        expected, grads = gradients(objective.forward, network, batch)
        found, ours = gradients(compiled, network, batch)
        torch.testing.assert_close(found, expected)
        torch.testing.assert_close(ours, grads)
    assert compiled._compiled_shapes == {(32, 4)}


def counted(monkeypatch: pytest.MonkeyPatch) -> tuple[CompiledForward, list[int]]:
    """A compiled call that notes how many sequences it is given, and the notes."""
    seen: list[int] = []

    def fake(forward: Any, **settings: Any) -> Any:
        return lambda encoder, batch: (
            seen.append(batch.tokens.num_sequences),
            forward(encoder, batch),
        )[1]

    monkeypatch.setattr(torch, "compile", fake)
    return CompiledForward(lambda encoder, batch: "result"), seen


def test_a_shape_is_compiled_when_it_comes_again(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, seen = counted(monkeypatch)
    for batch in (
        # new
        packed([16], [16]),
        # new
        packed([16], [16], [16]),
        # again: 3 sequences, with a quarter more, up to 64
        packed([16], [8, 8]),
        # new: a row of many special tokens
        packed([16], [8, 8], masked=3),
        # ends with a short row
        packed([16], [9]),
        packed([16], [16]),
        # new
        packed([1] * 16, [1] * 16, [1] * 16, [16]),
        # again: 50 sequences
        packed([1] * 16, [1] * 16, [1] * 16, [8, 8]),
    ):
        compiled(None, batch)
    assert seen == [64, 64, 64]


def test_room_for_sequences_grows_by_a_quarter_at_least(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, seen = counted(monkeypatch)
    for count in (2, 2, 4, 6, 4):
        compiled(None, packed(*([[1] * 16] * count), *([[16]] * (6 - count))))
    assert seen == [64, 128, 128, 128]


def test_no_more_shapes_than_a_batch_warm_up_has(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    compiled, seen = counted(monkeypatch)
    for masked in range(1, 9):
        for _ in range(2):
            compiled(None, packed([16], masked=masked))
    assert len(seen) == torch_compile._MAX_COMPILED_SHAPES
    assert capsys.readouterr().out.count("further ones run uncompiled") == 1


def test_evaluation_and_other_tasks_run_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    compiled, seen = counted(monkeypatch)
    with torch.no_grad():
        assert [compiled(None, packed([16])) for _ in range(3)] == ["result"] * 3
    tokens = packed([16]).tokens
    for _ in range(3):
        assert compiled(None, LabelledBatch(tokens, torch.zeros(1), torch.zeros(1))) == "result"
    assert seen == []


def test_a_compiler_that_fails_is_named_and_left(monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(forward: Any, **settings: Any) -> Any:
        def call(encoder: Any, batch: Any) -> Any:
            raise torch._dynamo.exc.TorchDynamoException("no compiler here\nand more")

        return call

    monkeypatch.setattr(torch, "compile", broken)
    lenient, strict = (
        CompiledForward(lambda encoder, batch: "result", strict=each) for each in (False, True)
    )
    lenient(None, packed([16])), strict(None, packed([16]))
    with pytest.warns(
        UserWarning, match="torch.compile failed.*trainer.compile=false.*no compiler here$"
    ):
        assert lenient(None, packed([16])) == "result"
    assert lenient(None, packed([16])) == "result"
    with pytest.raises(torch._dynamo.exc.TorchDynamoException):
        strict(None, packed([16]))


class Module(LightningModule):
    def __init__(self) -> None:
        super().__init__()
        self.encoder, self.objective = encoder(), MaskedLM()
        self.losses: list[float] = []

    def training_step(self, batch: MaskedBatch, batch_index: int) -> Tensor:
        loss: Tensor = self.objective.forward(self.encoder, batch).loss
        self.losses.append(float(loss.detach()))
        return loss

    def configure_optimizers(self) -> torch.optim.Optimizer:
        return torch.optim.SGD(self.parameters(), lr=0.1)


def trained(*callbacks: Callback) -> Module:
    batches = [packed([16], [10, 6]), packed([3, 13], [4, 4, 8]), packed([16], [16])]
    module = Module()
    trainer = Trainer(
        max_epochs=1,
        accelerator="cpu",
        logger=False,
        callbacks=list(callbacks),
        enable_progress_bar=False,
        enable_model_summary=False,
        enable_checkpointing=False,
    )
    trainer.fit(module, DataLoader(batches, batch_size=None))  # type: ignore[arg-type]
    return module


def test_training_is_the_same_with_and_without(monkeypatch: pytest.MonkeyPatch) -> None:
    plain = trained().losses
    monkeypatch.setattr(torch_compile, "find_compile_obstacle", lambda *_, **__: None)
    torch.manual_seed(1)
    compiled = trained(CompileCallback(backend="aot_eager"))
    assert compiled.losses == pytest.approx(plain)
    assert "forward" not in vars(compiled.objective)


def test_what_is_compiled_goes_into_a_checkpoint(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_compile, "find_compile_obstacle", lambda *_, **__: None)
    first = CompileCallback(backend="aot_eager")
    trained(first)
    state = first.state_dict()
    assert len(state["chosen"]) == 1 and state["sequences"] == 64
    assert list(state["met"].values()) == [3] and list(state["met"]) == state["chosen"]
    second = CompileCallback(backend="aot_eager")
    second.load_state_dict(state)
    trained(second)
    # it counted on
    assert second.state_dict()["met"] == {shape: 2 * count for shape, count in state["met"].items()}
    assert second.state_dict()["chosen"] == state["chosen"]


def test_where_steps_are_compiled(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch_compile, "find_spec", lambda name: name)
    assert find_compile_obstacle("cuda", "masked_lm", sharded=False) is None
    assert "this is regression" in str(find_compile_obstacle("cuda", "regression", sharded=False))
    assert "trainer.strategy=fsdp" in str(find_compile_obstacle("cuda", "masked_lm", sharded=True))
    monkeypatch.setattr(torch_compile, "find_spec", lambda name: None)
    assert "triton" in str(find_compile_obstacle("cuda", "masked_lm", sharded=False))
    with pytest.raises(
        UserError, match=r"trainer.compile=true, but .* runs on: cpu \(trainer.compile=null decides"
    ):
        trained(CompileCallback(True))
