"""What a student learns from its teacher: the loss by hand, and which teachers are refused."""

import math

import pytest
import torch
from torch.testing import assert_close

from src.core.batch import LabelledBatch
from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.objectives.classification import Classification
from src.model.objectives.distillation import Distillation, load_teacher, soft_loss

NAMES = ("bad", "fair", "good")


def test_the_soft_loss_is_the_divergence_times_the_squared_temperature():
    student, teacher = torch.tensor([[0.0, 0.0]]), torch.tensor([[math.log(9.0), 0.0]])
    # at 1: the teacher says 0.9 and 0.1, the student 0.5 twice
    by_hand = 0.9 * math.log(0.9 / 0.5) + 0.1 * math.log(0.1 / 0.5)
    assert_close(soft_loss(student, teacher, 1.0), torch.tensor(by_hand))
    # at 2: 9 ** 0.5 = 3 to 1
    by_hand = 4 * (0.75 * math.log(0.75 / 0.5) + 0.25 * math.log(0.25 / 0.5))
    assert_close(soft_loss(student, teacher, 2.0), torch.tensor(by_hand))
    assert soft_loss(teacher, teacher, 3.0) == 0
    # the mean over texts
    two = soft_loss(student.repeat(2, 1), torch.cat([teacher, student]), 1.0)
    assert_close(two, soft_loss(student, teacher, 1.0) / 2)


@pytest.fixture
def folder(tiny, tmp_path):
    def make(names=NAMES):
        network = tiny("bert", "sequence", num_labels=len(names))
        network.config.id2label = dict(enumerate(names))
        network.config.label2id = {name: index for index, name in enumerate(names)}
        Encoder(network, "sequence").save_pretrained(tmp_path)
        return str(tmp_path)

    return make


@pytest.fixture
def batch(laid):
    return LabelledBatch(laid([9, 3, 12, 4]), torch.tensor([0, 1, 2, 1]), torch.arange(4))


def logits_of(encoder, batch):
    return encoder.compute_sequence_logits(encoder.encode_sequences(batch.tokens))


def test_labels_and_teacher_share_the_loss_in_training_alone(tiny, facts, folder, batch):
    objective = Distillation(teacher=folder(), temperature=2.0, soft_share=0.25)
    objective.check_dataset(facts(label_names=NAMES))
    no_dropout = dict.fromkeys(("dropout", "attention_dropout", "seq_classif_dropout"), 0.0)
    student = Encoder(tiny("distilbert", "sequence", **no_dropout), "sequence").train()
    teacher = load_teacher(objective.teacher, facts(label_names=NAMES))
    ours, theirs = logits_of(student, batch), logits_of(teacher, batch)
    plain = torch.nn.functional.cross_entropy(ours, batch.labels)
    result = objective.forward(student, batch)
    assert_close(result.loss, 0.75 * plain + 0.25 * soft_loss(ours, theirs, 2.0))
    result.loss.backward()
    taught = vars(objective)["loaded_teacher"]
    assert all(weight.grad is None for weight in taught.parameters()) and not taught.training
    assert any(weight.grad is not None for weight in student.parameters())
    evaluated = objective.forward(student.eval(), batch)
    assert evaluated.loss == Classification().forward(student, batch).loss


def test_the_teachers_labels_are_put_in_the_order_of_the_data(facts, folder, batch):
    turned = tuple(reversed(NAMES))
    plain = load_teacher(path := folder(), facts(label_names=NAMES))
    other = load_teacher(path, facts(label_names=turned))
    assert_close(logits_of(other, batch), logits_of(plain, batch).flip(1))


@pytest.mark.parametrize(
    ("facts_of_data", "message"),
    [
        (
            {"label_names": ("no", "perhaps", "yes")},
            "model.objective.teacher: the teacher does not judge these labels: expected a "
            "classifier for no, perhaps, yes, found the head for bad, fair, good does not fit no, "
            "perhaps, yes, so its output layer is new",
        ),
        (
            {"label_names": NAMES, "vocab_size": 70},
            "model.objective.teacher: the teacher cannot read these data: the tokenizer has 70",
        ),
    ],
)
def test_a_teacher_of_other_labels_or_tokens_is_refused(facts_of_data, message, facts, folder):
    objective = Distillation(teacher=folder())
    with pytest.raises(UserError) as caught:
        objective.check_dataset(facts(**facts_of_data))
    assert str(caught.value).startswith(message)
    # a key of the student, which changes nothing here
    assert "model.encoder.head" not in str(caught.value)


def test_loading_a_teacher_draws_no_random_numbers(facts, folder):
    path = folder()
    torch.manual_seed(3)
    expected = torch.rand(2)
    torch.manual_seed(3)
    load_teacher(path, facts(label_names=NAMES))
    assert torch.equal(torch.rand(2), expected)
