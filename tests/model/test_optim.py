"""What decays, which layer learns how fast, and the way of the rate."""

import math

import pytest
import torch
from torch import nn

from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.encoder_config import Scratch
from src.model.model_config import ModelConfig
from src.model.objectives.classification import Classification
from src.model.optim import AdamW, build_lr_lambda

HERE = {"encoder": Scratch(layers=1, width=8, heads=2), "objective": Classification()}


def factors(total, **arguments):
    at = build_lr_lambda(AdamW(lr=1e-3, **arguments), total)
    return [at(step) for step in range(total + 1)]


def test_linear_up_and_down():
    """10 steps, 2 of warm-up: 1/2, 2/2, then 8/8 down to 1/8; a step after the last would be 0."""
    expected = [0.5, 1.0, 1.0, 7 / 8, 6 / 8, 5 / 8, 4 / 8, 3 / 8, 2 / 8, 1 / 8, 0.0]
    assert factors(10, warmup_fraction=0.2) == pytest.approx(expected)


def test_cosine_down():
    expected = [1.0, 0.5 * (1 + math.cos(math.pi / 4)), 0.5, 0.5 * (1 - math.cos(math.pi / 4)), 0.0]
    assert factors(4, warmup_fraction=0.0, schedule="cosine") == pytest.approx(expected)


def test_constant_after_the_warm_up():
    assert factors(5, warmup_fraction=0.6, schedule="constant") == pytest.approx(
        [1 / 3, 2 / 3, 1, 1, 1, 1]
    )


def test_level_until_the_decay():
    """10 steps, 2 of warm-up, the last 4 of decay: linear, then 1 - sqrt of the share so far."""
    arguments = {"warmup_fraction": 0.2, "schedule": "wsd", "decay_fraction": 0.4}
    level = [0.5, 1.0, 1.0, 1.0, 1.0, 1.0]
    linear = factors(10, decay_shape="linear", **arguments)
    assert linear == pytest.approx([*level, 1.0, 0.75, 0.5, 0.25, 0.0])
    sqrt = factors(10, decay_shape="sqrt", **arguments)
    assert sqrt == pytest.approx([*level, 1.0, 0.5, 1 - math.sqrt(0.5), 1 - math.sqrt(0.75), 0.0])


@pytest.mark.parametrize(("warmup", "decay"), [(0.0, 0.0), (0.5, 1.0), (1.0, 0.5), (0.9, 0.3)])
def test_warm_up_and_decay_share_the_run(warmup, decay):
    """Where both want more than there is, the decay is shortened, to one step at least."""
    every = factors(10, schedule="wsd", warmup_fraction=warmup, decay_fraction=decay)
    assert all(0 < factor <= 1 for factor in every[:-1])
    assert every[round(warmup * 10) - 1 if warmup else 0] == 1.0
    assert every[-1] == 0.0


@pytest.mark.parametrize("schedule", ["linear", "cosine", "constant"])
@pytest.mark.parametrize("total", [1, 2, 3, 100])
@pytest.mark.parametrize("warmup", [0.0, 0.06, 1.0])
def test_every_step_of_the_run_learns_something(schedule, total, warmup):
    every = factors(total, schedule=schedule, warmup_fraction=warmup)
    assert all(0 < factor <= 1 for factor in every[:-1])
    assert max(every) == 1.0 or schedule == "cosine"
    if schedule != "constant":
        assert every[-1] == 0.0
        assert warmup == 1.0 or every[-2] <= max(1 / total, 0.1) or total < 4


def test_norms_and_biases_do_not_decay(family, tiny):
    network = tiny(family)
    optimizer, _ = AdamW(lr=1e-3, weight_decay=0.1).build(
        network, depth=lambda name: 0, total_steps=10
    )
    decays = {
        weight: group["weight_decay"]
        for group in optimizer.param_groups
        for weight in group["params"]
    }
    assert decays.keys() == set(network.parameters())
    for name, parameter in network.named_parameters():
        expected = 0.0 if "bias" in name.split(".")[-1] or "norm" in name.lower() else 0.1
        assert decays[parameter] == expected, name
    assert set(decays.values()) == {0.0, 0.1}


def module_with(encoder, **arguments):
    module = ModelConfig(**HERE, optim=AdamW(**arguments)).build()
    module.encoder, module.total_steps = encoder, 10
    return module


# with layer_decay 1/2 and lr 1: the name of one parameter of each kind, and its rate
RATES = {
    "albert": {
        "network.albert.embeddings.word_embeddings.weight": 1 / 4,
        "network.albert.encoder.embedding_hidden_mapping_in.weight": 1 / 4,
        "network.albert.encoder.albert_layer_groups.0.albert_layers.0.ffn.weight": 1 / 2,
        "network.albert.pooler.weight": 1,
        "network.classifier.weight": 1,
    },
    "bert": {
        "network.bert.embeddings.word_embeddings.weight": 1 / 8,
        "network.bert.encoder.layer.0.attention.self.query.weight": 1 / 4,
        "network.bert.encoder.layer.1.output.dense.bias": 1 / 2,
        "network.bert.pooler.dense.weight": 1,
        "network.classifier.weight": 1,
    },
    "distilbert": {
        "network.distilbert.embeddings.position_embeddings.weight": 1 / 8,
        "network.distilbert.transformer.layer.0.ffn.lin1.weight": 1 / 4,
        "network.distilbert.transformer.layer.1.sa_layer_norm.weight": 1 / 2,
        "network.pre_classifier.weight": 1,
    },
    "modernbert": {
        "network.model.embeddings.tok_embeddings.weight": 1 / 32,
        "network.model.layers.0.attn.Wqkv.weight": 1 / 16,
        "network.model.layers.3.mlp.Wo.weight": 1 / 2,
        "network.model.final_norm.weight": 1 / 2,
        "network.head.dense.weight": 1,
        "network.classifier.bias": 1,
    },
}


@pytest.mark.parametrize("family", sorted(RATES))
def test_each_layer_learns_slower_than_the_one_above(family, tiny):
    encoder = Encoder(tiny(family, "sequence"), "sequence")
    module = module_with(encoder, lr=1.0, layer_decay=0.5, warmup_fraction=0.0)
    optimizer = module.configure_optimizers()["optimizer"]
    rates = {weight: group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    named = dict(encoder.named_parameters())
    assert {name: rates[named[name]] for name in RATES[family]} == RATES[family]
    assert len(rates) == len(named)


@pytest.mark.parametrize("family", sorted(RATES))
def test_the_head_may_have_a_rate_of_its_own(family, tiny):
    encoder = Encoder(tiny(family, "sequence"), "sequence")
    module = module_with(encoder, lr=1.0, head_lr=3.0, layer_decay=0.5, warmup_fraction=0.0)
    optimizer = module.configure_optimizers()["optimizer"]
    rates = {weight: group["lr"] for group in optimizer.param_groups for weight in group["params"]}
    named = dict(encoder.named_parameters())
    expected = {name: 3.0 if rate == 1 else rate for name, rate in RATES[family].items()}
    assert {name: rates[named[name]] for name in RATES[family]} == expected


def test_tied_weights_learn_as_embeddings(family, tiny):
    """XLM-R and CamemBERT hold the head before the body, so their word embeddings are first met as
    the decoder's.
    """
    encoder = Encoder(tiny(family), "masked_lm")
    optimizer = module_with(
        encoder, lr=1.0, layer_decay=0.5, warmup_fraction=0.0
    ).configure_optimizers()["optimizer"]
    words = encoder.network.get_input_embeddings().weight
    rate = next(
        group["lr"]
        for group in optimizer.param_groups
        if any(weight is words for weight in group["params"])
    )
    assert rate == 0.5 ** (len(encoder.get_layers()) + 1)


def test_frozen_parameters_are_not_in_the_optimizer(tiny):
    encoder = Encoder(tiny("bert", "sequence"), "sequence")
    encoder.freeze_modules(1)
    optimizer = module_with(encoder, lr=1e-3).configure_optimizers()["optimizer"]
    inside = {weight for group in optimizer.param_groups for weight in group["params"]}
    assert inside == {weight for weight in encoder.parameters() if weight.requires_grad}
    assert len(inside) < len(list(encoder.parameters()))


def test_one_step_moves_every_parameter(family, tiny, laid):
    encoder = Encoder(tiny(family, "sequence"), "sequence").train()
    before = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    optimizer, schedule = AdamW(lr=0.01).build(encoder, depth=lambda name: 0, total_steps=1000)
    tokens = laid([30, 25, 28, 40], pairs=True)
    logits = encoder.compute_sequence_logits(encoder.encode(tokens, at="first"))
    nn.functional.cross_entropy(logits, torch.tensor([0, 1, 2, 0])).backward()
    optimizer.step()
    schedule.step()
    still = {
        name for name, weight in encoder.named_parameters() if torch.equal(before[name], weight)
    }
    assert still == set()


def test_frozen_parameters_decay_neither(tiny):
    encoder = Encoder(tiny("bert", "sequence"), "sequence")
    encoder.freeze_modules("embeddings")
    words = encoder.network.get_input_embeddings().weight
    before = words.clone()
    optimizer, _ = AdamW(lr=0.1, weight_decay=0.5).build(
        encoder, depth=lambda name: 0, total_steps=2
    )
    optimizer.step()
    assert torch.equal(words, before)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lr": 0}, "AdamW.lr: expected a number above 0 and at most 1, found 0"),
        (
            {"lr": 1e-3, "beta2": 1.0},
            "AdamW.beta2: expected a number at least 0 and below 1, found 1.0",
        ),
        ({"lr": 1e-3, "schedule": "cosin"}, "did you mean 'cosine'"),
        (
            {"lr": 1e-3, "decay_shape": "cubic"},
            "AdamW.decay_shape: expected one of linear, sqrt, found 'cubic'",
        ),
    ],
)
def test_what_an_optimizer_refuses(arguments, message):
    with pytest.raises(UserError) as caught:
        AdamW(**arguments)
    assert message in str(caught.value)
