"""Replaced-token detection: its loss by hand, what is trained, and what is saved."""

import math
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from torch import Tensor
from transformers import AutoModelForPreTraining, ElectraForPreTraining

from src.core.batch import MaskedBatch
from src.core.user_errors import UserError, UserErrors
from src.model.adapter_config import Lora
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from src.model.model_config import ModelConfig
from src.model.module import EncoderModule
from src.model.objectives.replaced_token_detection import (
    ReplacedTokenDetection,
    choose_tokens,
    draw_by_place,
)
from src.model.optim import AdamW

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*does not have many workers",
        "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    )
]
ELECTRA = Scratch(family="electra", layers=2, width=16, heads=4, max_tokens=40)
LN2 = math.log(2)


@pytest.fixture
def module(facts) -> EncoderModule:
    built = ModelConfig(
        encoder=ELECTRA,
        objective=ReplacedTokenDetection(),
        optim=AdamW(lr=1e-2, warmup_fraction=0.0),
    ).build()
    built.set_dataset_info(facts(), 4)
    built.configure_model()
    return built


@pytest.fixture
def batch(laid) -> MaskedBatch:
    tokens = laid([9, 20, 4])
    at = torch.tensor([1, 5, 10, 11, 30])
    return MaskedBatch(tokens._replace(ids=tokens.ids.index_fill(0, at, 4)), at, tokens.ids[at])


def _give(encoder: Encoder, generator_scores: Tensor, logits: Tensor) -> list[Tensor]:
    """Have both networks answer so; what the encoder is given to judge is put in the list."""
    judged: list[Tensor] = []

    def judge(tokens, at=None):
        judged.append(tokens.ids)
        return logits

    encoder.compute_logits = judge
    encoder.generator.compute_logits = lambda tokens, at=None: generator_scores
    return judged


def test_the_loss_by_hand(module, batch) -> None:
    """The generator is sure of token 7 at five places, which is right at two: three tokens are
    replaced. The encoder says so of one of these, and of one that is original.
    """
    right = batch._replace(targets=torch.tensor([7, 8, 9, 7, 10]))
    scores = torch.zeros(5, 60)
    scores[:, 7] = 100.0
    logits = torch.zeros(33)
    logits[5], logits[1] = math.log(3), math.log(3)
    judged = _give(module.encoder.train(), scores, logits)
    found = module.objective.forward(module.encoder, right)
    # the tokens between are as they were, and all of them are judged
    assert torch.equal(judged[0], batch.tokens.ids.index_fill(0, batch.masked_positions, 7))
    assert found.targets.nonzero().flatten().tolist() == [5, 10, 30]
    assert found.num_targets == 5
    # sigmoid(ln 3) is 3/4: right about one, wrong about the other
    judging = (31 * LN2 - math.log(3 / 4) - math.log(1 / 4)) / 33
    assert found.loss.item() == pytest.approx(3 * 100 / 5 + 50 * judging, rel=1e-5)
    values = {}
    for name, metric in module.objective.build_metrics(60).items():
        metric.update(found.outputs, found.targets)
        values[name] = metric.compute().item()
    # a logit of 0 is no decision for a replacement: right are 1 and the 29 others that are original
    assert found.outputs.max().item() == pytest.approx(3 / 4)
    expected = {"replaced_accuracy": 30 / 33, "replaced_f1": 2 / 5, "replaced_fraction": 3 / 33}
    assert values == pytest.approx(expected)


def test_guesses_are_as_frequent_as_they_are_likely() -> None:
    likely = torch.tensor([[0.5, 0.25, 0.0, 0.25]])
    places = torch.arange(8) * 2**27
    assert choose_tokens(likely.expand(8, 4), places).tolist() == [0, 0, 0, 0, 1, 1, 3, 3]
    drawn = choose_tokens(likely.expand(40_000, 4), torch.randint(2**62, (40_000,)))
    assert torch.allclose(drawn.bincount(minlength=4) / 40_000, likely[0], atol=0.01)
    # not a number: any token of the vocabulary, and no error
    assert choose_tokens(torch.full((1, 4), math.nan), torch.tensor([5])).item() < 4


def test_a_held_out_text_is_judged_alike_whoever_is_beside_it(laid) -> None:
    tokens, other = laid([9, 20, 4]), laid([7])
    at = torch.tensor([1, 10, 30])
    draws = draw_by_place(tokens, at, tokens.ids[at])
    beside = tokens._replace(
        ids=torch.cat([other.ids, tokens.ids]),
        positions=torch.cat([other.positions, tokens.positions]),
        cu_seqlens=torch.tensor([0, 7, 16, 36, 40], dtype=torch.int32),
    )
    assert torch.equal(draw_by_place(beside, at + 7, tokens.ids[at]), draws)
    # evenly spread, from 0 to 2**62
    many = laid([36] * 200)
    every = torch.arange(len(many.ids))
    spread = draw_by_place(many, every, many.ids) / 2**62
    assert torch.allclose(torch.histc(spread, 4, 0, 1) / len(every), torch.tensor(0.25), atol=0.02)
    assert len(spread.unique()) > 0.99 * len(every)


def test_the_same_texts_have_the_same_loss_in_evaluation_alone(module, batch) -> None:
    encoder = module.encoder.eval()
    once, again = (module.objective.forward(encoder, batch).loss for _ in range(2))
    assert torch.equal(once, again)
    # one chance in 60 that a guess is another's, five times
    losses = {module.objective.forward(encoder.train(), batch).loss.item() for _ in range(5)}
    assert len(losses) == 5


def test_what_is_trained(module, batch) -> None:
    encoder, generator = module.encoder.train(), module.encoder.generator
    config = generator.config
    assert (config.hidden_size, config.num_attention_heads, config.intermediate_size) == (4, 1, 16)
    body = encoder.network.base_model
    assert generator.network.base_model.embeddings is body.embeddings
    words = body.embeddings.word_embeddings.weight
    assert generator.network.get_output_embeddings().weight is words
    optimizer = module.configure_optimizers()["optimizer"]
    learnt = [weight for group in optimizer.param_groups for weight in group["params"]]
    assert {*map(id, learnt)} == {*map(id, encoder.parameters())}
    assert len(learnt) == len(set(map(id, learnt)))
    before = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    for _ in range(2):
        module.objective.forward(encoder, batch).loss.backward()
        optimizer.step()
        optimizer.zero_grad()
    # attention ignores a constant that is added to all keys
    same = [
        name for name, weight in encoder.named_parameters() if torch.equal(weight, before[name])
    ]
    assert [name for name in same if not name.endswith("key.bias")] == []
    # the shared embeddings count once, as those of the encoder
    tags = encoder.describe_loading().tags
    saved = sum(weight.numel() for weight in encoder.network.parameters())
    assert int(tags["model/parameters"]) == saved
    trained = sum(weight.numel() for weight in encoder.parameters())
    assert int(tags["model/generator_parameters"]) == trained - saved


def test_guesses_have_no_gradient_for_the_generator(module, batch) -> None:
    encoder = module.encoder.train()
    encoder.generator.compute_logits = lambda tokens, at=None: torch.zeros(5, 60)
    module.objective.forward(encoder, batch).loss.backward()
    layers = encoder.generator.network.base_model.encoder
    assert all(weight.grad is None for weight in layers.parameters())


def test_a_batch_without_targets_has_no_loss_and_no_gradient(module, batch) -> None:
    empty = batch._replace(masked_positions=batch.masked_positions[:0], targets=batch.targets[:0])
    for encoder in (module.encoder.train(), module.encoder.eval()):
        found = module.objective.forward(encoder, empty)
        found.loss.backward()
        assert (found.loss.item(), found.num_targets, len(found.targets)) == (0.0, 0, 0)
    assert all(weight.grad is None or not weight.grad.any() for weight in encoder.parameters())


def test_the_saved_folder_is_the_discriminator(module, batch, padded, tmp_path: Path) -> None:
    encoder = module.encoder.eval()
    encoder.save_pretrained(tmp_path)
    network = AutoModelForPreTraining.from_pretrained(tmp_path).eval()
    assert type(network) is ElectraForPreTraining
    inputs = padded(network, batch.tokens)
    with torch.no_grad():
        expected = network(**inputs).logits[inputs["attention_mask"].bool()]
        assert torch.allclose(encoder.compute_logits(batch.tokens), expected, atol=1e-5)
    assert not any("generator" in name for name in network.state_dict())


def test_a_folder_goes_on_and_one_without_a_discriminator_begins_it(
    module, facts, tiny, tmp_path: Path
) -> None:
    module.encoder.save_pretrained(tmp_path / "own")
    Encoder(tiny("electra"), "masked_lm").save_pretrained(tmp_path / "masks")
    fresh = {}
    for name in ("own", "masks"):
        config = Pretrained(name_or_path=str(tmp_path / name))
        config.check("replaced_tokens")
        encoder = config.build("replaced_tokens", facts(), (), task="masked_lm")
        fresh[name] = {weight.partition(".")[0] for weight in encoder.loaded_weights.fresh}
    assert fresh == {"own": set(), "masks": {"discriminator_predictions"}}
    with pytest.raises(UserError, match="to keep or to renew"):
        Pretrained(name_or_path=str(tmp_path / "own"), head="fresh").check("replaced_tokens")


def test_training_goes_on_from_a_checkpoint_as_if_it_had_not_stopped(
    facts, batch, tmp_path: Path
) -> None:
    def run(steps: int, **arguments: str) -> EncoderModule:
        built = ModelConfig(
            encoder=ELECTRA, objective=ReplacedTokenDetection(), optim=AdamW(lr=1e-2)
        ).build()
        built.set_dataset_info(facts(), 4)
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
        # what is drawn in a step hangs on the step alone
        built.on_train_batch_start = lambda *_: torch.manual_seed(built.global_step)
        batches = torch.utils.data.DataLoader([batch] * 2, batch_size=None)
        trainer.fit(built, batches, batches, weights_only=False, **arguments)
        trainer.save_checkpoint(tmp_path / f"{steps}.ckpt")
        return built

    whole = run(4)
    run(2)
    resumed = run(4, ckpt_path=str(tmp_path / "2.ckpt"))
    weights = whole.state_dict()
    assert any(name.startswith("encoder.generator.network.generator_lm") for name in weights)
    assert all(torch.equal(weight, weights[name]) for name, weight in resumed.state_dict().items())


def test_what_does_not_work_is_refused(facts, tiny, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"model.encoder.family=bert.*tells replaced.*electra"):
        Scratch(layers=1, width=8, heads=1).check("replaced_tokens")
    Encoder(tiny("bert"), "masked_lm").save_pretrained(tmp_path)
    for attempt in (
        lambda: Pretrained(name_or_path=str(tmp_path)).check("replaced_tokens"),
        lambda: Encoder(tiny("bert"), "replaced_tokens"),
    ):
        with pytest.raises(UserError, match="has no AutoDiscriminator for it; expected electra"):
            attempt()
    with pytest.raises(UserErrors, match="an adapter leaves the embeddings frozen"):
        ModelConfig(
            encoder=Pretrained(name_or_path="here"),
            objective=ReplacedTokenDetection(),
            optim=AdamW(lr=1e-3),
            adapter=Lora(),
        )
    with pytest.raises(UserError, match="no mask token"):
        ReplacedTokenDetection().check_dataset(facts(mask_id=None))
