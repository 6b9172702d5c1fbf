"""The module under Lightning's own Trainer: what it refuses, what it learns, what it reports."""

import math
from pathlib import Path

import pytest
import torch
from lightning import Trainer
from lightning.pytorch.callbacks import Callback
from lightning.pytorch.loggers import Logger
from torch.utils.data import DataLoader

from src.core.batch import LabelledBatch, MaskedBatch, build_tokens
from src.core.user_errors import UserError
from src.evaluation.report import Predictions, build_regression_report
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from src.model.model_config import ModelConfig
from src.model.module import NonFiniteLoss
from src.model.objectives.classification import Classification
from src.model.objectives.masked_lm import MaskedLM
from src.model.objectives.regression import Regression
from src.model.optim import AdamW
from src.model.stage_metrics import build_loss_metric
from src.training.progress import Lines

pytestmark = [
    pytest.mark.filterwarnings(f"ignore:{message}")
    for message in (
        ".*does not have many workers",
        ".*smaller than the logging interval",
        # what is frozen
        ".*in eval mode at the start of training",
        "`isinstance\\(treespec, LeafSpec\\)` is deprecated",
    )
]
TINY = Scratch(layers=2, width=16, heads=2, max_tokens=40)
NAMES = ("bad", "good")


def module_of(objective, *, encoder=TINY, lr=1e-2, **arguments):
    return ModelConfig(
        encoder=encoder, objective=objective, optim=AdamW(lr=lr, warmup_fraction=0.0), **arguments
    ).build()


@pytest.fixture
def built(facts):
    """A module that knows its data and has its weights."""

    def make(objective, names=(), total_steps=2, **arguments):
        module = module_of(objective, **arguments)
        module.set_dataset_info(facts(label_names=names, unigram_entropy=3.0), total_steps)
        module.configure_model()
        return module

    return make


@pytest.fixture
def masked(laid):
    def make(lengths, row=0):
        tokens = laid(lengths, row=row)
        places = torch.arange(1, len(tokens.ids), 4)
        targets = tokens.ids[places]
        tokens.ids[places] = 4
        return MaskedBatch(tokens, places, targets)

    return make


@pytest.fixture
def labelled(laid):
    """Texts of the label "good" begin with another token than those of "bad"."""

    def make(labels, begin=0):
        tokens = laid([5 + 3 * place for place in range(len(labels))])
        tokens.ids[tokens.cu_seqlens[:-1].long()] = 10 + torch.tensor(labels)
        return LabelledBatch(tokens, torch.tensor(labels), begin + torch.arange(len(labels)))

    return make


class Notes(Logger):
    """Keeps what is logged."""

    def __init__(self):
        super().__init__()
        self.logged = []

    name = version = "notes"

    def log_metrics(self, metrics, step=None):
        self.logged.append((step, dict(metrics)))

    def log_hyperparams(self, *args, **kwargs):
        pass


def trainer(tmp_path: Path, **arguments) -> Trainer:
    fixed = {
        "accelerator": "cpu",
        "devices": 1,
        "num_sanity_val_steps": 0,
        "default_root_dir": tmp_path,
    }
    quiet = dict.fromkeys(
        ("enable_progress_bar", "enable_model_summary", "enable_checkpointing", "logger"), False
    )
    return Trainer(**(fixed | quiet | {"max_epochs": 1} | arguments))


def loader(batches):
    return DataLoader(batches, batch_size=None)


def fit(running, module, batches, held_out=None):
    running.fit(module, loader(batches), loader(held_out or batches[:1]))


def test_labels_declared_must_be_those_found(facts):
    module = module_of(Classification(num_labels=3))
    with pytest.raises(UserError) as caught:
        module.set_dataset_info(facts(label_names=NAMES), 10)
    assert str(caught.value) == (
        "the model expects 3 labels (model.objective.num_labels) but the data have 2: bad, good"
    )


def test_classification_needs_labels(facts):
    with pytest.raises(UserError) as caught:
        module_of(Classification()).set_dataset_info(facts(), 10)
    assert str(caught.value) == (
        "classification needs at least 2 labels but the data have 0; name the column that holds "
        "them (data.source), or "
        "choose another model: model=masked_lm, model=regression"
    )


def test_masking_needs_a_mask_token(facts):
    module = module_of(MaskedLM())
    with pytest.raises(UserError) as caught:
        module.set_dataset_info(facts(mask_id=None), 10)
    assert str(caught.value) == (
        "the tokenizer has no mask token, which masked language modelling needs (data.tokenizer)"
    )


@pytest.mark.parametrize("freeze", ["body", -1, True, 1.5])
def test_what_cannot_be_frozen(freeze):
    with pytest.raises(
        UserError,
        match=r"^ModelConfig\.freeze: expected one of nothing, embeddings, encoder or a whole "
        r"number",
    ):
        module_of(MaskedLM(), freeze=freeze)


def test_weights_are_made_once_and_when_asked(facts):
    module = module_of(MaskedLM())
    assert not list(module.parameters())
    module.set_dataset_info(facts(), 5)
    module.configure_model()
    encoder = module.encoder
    module.configure_model()
    assert module.encoder is encoder


def test_pretrained_weights_are_trained_with_dropout(tiny, built, tmp_path):
    """`from_pretrained` leaves networks in eval mode."""
    Encoder(tiny("bert"), "masked_lm").save_pretrained(tmp_path)
    module = built(MaskedLM(), encoder=Pretrained(name_or_path=str(tmp_path)))
    assert all(each.training for each in module.encoder.modules())


@pytest.mark.parametrize("family", ["albert", "bert", "distilbert", "modernbert", "roberta"])
@pytest.mark.parametrize("freeze", ["embeddings", 1, "encoder"])
def test_frozen_parts_stay_as_they_are(family, freeze, tiny, facts, labelled, tmp_path):
    Encoder(tiny(family, "sequence"), "sequence").save_pretrained(tmp_path)
    module = module_of(
        Classification(), encoder=Pretrained(name_or_path=str(tmp_path), dropout=0.5), freeze=freeze
    )
    module.set_dataset_info(facts(label_names=("a", "b", "c"), max_tokens=20), 2)
    module.configure_model()
    assert not any(part.training for frozen in module._frozen_modules for part in frozen.modules())
    inside = {parameter for frozen in module._frozen_modules for parameter in frozen.parameters()}
    before = {name: each.detach().clone() for name, each in module.encoder.named_parameters()}
    assert 0 < len(inside) < len(before)
    running = trainer(tmp_path, max_epochs=2)
    # validation puts modules in eval mode and back
    fit(running, module, [labelled([0, 1, 2, 1])], [labelled([0, 1])])
    moved = {
        name
        for name, each in module.encoder.named_parameters()
        if not torch.equal(before[name], each)
    }
    assert moved == {name for name, each in module.encoder.named_parameters() if each not in inside}
    module.eval()
    module.train()
    assert not any(part.training for frozen in module._frozen_modules for part in frozen.modules())
    assert module.encoder.network.classifier.training
    grouped = {each for group in running.optimizers[0].param_groups for each in group["params"]}
    assert not grouped & inside and not any(each.requires_grad for each in inside)


def test_more_layers_frozen_than_there_are(built):
    with pytest.raises(
        UserError, match=r"model\.freeze: 9 layers are to be frozen, but the encoder has 2"
    ):
        built(MaskedLM(), freeze=9)


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_stops_before_the_update(value, built, masked, tmp_path):
    module = built(MaskedLM())
    before = {name: each.detach().clone() for name, each in module.encoder.named_parameters()}

    class Spoil(Callback):
        def on_train_batch_start(self, trainer, module, batch, batch_index):
            if batch_index == 1:
                before.update(
                    {
                        name: each.detach().clone()
                        for name, each in module.encoder.named_parameters()
                    }
                )
                vars(module.objective)["forward"] = lambda encoder, batch: MaskedLM.forward(
                    module.objective, encoder, batch
                )._replace(loss=torch.tensor(value))

    with pytest.raises(NonFiniteLoss) as caught:
        fit(trainer(tmp_path, callbacks=[Spoil()]), module, [masked([9, 7]), masked([8, 8])])
    assert str(caught.value).startswith(
        f"the loss is {value} at optimizer step 1, epoch 0, batch 1: nothing was updated. A lower "
        "model.optim.lr, "
    )
    assert all(torch.equal(before[name], each) for name, each in module.encoder.named_parameters())


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_golden_losses(family, built, masked, tmp_path):
    """Seeded weights and batches: the losses of three steps, as they were when this was written."""
    golden = {"bert": [4.1092, 3.8675, 3.6820], "modernbert": [4.1018, 3.9730, 3.7628]}[family]
    losses = []

    class Listen(Callback):
        def on_train_batch_end(self, trainer, module, outputs, batch, batch_index):
            losses.append(outputs["loss"].item())
            assert outputs["count"] == len(batch.masked_positions)

    module = built(
        MaskedLM(),
        total_steps=3,
        encoder=Scratch(family=family, layers=2, width=16, heads=2, max_tokens=40),
    )
    batch = masked([10, 6, 12, 4], row=16)
    fit(trainer(tmp_path, callbacks=[Listen()]), module, [batch] * 3)
    assert losses == pytest.approx(golden, abs=1e-3)
    assert losses[0] == pytest.approx(math.log(60), abs=0.2) and losses[0] > losses[1] > losses[2]


def test_masked_lm_from_fit_to_test(built, masked, tmp_path):
    notes, module = Notes(), built(MaskedLM())
    running = trainer(tmp_path, logger=notes)
    # the last has no masks
    held_out = [masked([9, 20]), masked([12]), masked([1])]
    fit(running, module, [masked([9, 7]), masked([8, 8], row=8)], held_out)
    running.test(module, loader(held_out), verbose=False)
    measured = {name: value for step, values in notes.logged for name, value in values.items()}
    quantities = {"loss", "perplexity", "masked_accuracy", "unigram_entropy"}
    assert set(measured) == {f"{stage}/{name}" for stage in ("val", "test") for name in quantities}
    # optimizer steps
    assert {step for step, _ in notes.logged} == {2}
    assert module.collect_test_predictions() is None
    module.eval()
    with torch.no_grad():
        results = [module.objective.forward(module.encoder, batch) for batch in held_out]
    total = sum(each.loss.item() * each.num_targets for each in results) / sum(
        each.num_targets for each in results
    )
    assert measured["test/loss"] == pytest.approx(total, rel=1e-5)
    assert measured["test/perplexity"] == pytest.approx(math.exp(total), rel=1e-5)
    right = sum((each.outputs == each.targets).sum().item() for each in results)
    assert measured["test/masked_accuracy"] == pytest.approx(
        right / sum(each.num_targets for each in results)
    )


def test_classification_learns_and_files_its_answers(built, labelled, tmp_path):
    module = built(Classification(), NAMES, total_steps=40)
    running = trainer(tmp_path, max_epochs=20)
    fit(running, module, [labelled([0, 1, 1, 0]), labelled([1, 0])])
    tests = [labelled([1, 0, 0], begin=4), labelled([1], begin=2)]
    running.test(module, loader(tests), verbose=False)
    rows, targets, answers = module.collect_test_predictions()
    assert rows.tolist() == [2, 4, 5, 6] and targets.tolist() == [1, 1, 0, 0]
    assert answers.argmax(-1).tolist() == targets.tolist()
    assert torch.allclose(answers.sum(-1), torch.ones(4))
    assert running.callback_metrics["test/accuracy"] == 1.0
    predicted = running.predict(module, loader(tests))
    assert torch.equal(torch.cat([rows for rows, _, _ in predicted]), torch.tensor([4, 5, 6, 2]))


def test_regression_from_fit_to_test(built, laid, tmp_path):
    module = built(Regression())
    values = torch.tensor([0.5, 1.0, 2.0])
    batch = LabelledBatch(laid([4, 9, 2], pairs=True), values, torch.arange(3))
    running = trainer(tmp_path)
    fit(running, module, [batch] * 2, [batch])
    running.test(module, loader([batch]), verbose=False)
    _, targets, answers = module.collect_test_predictions()
    assert targets.tolist() == values.tolist()
    error = (answers - values).square().mean().item()
    assert running.callback_metrics["test/loss"].item() == pytest.approx(error, rel=1e-5)
    assert {"test/pearson", "test/spearman", "test/mae"} <= set(running.callback_metrics)


def test_a_held_out_loss_that_is_not_a_number_is_said(built, masked, tmp_path):
    loss = build_loss_metric()
    loss.update(torch.tensor(1.0), weight=3)
    loss.update(torch.tensor(4.0), weight=1)
    loss.update(torch.tensor(0.0), weight=0)
    assert loss.compute() == 7 / 4
    loss.update(torch.tensor(math.nan), weight=1)
    assert loss.compute().isnan()


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_gradients_are_clipped_under_a_fused_optimizer(precision, family, built, masked, tmp_path):
    norms = []

    class Measure(Callback):
        def on_before_zero_grad(self, trainer, module, optimizer):
            gradients = [each.grad for each in module.encoder.parameters() if each.grad is not None]
            if gradients:
                norms.append(
                    (module.gradient_norm.item(), torch.nn.utils.get_total_norm(gradients).item())
                )

    encoder = Scratch(family=family, layers=2, width=16, heads=2, max_tokens=40)
    module = built(MaskedLM(), total_steps=4, encoder=encoder)
    batches = [masked([9, 7]), masked([8, 8], row=8), masked([20, 4, 9])]
    running = trainer(
        tmp_path, precision=precision, gradient_clip_val=0.05, max_epochs=2, callbacks=[Measure()]
    )
    fit(running, module, batches, [masked([12, 3])])
    assert running.optimizers[0].defaults["fused"] and running.global_step == 6
    # seen at the beginning of the next step; validation forgets them
    assert len(norms) == 4
    for before, after in norms:
        assert before > 0.05 and after == pytest.approx(0.05, rel=1e-3)
    assert {each.dtype for each in module.encoder.parameters()} == {torch.float32}
    assert running.callback_metrics["val/loss"].isfinite()


def test_accumulated_batches_of_any_size_are_one_large_batch(built, masked, labelled, tmp_path):
    """The gradient is that of the mean over all targets, not of the mean of means; the last step
    has fewer batches.
    """

    class Gradients(Callback):
        def __init__(self):
            self.norms, self.seen = [], []

        def on_train_batch_end(self, trainer, module, outputs, batch, batch_idx):
            if len(self.seen) < trainer.global_step:
                self.norms.append(float(module.gradient_norm))
                self.seen.append(
                    {
                        name: each.detach().clone()
                        for name, each in module.encoder.named_parameters()
                    }
                )

    parts = [masked([30]), masked([5, 8]), masked([12])]
    joined = []
    for some in (parts[:2], parts[2:]):
        places, seen = [], 0
        for part in some:
            places.append(part.masked_positions + seen)
            seen += len(part.tokens.ids)
        lengths = torch.cat([part.tokens.cu_seqlens.diff() for part in some])
        laid_out = build_tokens(torch.cat([part.tokens.ids for part in some]), lengths.long())
        joined.append(
            MaskedBatch(laid_out, torch.cat(places), torch.cat([part.targets for part in some]))
        )
    found = []
    for batches, accumulated in ((parts, 2), (joined, 1)):
        torch.manual_seed(7)
        module, notes = built(MaskedLM(), lr=1e-3), Gradients()
        running = trainer(
            tmp_path, accumulate_grad_batches=accumulated, gradient_clip_val=0.5, callbacks=[notes]
        )
        fit(running, module, batches)
        found.append(notes)
    assert len(found[0].norms) == len(found[1].norms) == 2
    assert found[0].norms == pytest.approx(found[1].norms, rel=1e-5)
    for name, expected in found[1].seen[-1].items():
        torch.testing.assert_close(found[0].seen[-1][name], expected, atol=1e-5, rtol=1e-5)


def test_an_update_that_the_device_skipped_is_told_of(built):
    module = built(MaskedLM())
    module.check_finite()
    module._has_skipped_update = torch.tensor(False)
    module.check_finite()
    module._has_skipped_update = torch.tensor(True)
    with pytest.raises(NonFiniteLoss, match="that one was skipped"):
        module.check_finite()


def test_unclipped_gradients_are_measured_all_the_same(built, masked, tmp_path):
    module = built(MaskedLM())
    fit(trainer(tmp_path), module, [masked([9, 7])])
    assert module.gradient_norm > 0


def test_bf16_follows_fp32(built, masked, tmp_path):
    losses = {}
    batches = [masked([9, 7]), masked([16, 16], row=16)]
    for precision in ("32-true", "bf16-mixed"):
        torch.manual_seed(1)
        module = built(MaskedLM())
        running = trainer(tmp_path, precision=precision)
        fit(running, module, batches, batches)
        losses[precision] = running.callback_metrics["val/loss"].item()
    assert losses["bf16-mixed"] == pytest.approx(losses["32-true"], abs=0.02)


class Answers(Regression):
    """A regression whose outputs are given: what is measured of them is what is tested."""

    def forward(self, encoder, batch):
        result = super().forward(encoder, batch)
        if encoder.training:
            return result
        outputs = self.outputs[batch.row_ids].to(result.outputs.dtype)
        loss = (outputs - result.targets).square().mean()
        return result._replace(outputs=outputs, loss=loss)


def test_numbers_of_the_module_are_those_of_the_report(built, laid, tmp_path):
    """Also where one outlier takes the variance of all others in single precision."""
    count, objective = 4000, Answers()
    generator = torch.Generator().manual_seed(1)
    targets = 5 * torch.rand(count, generator=generator)
    targets[17] = 500
    outputs = targets.clamp(max=5) / 5e4 + 2.5
    vars(objective)["outputs"] = outputs
    module = built(objective)
    batches = [
        LabelledBatch(
            laid([2] * 100), targets[begin : begin + 100], torch.arange(begin, begin + 100)
        )
        for begin in range(0, count, 100)
    ]
    running = trainer(tmp_path)
    running.test(module, loader(batches), verbose=False)
    report = build_regression_report(Predictions(*module.collect_test_predictions())).metrics
    measured = {name: float(value) for name, value in running.callback_metrics.items()}
    for name in ("pearson", "spearman", "mae"):
        assert measured[f"test/{name}"] == pytest.approx(report[name], rel=1e-12)
    assert measured["test/loss"] == pytest.approx(report["rmse"] ** 2, rel=1e-12)
    assert 0 < report["pearson"] < 1 and report["spearman"] > 0.99


@pytest.mark.parametrize(
    "targets, reason",
    [
        ([4.0, 4.0, 4.0], "all targets are equal (step 1)"),
        ([4.0], "rows: 1 (step 1)"),
    ],
)
def test_an_undefined_metric_is_left_out_and_said_once(
    targets, reason, built, laid, tmp_path, capsys
):
    notes, module = Notes(), built(Regression())
    rows = torch.arange(len(targets))
    held_out = LabelledBatch(laid([4] * len(targets)), torch.tensor(targets), rows)
    learnt = LabelledBatch(laid([4, 5]), torch.tensor([1.0, 2.0]), torch.arange(2))
    running = trainer(
        tmp_path, logger=notes, max_epochs=2, callbacks=[Lines(0.0)], enable_progress_bar=True
    )
    fit(running, module, [learnt], [held_out])
    measured = {name for _, values in notes.logged for name in values}
    assert {name for name in measured if name.startswith("val/")} == {"val/loss", "val/mae"}
    assert running.callback_metrics["val/pearson"].isnan()
    lines = capsys.readouterr().out.splitlines()
    assert [line for line in lines if "pearson" in line] == [f"val/pearson is left out: {reason}"]
    assert [line for line in lines if "spearman" in line] == [f"val/spearman is left out: {reason}"]
    assert module.undefined_metrics == {"val/pearson": reason, "val/spearman": reason}


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_held_out_loss_that_is_not_finite_ends_the_run(value, built, labelled, tmp_path):
    module = built(Classification(), NAMES)
    own = module.objective.forward

    def spoil(encoder, batch):
        result = own(encoder, batch)
        return result if encoder.training else result._replace(loss=torch.tensor(value))

    vars(module.objective)["forward"] = spoil
    with pytest.raises(NonFiniteLoss, match=f"the loss of the validation split is {value} at opt"):
        fit(trainer(tmp_path), module, [labelled([0, 1])])


def test_a_validation_with_nothing_to_predict_ends_the_run(built, masked, tmp_path):
    module = built(MaskedLM())
    with pytest.raises(UserError) as caught:
        fit(trainer(tmp_path), module, [masked([9, 7])], [masked([1]), masked([1])])
    assert str(caught.value) == (
        "nothing in the rows of the validation split is to be predicted, so there is no loss to "
        "measure; more rows would help (data.source.validation)"
    )


@pytest.mark.parametrize("loss, perplexity", [(88.8, math.exp(88.8)), (710.0, math.inf)])
def test_perplexity_has_the_range_of_double_precision(
    loss, perplexity, built, masked, tmp_path, capsys
):
    """In single precision it ends at a loss of 88.7; MLflow shows infinity as 1.8e308."""
    notes, module = Notes(), built(MaskedLM())
    own = module.objective.forward

    def spoil(encoder, batch):
        result = own(encoder, batch)
        held_out = result._replace(loss=torch.tensor(loss, dtype=torch.float64))
        return result if encoder.training else held_out

    vars(module.objective)["forward"] = spoil
    running = trainer(tmp_path, logger=notes)
    fit(running, module, [masked([9, 7])])
    measured = {name: value for _, values in notes.logged for name, value in values.items()}
    assert float(running.callback_metrics["val/perplexity"]) == pytest.approx(perplexity)
    if math.isinf(perplexity):
        assert "val/perplexity" not in measured
        assert "val/perplexity is left out: it is too large for a number" in capsys.readouterr().out
    else:
        assert measured["val/perplexity"] == pytest.approx(perplexity)
