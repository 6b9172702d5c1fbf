"""Penalties and noise in training, by their definitions."""

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from torch.testing import assert_close
from torch.utils.data import DataLoader

from src.core.batch import LabelledBatch
from src.core.user_errors import UserErrors
from src.model.adapter_config import Lora
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from src.model.model_config import ModelConfig
from src.model.objectives.classification import Classification
from src.model.objectives.masked_lm import MaskedLM
from src.model.optim import AdamW
from src.model.regularization import Regularization, _replaced_weights

OBJECTIVE = Classification()


@pytest.fixture
def batch(laid):
    return LabelledBatch(laid([9, 3, 12, 4]), torch.tensor([0, 1, 2, 1]), torch.arange(4))


def encoder_of(network):
    # without dropout
    return Encoder(network, "sequence").eval()


def matrices(encoder):
    return [weight for weight in encoder.parameters() if weight.ndim > 1]


@pytest.mark.parametrize(
    ("settings", "penalty"),
    [
        ({"l1": 0.5}, lambda weight: 0.5 * weight.abs().sum()),
        ({"l2": 0.5}, lambda weight: 0.25 * weight.square().sum()),
    ],
    ids=["l1", "l2"],
)
def test_a_penalty_is_added_to_what_is_trained_and_not_to_what_is_logged(
    settings, penalty, tiny, batch
):
    encoder = encoder_of(tiny("bert", "sequence"))
    result, trained = Regularization(**settings).build(encoder).compute(OBJECTIVE, encoder, batch)
    plain = OBJECTIVE.forward(encoder, batch).loss
    assert_close(result.loss, plain)
    assert_close(trained, plain + sum(map(penalty, matrices(encoder))))


def test_l2_sp_is_half_the_squared_distance_from_the_pretrained_body(tiny, batch):
    encoder = encoder_of(tiny("bert", "sequence"))
    regularizer = Regularization(l2_sp=0.1).build(encoder)
    assert_close(
        *[
            part.loss if hasattr(part, "loss") else part
            for part in regularizer.compute(OBJECTIVE, encoder, batch)
        ]
    )
    body = dict(encoder.network.bert.named_parameters())
    with torch.no_grad():
        # three entries by 2, and the head by anything, which has no pretrained value
        body["encoder.layer.1.output.dense.weight"][0, :3] += 2.0
        encoder.network.classifier.weight += 5.0
    result, trained = regularizer.compute(OBJECTIVE, encoder, batch)
    assert_close(trained - result.loss, torch.tensor(0.1 / 2 * 3 * 2.0**2))
    trained.backward()
    without = encoder_of(encoder.network)
    gradient = body["encoder.layer.1.output.dense.weight"].grad.clone()
    encoder.zero_grad()
    OBJECTIVE.forward(without, batch).loss.backward()
    difference = gradient - body["encoder.layer.1.output.dense.weight"].grad
    assert_close(difference[0, :3], torch.full((3,), 0.1 * 2.0))


def test_mixout_puts_entries_back_and_keeps_the_mean(family, tiny, batch):
    encoder = encoder_of(tiny(family, "sequence"))
    regularizer = Regularization(mixout=0.75).build(encoder)
    assert_close(
        regularizer.compute(OBJECTIVE, encoder, batch)[0].loss,
        OBJECTIVE.forward(encoder, batch).loss,
        # nothing has moved from its pretrained value
        msg=lambda text: f"{family}: {text}",
    )
    layer = regularizer._mixed_layers[0]
    origin = layer.weight.detach().clone()
    with torch.no_grad():
        layer.weight += 1.0
    mixed = torch.stack([regularizer._mix_weights()[layer].detach() for _ in range(200)])
    moved = (mixed - origin).unique()
    # put back, or moved by 1 / (1 - 0.75)
    assert_close(moved[[0, -1]], torch.tensor([0.0, 4.0]), atol=1e-5, rtol=0)
    assert abs((mixed - origin).mean() - 1.0) < 0.05
    result, trained = regularizer.compute(OBJECTIVE, encoder, batch)
    assert (result.loss - OBJECTIVE.forward(encoder, batch).loss).abs() > 1e-6
    trained.backward()
    # a quarter of the entries is not put back, and no other has a gradient
    share = (layer.weight.grad != 0).float().mean()
    assert 0.1 < share < 0.4
    assert layer.weight is dict(layer.named_parameters())["weight"]


@pytest.mark.parametrize("lean", [True, False])
def test_an_adversarial_batch_is_learnt_at_embeddings_moved_up_the_gradient(lean, tiny, batch):
    encoder = encoder_of(tiny("bert", "sequence"))
    encoder.uses_fast_path = lean
    result, trained = (
        Regularization(adversarial=0.5).build(encoder).compute(OBJECTIVE, encoder, batch)
    )
    words = encoder.network.get_input_embeddings()
    plain = OBJECTIVE.forward(encoder, batch).loss
    (gradient,) = torch.autograd.grad(plain, words.weight)
    step = 0.5 * gradient / gradient.norm()
    with torch.no_grad():
        words.weight += step
        attacked = OBJECTIVE.forward(encoder, batch).loss
        words.weight -= step
    assert attacked > plain and result.loss == plain
    assert_close(trained, plain + attacked)
    trained.backward()
    assert all(
        weight.grad is not None
        for name, weight in encoder.named_parameters()
        if "position" not in name
    )


def test_an_adversarial_batch_also_goes_with_frozen_embeddings(tiny, batch):
    encoder = encoder_of(tiny("bert", "sequence"))
    encoder.freeze_modules("embeddings")
    result, trained = (
        Regularization(adversarial=0.5).build(encoder).compute(OBJECTIVE, encoder, batch)
    )
    assert trained > 2 * result.loss
    trained.backward()


def test_weights_are_put_back_after_an_error(tiny):
    layer = torch.nn.Linear(2, 2)
    own = layer.weight
    with pytest.raises(RuntimeError), _replaced_weights({layer: torch.zeros(2, 2)}):
        assert layer(torch.ones(2)).equal(layer.bias)
        raise RuntimeError
    assert layer.weight is own


@pytest.mark.filterwarnings("ignore:.*does not have many workers")
@pytest.mark.filterwarnings("ignore:.*smaller than the logging interval")
@pytest.mark.filterwarnings("ignore:`isinstance\\(treespec, LeafSpec\\)` is deprecated")
def test_a_training_has_all_of_them_and_logs_the_loss_of_the_objective(
    tiny, facts, batch, tmp_path
):
    """Over steps of two batches, whose penalties count as often as their targets."""
    encoder = Encoder(tiny("bert", "sequence", hidden_dropout_prob=0.0), "sequence")
    encoder.save_pretrained(tmp_path / "base")
    everything = Regularization(l1=1e-4, l2=1e-4, l2_sp=0.1, mixout=0.5, adversarial=0.5)
    module = config(
        encoder=Pretrained(name_or_path=str(tmp_path / "base"), dropout=0.0),
        regularization=everything,
    ).build()
    module.set_dataset_info(facts(label_names=("a", "b", "c")), 2)
    logged = []

    class Watch(Callback):
        def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_index):
            logged.append((float(outputs["loss"]), float(outputs["mean_loss"])))

    quiet = ("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger")
    Trainer(
        accelerator="cpu",
        devices=1,
        max_epochs=2,
        num_sanity_val_steps=0,
        accumulate_grad_batches=2,
        callbacks=[Watch()],
        default_root_dir=tmp_path,
        **dict.fromkeys(quiet, False),
    ).fit(module, *(DataLoader([batch] * count, batch_size=None) for count in (2, 1)))
    assert module.global_step == 2 and len(logged) == 4
    # the sum of four targets, with the attack and the penalties, against the mean of the objective;
    # Lightning divides by the batches of a step
    assert all(trained * 2 > 4 * 1.9 * mean for trained, mean in logged)


def config(**changes):
    settings = {
        "encoder": Pretrained(name_or_path="folder"),
        "objective": OBJECTIVE,
        "optim": AdamW(lr=1e-4),
    }
    return ModelConfig(**{**settings, **changes})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"encoder": Scratch(layers=1, width=8, heads=1), "l2_sp": 0.1},
            "model.regularization.l2_sp: there are no pretrained weights to keep near to; "
            "model.regularization.l2_sp=null fits",
        ),
        (
            {"adapter": Lora(), "mixout": 0.1},
            "model.regularization.mixout: beside an adapter the body stays as it is; "
            "model.regularization.mixout=null fits",
        ),
        (
            {"freeze": "encoder", "l2_sp": 0.1},
            "model.regularization.l2_sp: a frozen body stays as it is; "
            "model.regularization.l2_sp=null fits",
        ),
        (
            {"gradient_checkpointing": True, "mixout": 0.1},
            "model.regularization.mixout: with model.gradient_checkpointing=true layers are "
            "computed twice, and other entries would be put back the second time; "
            "model.gradient_checkpointing=false fits",
        ),
        (
            {"objective": MaskedLM(), "adversarial": 1.0},
            "model.regularization.adversarial: words that are to be guessed are not changed "
            "adversarially; model.regularization.adversarial=null fits",
        ),
    ],
)
def test_what_does_not_fit_is_refused(changes, message):
    names = [name for name in changes if name in vars(Regularization())]
    settings = {name: changes[name] for name in names}
    others = {name: value for name, value in changes.items() if name not in names}
    with pytest.raises(UserErrors) as caught:
        config(regularization=Regularization(**settings), **others)
    assert str(caught.value) == message
