"""What becomes of stored weights: heads that are kept, mended or new, and what is said of them."""

import json

import pytest
import torch
from safetensors.torch import load_file, save_file
from torch.testing import assert_close

from src.core.user_errors import UserError
from src.model.classification_head import find_output_layer
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch


@pytest.fixture
def folder(tiny, tmp_path):
    """A saved encoder of a family, with the head of a task."""

    def make(family="bert", head="masked_lm", **changes):
        Encoder(tiny(family, head, **changes), head).save_pretrained(tmp_path)
        return tmp_path

    return make


def build(folder, facts, head="masked_lm", names=(), *, regression=False, policy="auto"):
    config = Pretrained(name_or_path=str(folder), head=policy)
    task = "regression" if regression else ""
    return config.build(head, facts(max_tokens=20), names, task=task)


def change_config(folder, **changes):
    file = folder / "config.json"
    settings = json.loads(file.read_text()) | changes
    file.write_text(json.dumps({key: value for key, value in settings.items() if value != "gone"}))


def read_output_layer(encoder):
    return find_output_layer(encoder.network)[1].weight.detach().clone()


def said_of(encoder):
    return " ".join(encoder.describe_loading().lines)


@pytest.mark.parametrize(
    "head, names, fresh, unused",
    [
        ("masked_lm", (), "none", "none"),
        ("sequence", ("a", "b"), "bert.pooler.* (2 tensors), classifier.* (2 tensors)", "cls.*"),
    ],
)
def test_fresh_and_unused_weights_are_told_in_numbers(head, names, fresh, unused, folder, facts):
    encoder = build(folder(), facts, head, names)
    lines, tags = encoder.describe_loading()
    assert tags["model/fresh"] == fresh and tags["model/unused"].startswith(unused)
    assert len(lines) == (fresh != "none")
    size = sum(parameter.numel() for parameter in encoder.parameters())
    assert tags["model/parameters"] == tags["model/trained"] == str(size)
    encoder.freeze_modules("encoder")
    assert int(encoder.describe_loading().tags["model/trained"]) < size


def test_the_head_over_a_body_alone_is_told(tiny, facts, tmp_path):
    """As over a sentence encoder, whose folder holds no head."""
    network = tiny("bert", "sequence")
    network.base_model.save_pretrained(tmp_path)
    [line] = build(tmp_path, facts).describe_loading().lines
    assert line == (
        f"weights of {tmp_path}: random to begin with: cls.* (5 tensors); stored but not used: "
        "pooler.* (2 tensors)"
    )


def test_a_fresh_encoder_has_nothing_to_say(facts):
    encoder = Scratch(layers=1, width=8, heads=2).build("masked_lm", facts(), ())
    assert encoder.describe_loading().lines == () and encoder.loaded_weights is None


@pytest.mark.parametrize("is_legacy", [False, True])
@pytest.mark.parametrize("setting", ["gone", False, True])
def test_debertas_masked_lm_head_is_found_under_either_name(
    is_legacy, setting, folder, tiny, facts
):
    """The hub's folders hold `lm_predictions` and do not say so in config.json."""
    place = folder("deberta-v2", legacy=is_legacy)
    change_config(place, legacy=setting)
    stored = load_file(place / "model.safetensors")
    encoder = build(place, facts)
    loaded = encoder.network.state_dict()
    assert all(torch.equal(loaded[name], weight) for name, weight in stored.items())
    assert encoder.network.legacy == is_legacy and encoder.config.legacy == is_legacy
    lines, tags = encoder.describe_loading()
    assert lines == () and (tags["model/fresh"], tags["model/unused"]) == ("none", "none")
    # what is saved can be opened by others
    encoder.save_pretrained(place)
    assert json.loads((place / "config.json").read_text())["legacy"] == is_legacy


def test_older_names_of_weights_are_known(family, folder, facts):
    """`gamma` and `beta` of the first BERTs, and a bias that stands in the decoder."""
    place = folder(family)
    stored = load_file(place / "model.safetensors")
    expected = build(place, facts).network.state_dict()
    renamed = {
        name.replace("LayerNorm.weight", "LayerNorm.gamma").replace(
            "LayerNorm.bias", "LayerNorm.beta"
        ): weight
        for name, weight in stored.items()
    }
    for name in ("cls.predictions.bias", "predictions.bias", "lm_head.bias"):
        if name in renamed:
            renamed[name.replace("bias", "decoder.bias")] = renamed.pop(name)
    save_file(renamed, place / "model.safetensors", metadata={"format": "pt"})
    encoder = build(place, facts)
    assert_close(encoder.network.state_dict(), expected, atol=0, rtol=0)
    assert said_of(encoder) == ""


@pytest.mark.parametrize("policy", ["auto", "keep", "fresh"])
def test_what_is_done_with_a_head_can_be_chosen(policy, folder, facts):
    place = folder("bert", "sequence", num_labels=2)
    weight = load_file(place / "model.safetensors")["classifier.weight"]
    encoder = build(place, facts, "sequence", ("bad", "good"), policy=policy)
    assert torch.equal(read_output_layer(encoder), weight) == (policy == "keep")
    assert {
        "auto": "does not fit bad, good, so its output layer is new "
        "(model.encoder.head=keep takes it output by output)",
        "keep": "2 labels without names is kept for bad, good, output by output "
        "(model.encoder.head=keep)",
        "fresh": "does not fit bad, good, so its output layer is new; ",
    }[policy] in said_of(encoder)
    assert encoder.config.id2label == {0: "bad", 1: "good"}


def test_a_fitting_head_is_kept_unless_a_fresh_one_is_wanted(folder, facts):
    place = folder("bert", "sequence", num_labels=2, id2label={0: "bad", 1: "good"})
    weight = load_file(place / "model.safetensors")["classifier.weight"]
    kept, fresh = (
        build(place, facts, "sequence", ("bad", "good"), policy=policy)
        for policy in ("auto", "fresh")
    )
    assert torch.equal(read_output_layer(kept), weight)
    assert kept.describe_loading().tags["model/head"] == "the head for bad, good is kept"
    assert not (read_output_layer(fresh) == weight).any()
    assert "is not taken (model.encoder.head=fresh)" in said_of(fresh)


def test_keep_wants_a_head_with_as_many_outputs(folder, facts):
    with pytest.raises(UserError, match=r"^model\.encoder\.head=keep: .* holds no head for a, b$"):
        build(folder(), facts, "sequence", ("a", "b"), policy="keep")
    place = folder("bert", "sequence", num_labels=3)
    with pytest.raises(UserError, match="is for 3 labels without names, not for a, b$"):
        build(place, facts, "sequence", ("a", "b"), policy="keep")
    with pytest.raises(UserError, match=r"^model\.encoder\.head=keep: .*: expected auto$"):
        Pretrained(name_or_path=str(place), head="keep").check("masked_lm")


def test_another_number_of_labels_is_said(folder, facts):
    place = folder("bert", "sequence", num_labels=3, id2label={0: "a", 1: "b", 2: "c"})
    encoder = build(place, facts, "sequence", ("a", "b"))
    assert "the head for a, b, c does not fit a, b, so its output layer is new" in said_of(encoder)
    assert "random to begin with: classifier.* (2 tensors)" in said_of(encoder)


def test_a_head_of_another_shape_than_its_config_says_is_told(folder, facts):
    place = folder("bert", "sequence", num_labels=3)
    change_config(place, id2label={"0": "a", "1": "b"}, label2id={"a": 0, "b": 1})
    encoder = build(place, facts, "sequence", ("a", "b"))
    assert "the head for a, b has another shape, so its output layer is new" in said_of(encoder)


@pytest.mark.parametrize(
    "stored, wanted, order",
    [
        (["US", "us"], ["US", "us"], [0, 1]),
        (["US", "us"], ["us", "US"], [1, 0]),
        # accents apart from their letters, as some systems write them
        (["e\u0301te\u0301", "hiver"], ["hiver", "\u00e9t\u00e9"], [1, 0]),
        (["E\u0301te\u0301", "ete"], ["ete", "\u00e9t\u00e9"], [1, 0]),
    ],
)
def test_names_that_are_nearly_alike_are_told_apart(stored, wanted, order, folder, facts):
    place = folder("bert", "sequence", num_labels=2, id2label=dict(enumerate(stored)))
    weight = load_file(place / "model.safetensors")["classifier.weight"]
    encoder = build(place, facts, "sequence", tuple(wanted))
    assert torch.equal(read_output_layer(encoder), weight[order])


def test_an_output_layer_without_its_bias_follows_the_names_too(folder, facts):
    place = folder("bert", "sequence", num_labels=2, id2label={0: "pos", 1: "neg"})
    weights = load_file(place / "model.safetensors")
    del weights["classifier.bias"]
    save_file(weights, place / "model.safetensors", metadata={"format": "pt"})
    encoder = build(place, facts, "sequence", ("neg", "pos"))
    assert torch.equal(read_output_layer(encoder), weights["classifier.weight"][[1, 0]])
    assert "in the order of the data's labels (neg, pos)" in said_of(encoder)
    assert "random to begin with: classifier.* (1 tensor)" in said_of(encoder)


def test_a_head_for_two_numbers_is_none_for_one(folder, facts):
    place = folder("bert", "sequence", num_labels=2, problem_type="regression")
    for names in (("a", "b"), ()):
        said = said_of(build(place, facts, "sequence", names, regression=not names))
        assert "the head for 2 labels without names does not fit" in said


@pytest.mark.parametrize(
    "stored, is_kept",
    [
        ({"problem_type": "regression"}, True),
        # a cross-encoder of similarity
        ({}, True),
        ({"id2label": {0: "toxic"}}, False),
    ],
)
def test_a_number_goes_on_with_the_head_of_a_number(stored, is_kept, folder, facts):
    place = folder("bert", "sequence", num_labels=1, **stored)
    weight = load_file(place / "model.safetensors")["classifier.weight"]
    encoder = build(place, facts, "sequence", regression=True)
    assert torch.equal(read_output_layer(encoder), weight) == is_kept
    assert ("the head for a number is kept" in said_of(encoder)) == is_kept
    labelled = build(place, facts, "sequence", ("a", "b"))
    assert "does not fit a, b" in said_of(labelled)


def test_a_folder_of_ones_own_is_used_again_in_any_order(family, folder, facts, laid, tmp_path):
    """Saved with [pos, neg], opened for [neg, pos]: the same answers under the same names."""
    place = folder(family, "sequence", num_labels=2, id2label={0: "pos", 1: "neg"})
    first = build(place, facts, "sequence", ("pos", "neg")).eval()
    first.save_pretrained(tmp_path / "again")
    second = build(tmp_path / "again", facts, "sequence", ("neg", "pos")).eval()
    tokens = laid([7, 12])
    with torch.no_grad():
        one, other = (
            encoder.compute_sequence_logits(encoder.encode_sequences(tokens))
            for encoder in (first, second)
        )
    assert_close(one, other.flip(-1))
    assert "in the order of the data's labels (neg, pos)" in said_of(second)
