"""Denoising: its loss beside that of transformers, its metrics by hand, and what is saved."""

import math
from pathlib import Path
from typing import Any

import pytest
import torch
from lightning import Trainer
from torch.nn.functional import cross_entropy
from torch.testing import assert_close
from transformers import (
    AutoConfig,
    AutoModelForSeq2SeqLM,
    BartForConditionalGeneration,
    PreTrainedModel,
    T5ForConditionalGeneration,
)

from src.core.batch import DenoisingBatch
from src.core.user_errors import UserError, UserErrors
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from src.model.encoder_families import DECODER_FAMILIES
from src.model.model_config import ModelConfig
from src.model.module import EncoderModule
from src.model.objectives.denoising import Denoising
from src.model.optim import AdamW
from src.model.regularization import Regularization

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*does not have many workers",
        "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    )
]
END = 2
OWN = ("bart", "t5")
SIZES: dict[str, Any] = {
    f"{side}_{name}": size
    for side in ("encoder", "decoder")
    for name, size in (("layers", 2), ("attention_heads", 2), ("ffn_dim", 32))
} | {
    "d_model": 16,
    "num_layers": 2,
    "num_heads": 2,
    "d_kv": 8,
    "d_ff": 32,
    "attention_window": 8,
    "max_position_embeddings": 40,
    "max_encoder_position_embeddings": 40,
    "max_decoder_position_embeddings": 40,
}


def _network(family: str) -> PreTrainedModel:
    ids = {"pad_token_id": 0, "eos_token_id": END, "decoder_start_token_id": END, "bos_token_id": 1}
    config = AutoConfig.for_model(family, vocab_size=60, **SIZES, **ids)
    network: PreTrainedModel = AutoModelForSeq2SeqLM.from_config(config)
    for parameter in network.parameters():
        parameter.data += 0.2 * torch.randn_like(parameter)
    return network.eval()


def _scratch(family: Any, **changes: Any) -> Scratch:
    sizes: dict[str, Any] = {"layers": 2, "width": 16, "heads": 2, "max_tokens": 40}
    return Scratch(family=family, **(sizes | changes))


@pytest.fixture
def batch(laid) -> DenoisingBatch:
    """Three texts of other lengths than what is to be written for them."""
    targets = laid([5, 12, 4])
    targets.ids[targets.cu_seqlens[1:].long() - 1] = END
    return DenoisingBatch(laid([9, 20, 4]), targets, torch.arange(21) % 3 == 0, 21)


def _pad(tokens, fill: int) -> torch.Tensor:
    rows = tokens.ids.split(tokens.cu_seqlens.diff().tolist())
    return torch.nn.utils.rnn.pad_sequence(list(rows), batch_first=True, padding_value=fill)


def _run_transformers(network: PreTrainedModel, batch: DenoisingBatch) -> Any:
    padded = _pad(batch.tokens._replace(ids=torch.ones_like(batch.tokens.ids)), 0)
    return network(
        input_ids=_pad(batch.tokens, 0),
        attention_mask=padded,
        labels=_pad(batch.target_tokens, -100),
    )


@pytest.mark.filterwarnings("ignore:.*automatically padded")
@pytest.mark.parametrize("family", DECODER_FAMILIES)
def test_loss_and_gradient_are_those_of_transformers(family, batch, twin) -> None:
    network = _network(family)
    plain, encoder = twin(network), Encoder(network, "denoising")
    expected = _run_transformers(plain, batch).loss
    expected.backward()
    # without dropout, but as in training
    encoder.training = True
    found = Denoising().forward(encoder, batch)
    found.loss.backward()
    assert found.num_targets == 21
    assert_close(found.loss, expected)
    for (name, weight), other in zip(
        encoder.network.named_parameters(), plain.parameters(), strict=True
    ):
        if other.grad is not None:
            assert_close(weight.grad, other.grad, atol=1e-5, rtol=1e-3, msg=name)
    encoder.training = False
    evaluated = Denoising().forward(encoder, batch)
    assert_close(evaluated.loss, expected)
    # each text as by itself
    sources = batch.tokens.ids.split(batch.tokens.cu_seqlens.diff().tolist())
    targets = batch.target_tokens.ids.split(batch.target_tokens.cu_seqlens.diff().tolist())
    with torch.no_grad():
        alone = torch.cat(
            [
                plain(input_ids=source[None], labels=target[None]).logits[0]
                for source, target in zip(sources, targets, strict=True)
            ]
        )
    assert_close(evaluated.outputs[:, 0].long(), alone.argmax(-1))
    losses = cross_entropy(alone, batch.target_tokens.ids, reduction="none")
    assert_close(evaluated.outputs[:, 1], losses, atol=1e-4, rtol=1e-4)


def test_metrics_by_hand(facts) -> None:
    """Four tokens, of which the text lacks two: one of these is right, with a loss of ln 2, the
    other wrong, with ln 8. Then a batch in which it lacks none.
    """
    logs = [math.log(size) for size in (2, 4, 8, 2)]
    outputs = torch.tensor([[7, 8, 9, 5], logs, [1, 0, 1, 0]]).T
    values = {}
    for name, metric in Denoising().build_metrics(60).items():
        metric.update(outputs, torch.tensor([7, 8, 3, 6]))
        metric.update(torch.tensor([[5.0, 0.5, 0.0]]), torch.tensor([5]))
        values[name] = metric.compute().item()
    expected = {"accuracy": 3 / 5, "missing_loss": 2 * math.log(2), "missing_accuracy": 1 / 2}
    assert values == pytest.approx(expected)
    derived = Denoising().derive_metrics(values | {"loss": 1.0}, facts(unigram_entropy=3.0))
    assert derived == pytest.approx({"perplexity": 4.0, "unigram_entropy": 3.0})
    assert {"loss", *values, "perplexity"} == set(Denoising.metric_names)


@pytest.mark.parametrize("family", OWN)
def test_a_batch_without_targets_has_no_loss_and_no_gradient(family, batch, facts) -> None:
    encoder = _scratch(family).build("denoising", facts(end_id=END), (), task="denoising")
    for mode in (True, False):
        found = Denoising().forward(encoder.train(mode), batch._replace(num_targets=0))
        found.loss.backward()
        assert (found.loss.item(), found.num_targets, len(found.targets)) == (0.0, 0, 0)
    assert all(weight.grad is None or not weight.grad.any() for weight in encoder.parameters())


@pytest.mark.parametrize("family", OWN)
def test_a_fresh_one_is_trained_whole_and_saved(family, batch, facts, tmp_path: Path) -> None:
    module = ModelConfig(
        encoder=_scratch(family), objective=Denoising(), optim=AdamW(lr=1e-2, warmup_fraction=0.0)
    ).build()
    module.set_dataset_info(facts(end_id=END), 4)
    module.configure_model()
    encoder = module.encoder.train()
    before = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    optimizer = module.configure_optimizers()["optimizer"]
    learnt = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert {*map(id, learnt)} == {*map(id, encoder.parameters())}
    for _ in range(2):
        module.objective.forward(encoder, batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    # attention ignores a constant that is added to all keys
    same = [
        name for name, weight in encoder.named_parameters() if torch.equal(weight, before[name])
    ]
    assert [name for name in same if not name.endswith("k_proj.bias")] == []
    encoder.eval().save_pretrained(tmp_path)
    network = AutoModelForSeq2SeqLM.from_pretrained(tmp_path).eval()
    assert type(network) in (BartForConditionalGeneration, T5ForConditionalGeneration)
    start = {"bart": END, "t5": 0}[family]
    config = network.config
    assert (config.eos_token_id, config.decoder_start_token_id, config.pad_token_id) == (
        END,
        start,
        0,
    )
    # the output layer is the embeddings, also where it is opened
    assert network.get_output_embeddings().weight is network.get_input_embeddings().weight
    with torch.no_grad():
        found = module.objective.forward(encoder, batch)
        assert_close(found.loss, _run_transformers(network, batch).loss)
        text = batch.tokens.ids[None, :9]
        written = network.generate(text, max_new_tokens=4, num_beams=1, do_sample=False)
        assert written[0, 0] == start


@pytest.mark.parametrize("family", OWN)
def test_a_folder_goes_on_and_its_body_is_fine_tuned(family, batch, facts, tmp_path: Path) -> None:
    known = facts(end_id=END)
    first = _scratch(family).build("denoising", known, (), task="denoising").eval()
    first.save_pretrained(tmp_path / "denoised")
    again = Pretrained(name_or_path=str(tmp_path / "denoised"))
    again.check("denoising")
    encoder = again.build("denoising", known, (), task="denoising").eval()
    assert encoder.loaded_weights.fresh == ()
    losses = [Denoising().forward(one, batch).loss for one in (first, encoder)]
    assert_close(*losses)
    # a classifier has the whole body, the decoder too, and a fresh head
    again.check("sequence")
    names = ("no", "yes")
    judge = again.build("sequence", facts(label_names=names, end_id=END), names)
    assert {name.partition(".")[0] for name in judge.loaded_weights.fresh} == {
        "classification_head"
    }
    own = {weight.data_ptr() for weight in judge.network.base_model.parameters()}
    assert len(own) == len([*first.network.parameters()])
    assert_close(
        judge.network.base_model.shared.weight, first.network.get_input_embeddings().weight
    )
    # and back: the classifier's body goes on with denoising
    judge.save_pretrained(tmp_path / "judge")
    back = Pretrained(name_or_path=str(tmp_path / "judge")).build(
        "denoising", known, (), task="denoising"
    )
    assert back.loaded_weights.fresh == ()
    assert_close(Denoising().forward(back.eval(), batch).loss, losses[0])


@pytest.mark.parametrize("family", OWN)
def test_layers_have_depths_and_weights_are_kept_near_the_pretrained(
    family, facts, tmp_path: Path
) -> None:
    _scratch(family).build("denoising", facts(end_id=END), (), task="denoising").save_pretrained(
        tmp_path
    )
    module = ModelConfig(
        encoder=Pretrained(name_or_path=str(tmp_path)),
        objective=Denoising(),
        optim=AdamW(lr=1e-3, layer_decay=0.5),
        regularization=Regularization(l2_sp=0.1),
    ).build()
    module.set_dataset_info(facts(end_id=END), 2)
    module.configure_model()
    encoder = module.encoder
    depths = {encoder.count_layers_above(name) for name, _ in encoder.named_parameters()}
    # four layers, and norms above them at most
    assert {2, 3, 4, 5} <= depths <= {1, 2, 3, 4, 5}
    assert len(module._regularizer._origins) == len([*encoder.parameters()])


@pytest.mark.parametrize("family", OWN)
def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(
    family, facts, batch, tmp_path: Path
) -> None:
    def run(steps: int, **arguments: str) -> EncoderModule:
        built = ModelConfig(
            encoder=_scratch(family, dropout=0.1), objective=Denoising(), optim=AdamW(lr=1e-2)
        ).build()
        built.set_dataset_info(facts(end_id=END), 4)
        torch.manual_seed(3)
        trainer = Trainer(
            max_steps=steps,
            accelerator="cpu",
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
            enable_model_summary=False,
            log_every_n_steps=1,
            num_sanity_val_steps=0,
        )
        # what is dropped in a step hangs on the step alone
        built.on_train_batch_start = lambda *_: torch.manual_seed(built.global_step)
        batches = torch.utils.data.DataLoader([batch] * 2, batch_size=None)
        trainer.fit(built, batches, batches, weights_only=False, **arguments)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        assert {f"val/{name}" for name in Denoising.metric_names} <= {*trainer.callback_metrics}
        return built

    whole = run(4)
    run(2)
    resumed = run(4, ckpt_path=str(tmp_path / "2.ckpt"))
    weights = whole.state_dict()
    assert all(torch.equal(weight, weights[name]) for name, weight in resumed.state_dict().items())


def test_what_does_not_work_is_refused(facts, tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"no decoder, which is to write.*expected bart or t5"):
        Scratch(layers=1, width=8, heads=1).check("denoising")
    with pytest.raises(UserError, match=r"has a decoder, which is for denoising alone: expected b"):
        _scratch("t5").check("masked_lm")
    _scratch("bart").check("denoising")
    tiny("bert").save_pretrained(tmp_path)
    for attempt in (
        lambda: Pretrained(name_or_path=str(tmp_path)).check("denoising"),
        lambda: Encoder(tiny("bert"), "denoising"),
    ):
        with pytest.raises(UserError, match=r"'bert' has no decoder here that.*bart.*t5 or umt5"):
            attempt()
    network = _network("t5")
    network.config.decoder_start_token_id = None
    with pytest.raises(UserError, match="names no decoder_start_token_id"):
        Encoder(network, "denoising")
    for changes, says in (
        ({"freeze": "encoder"}, "nothing would be left to train"),
        ({"regularization": Regularization(adversarial=1.0)}, "are not changed adversarially"),
    ):
        settings: dict[str, Any] = {"encoder": _scratch("bart"), "objective": Denoising()}
        with pytest.raises(UserErrors, match=says):
            ModelConfig(**settings, optim=AdamW(lr=1e-3), **changes)
    with pytest.raises(UserError, match=r"sequences of 40 tokens.*longer than the encoder's 20"):
        _scratch("bart", max_tokens=20).build("denoising", facts(end_id=END), (), task="denoising")


def test_weights_that_are_missing_are_told(facts, tmp_path: Path) -> None:
    """A folder with T5's encoder alone is no pretrained decoder."""
    network = _network("t5")
    kept = {
        name: w for name, w in network.state_dict().items() if not name.startswith("decoder.bl")
    }
    network.save_pretrained(tmp_path, state_dict=kept)
    with pytest.raises(UserError, match="do not fill its own config.json"):
        Pretrained(name_or_path=str(tmp_path)).build(
            "denoising", facts(end_id=END), (), task="denoising"
        )
