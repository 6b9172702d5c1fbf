"""Families of transformers: the named ones and one drawn at random, as small as they go."""

import math
import random
import re

import pytest
import torch
from torch import Tensor, nn
from torch.testing import assert_close
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoModelForMaskedLM,
    AutoModelForSeq2SeqLM,
    PreTrainedModel,
)
from transformers.models.auto.modeling_auto import MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES

from src.core.batch import LabelledBatch, MaskedBatch, Tokens, build_tokens
from src.core.user_errors import UserError
from src.model.classification_head import find_output_layer
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained
from src.model.layer_stack import find_layers
from src.model.model_classes import AUTO_MODEL_CLASSES, HeadType
from src.model.model_config import ModelConfig
from src.model.objectives.classification import Classification
from src.model.objectives.masked_lm import MaskedLM
from src.model.optim import AdamW
from src.model.stored_encoder import load_encoder
from src.training.flops import count_forward_cost
from tests.model.conftest import END, FAMILIES, PAD, TINY

NAMED_BY_THE_ISSUE = {*FAMILIES, "xlnet", "gpt2", "t5", "bart", "funnel", "longformer"}
# parameters that no loss reaches, as an expression: a pooler, what is for texts in pieces or pairs
# only, and in Longformer's last layer what the first token alone does not need
UNUSED: dict[tuple[HeadType, str], str] = {
    ("masked_lm", "fnet"): r".*pooler\..*",
    ("masked_lm", "longformer"): r".*_global\..*",
    ("sequence", "longformer"): r".*layer\.1\.attention\.self\.(query|key|value)\..*",
    ("sequence", "xlnet"): r".*(mask_emb|seg_embed|r_s_bias)",
}


EMBEDDINGS = {
    "bart": ["shared", "encoder.embed_positions", "decoder.embed_positions"],
    "deepseek_v2": ["embed_tokens"],
    "funnel": ["embeddings.word_embeddings"],
    "gpt2": ["wte", "wpe"],
    "t5": ["shared"],
    "xlnet": ["word_embedding"],
}
NAMED = (*FAMILIES, *TINY)
HEADS: tuple[HeadType, ...] = ("masked_lm", "sequence")


def list_able_families(head: HeadType) -> list[str]:
    """The families that transformers has a class of this head for."""
    known = AUTO_MODEL_CLASSES[head]._model_mapping._model_mapping
    return [family for family in NAMED if family in known]


ABLE = {head: list_able_families(head) for head in HEADS}
PAIRS = [(head, family) for head, families in ABLE.items() for family in families]


def test_the_families_and_what_they_can_do():
    assert len(NAMED) == 19
    assert ABLE["sequence"] == list(NAMED)
    others = ["bart", "fnet", "funnel", "longformer", "xlm"]
    assert ABLE["masked_lm"] == [*FAMILIES, *others]
    assert len(PAIRS) == 34
    listed = sorted(set(MODEL_FOR_SEQUENCE_CLASSIFICATION_MAPPING_NAMES) - NAMED_BY_THE_ISSUE)
    assert random.Random(14).choice(listed) == "deepseek_v2"


def run_alone(network: PreTrainedModel, tokens: Tokens, head: HeadType) -> Tensor:
    """What transformers gives for each text by itself, without any padding."""
    rows = tokens.ids.split(tokens.cu_seqlens.diff().tolist())
    logits = [network(row[None]).logits[0] for row in rows]
    return torch.stack(logits) if head == "sequence" else torch.cat(logits)


@pytest.mark.parametrize(("head", "family"), PAIRS)
def test_a_text_in_a_batch_is_judged_as_by_itself(head, family, make, twin, texts):
    network = make(family, head)
    plain, encoder = twin(network), Encoder(network, head)
    with torch.no_grad():
        expected = run_alone(plain, texts, head)
        assert_close(encoder.compute_logits(texts), expected, atol=2e-5, rtol=1e-4)
        if head == "masked_lm":
            assert encoder.has_own_head or encoder.rows.selects_tokens
            at = torch.tensor([30, 1, 58])
            assert_close(encoder.compute_logits(texts, at), expected[at], atol=2e-5, rtol=1e-4)
            losses = nn.functional.cross_entropy(expected[at], texts.ids[at], reduction="none")
            assert_close(encoder.compute_loss_at(texts, at, texts.ids[at]), losses.sum())
            found = encoder.compute_losses_and_predictions_at(texts, at, texts.ids[at])
            assert_close(found[0], losses, atol=2e-5, rtol=1e-4)
            assert_close(found[1], expected[at].argmax(-1))


@pytest.mark.parametrize("family", TINY)
def test_where_padding_stands(family, make):
    encoder = Encoder(make(family, "sequence"), "sequence")
    assert encoder.rows.side == TINY[family][1]
    assert encoder.padding_side == (TINY[family][1] or "right")
    # neither a weight nor the generator of random numbers is touched by the trial
    torch.manual_seed(3)
    before = torch.rand(1)
    torch.manual_seed(3)
    Encoder(encoder.network, "sequence")
    assert torch.equal(torch.rand(1), before)


def test_scores_of_tokens_that_nobody_asked_for_are_not_computed(make, texts):
    encoder, at = Encoder(make("bart", "masked_lm"), "masked_lm"), torch.tensor([3, 3, 40])
    rows: list[int] = []
    layer = encoder.network.get_output_embeddings()
    layer.register_forward_hook(lambda module, inputs, output: rows.append(output.shape[-2]))
    logits = encoder.compute_logits(texts, at)
    encoder.rows.selects_tokens = False
    assert_close(encoder.compute_logits(texts, at), logits)
    assert rows == [2, 20]


def test_a_text_shorter_than_a_network_can_read(make, laid):
    """Funnel halves a text twice; one of one or two tokens gets padding, and always the same."""
    network = make("funnel", "masked_lm")
    encoder, short = Encoder(network, "masked_lm"), laid([1, 2, 1])
    with pytest.raises(RuntimeError):
        network(short.ids[None, :1])
    with torch.no_grad():
        logits = encoder.compute_logits(short)
        assert logits.shape == (4, 60) and logits.isfinite().all()
        one = build_tokens(short.ids[:1], torch.tensor([1]))
        assert_close(encoder.compute_logits(one), logits[:1])


def batch_for(head: HeadType, texts: Tokens) -> LabelledBatch | MaskedBatch:
    if head == "sequence":
        return LabelledBatch(texts, torch.tensor([0, 1, 2, 0, 1]), torch.arange(5))
    at = torch.arange(1, 59, 4)
    targets = texts.ids[at]
    return MaskedBatch(texts._replace(ids=texts.ids.index_fill(0, at, 4)), at, targets)


OBJECTIVES = {"sequence": Classification(), "masked_lm": MaskedLM()}


@pytest.mark.parametrize(("head", "family"), PAIRS)
def test_two_steps_of_training(head, family, make, texts, facts, tmp_path):
    make(family, head).save_pretrained(tmp_path / "begun")
    known = make(family, head).config.get_text_config()
    config = ModelConfig(
        encoder=Pretrained(name_or_path=str(tmp_path / "begun"), dropout=0.1, head="auto"),
        objective=OBJECTIVES[head],
        optim=AdamW(lr=1e-2, warmup_fraction=0.0, layer_decay=0.9 if family != "xlm" else 1.0),
    )
    config.check()
    module = config.build()
    names = ("a", "b", "c") if head == "sequence" else ()
    module.set_dataset_info(facts(label_names=names, pad_id=known.pad_token_id, max_tokens=20), 2)
    module.configure_model()
    encoder = module.encoder.train()
    optimizer = module.configure_optimizers()["optimizer"]
    before = {name: weight.detach().clone() for name, weight in encoder.named_parameters()}
    batch = batch_for(head, texts)
    losses = []
    for _ in range(2):
        loss = OBJECTIVES[head].forward(encoder, batch).loss
        loss.backward()
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    assert all(map(math.isfinite, losses))
    still = [
        name for name, weight in encoder.named_parameters() if torch.equal(weight, before[name])
    ]
    assert all(re.fullmatch(UNUSED.get((head, family), ""), name) for name in still), still
    assert count_forward_cost(encoder).per_token > 0
    encoder.eval().save_pretrained(tmp_path / "done")
    with torch.no_grad():
        ours = encoder.compute_logits(texts)
        opened = AUTO_MODEL_CLASSES[head].from_pretrained(tmp_path / "done")
        theirs = run_alone(opened, texts, head)
        again = load_encoder(tmp_path / "done", head).eval().compute_logits(texts)
        if (head, family) == ("masked_lm", "funnel"):
            # its code in transformers empties the padding's row of stored embeddings
            theirs[:, PAD] = again[:, PAD] = ours[:, PAD]
        assert_close(ours, theirs, atol=2e-5, rtol=1e-4)
        assert torch.equal(ours, again)


def test_end_tokens_may_differ_in_number(make, laid, texts):
    """An encoder-decoder wants as many in every row of a batch; here they are told apart."""
    network = make("t5", "sequence")
    encoder = Encoder(network, "sequence")
    texts.ids[[1, 10, 12]] = END
    with torch.no_grad():
        assert_close(encoder.compute_logits(texts), run_alone(network, texts, "sequence"))
    texts.ids[texts.ids == END] = 5
    with pytest.raises(
        UserError,
        match=r"^the family 't5' judges a text by its end token \(id 2\), and the tokenizer puts "
        r"none behind the texts \(data\.tokenizer\)$",
    ):
        encoder.compute_logits(texts)


def test_the_last_token_is_judged_by_also_where_padding_is_the_end(make, texts):
    """GPT-2 has no padding of its own, and its texts may end in the token that stands for it."""
    network = make("gpt2", "sequence")
    network.config.pad_token_id = END
    with torch.no_grad():
        expected = run_alone(network, texts, "sequence")
        assert_close(Encoder(network, "sequence").compute_logits(texts), expected)


def test_parts_in_lists_of_their_own_are_no_layers(make):
    encoder = Encoder(make("xlm", "sequence"), "sequence")
    for what in ("embeddings", 1):
        with pytest.raises(
            UserError,
            match=r"^the layers of the family 'xlm' are not known to this program, so they cannot "
            r"be frozen or trained one by one \(model\.freeze, model\.optim\.layer_decay\)$",
        ):
            encoder.freeze_modules(what)
    assert encoder.freeze_modules("encoder")
    still = {name for name, weight in encoder.named_parameters() if weight.requires_grad}
    assert still == {f"network.sequence_summary.summary.{name}" for name in ("weight", "bias")}


@pytest.mark.parametrize(
    ("family", "layers", "output"),
    [
        ("bart", [f"{side}.layers.{n}" for side in ("encoder", "decoder") for n in (0, 1)], "head"),
        ("deepseek_v2", ["layers.0", "layers.1"], "score"),
        ("funnel", [f"encoder.blocks.{n}.{m}" for n in (0, 1) for m in (0, 1)], "linear_out"),
        ("gpt2", ["h.0", "h.1"], "score"),
        ("t5", [f"{side}.block.{n}" for side in ("encoder", "decoder") for n in (0, 1)], "head"),
        ("xlnet", ["layer.0", "layer.1"], "logits_proj"),
    ],
)
def test_layers_and_output_layer(family, layers, output, make):
    network = make(family, "sequence")
    assert list(find_layers(network.base_model, family)) == layers
    assert output in find_output_layer(network)[0]
    encoder = Encoder(network, "sequence")
    depths = {encoder.count_layers_above(name) for name, _ in encoder.named_parameters()}
    assert {0, 1, len(layers), len(layers) + 1} <= depths
    encoder.freeze_modules(1)
    frozen = {name for name, weight in encoder.named_parameters() if not weight.requires_grad}
    prefix = f"network.{network.base_model_prefix}."
    assert any(name.startswith(f"{prefix}{layers[0]}.") for name in frozen)
    assert not any(name.startswith(f"{prefix}{layers[1]}.") for name in frozen)
    assert all(f"{prefix}{name}.weight" in frozen for name in EMBEDDINGS[family])


def test_what_cannot_save_memory_says_so(make):
    encoder = Encoder(make("xlm", "sequence"), "sequence")
    with pytest.raises(UserError, match="transformers cannot do this for the family 'xlm'"):
        encoder.set_gradient_checkpointing(True)
    Encoder(make("t5", "sequence"), "sequence").set_gradient_checkpointing(True)


def test_a_network_that_needs_more_than_texts_is_refused():
    """X-MOD wants to be told the language."""
    config = AutoConfig.for_model("xmod", vocab_size=60, languages=["en"], **TINY["fnet"][0])
    with pytest.raises(
        UserError,
        match=r"^model\.encoder: a network of the family 'xmod' cannot be given texts alone: "
        r"Input language unknown\.",
    ):
        Encoder(AUTO_MODEL_CLASSES["sequence"].from_config(config), "sequence")


@pytest.mark.parametrize(
    ("family", "model_class", "fresh"),
    [
        ("bart", AutoModelForSeq2SeqLM, "classification_head.* (4 tensors)"),
        ("funnel", AutoModelForMaskedLM, "classifier.* (4 tensors)"),
        ("gpt2", AutoModelForCausalLM, "score.* (1 tensor)"),
        ("t5", AutoModelForSeq2SeqLM, "classification_head.* (4 tensors)"),
        (
            "xlnet",
            AutoModelForCausalLM,
            "logits_proj.* (2 tensors), sequence_summary.* (2 tensors)",
        ),
    ],
)
def test_the_whole_body_is_taken_from_what_was_pretrained(
    family, model_class, fresh, make, facts, tmp_path
):
    """The folders that are published hold the head of pretraining."""
    config = make(family, "sequence").config
    model_class.from_config(config).save_pretrained(tmp_path)
    pretrained = Pretrained(name_or_path=str(tmp_path))
    encoder = pretrained.build("sequence", facts(pad_id=PAD), ("a", "b", "c"))
    assert encoder.describe_loading().tags["model/fresh"] == fresh


def test_a_network_that_runs_as_a_whole_has_no_vectors_of_texts(make, texts, facts, tmp_path):
    make("gpt2", "sequence").save_pretrained(tmp_path)
    wanted = Pretrained(name_or_path=str(tmp_path), pooling="mean")
    with pytest.raises(UserError) as caught:
        wanted.build("sequence", facts(pad_id=PAD), ("a", "b", "c"))
    assert str(caught.value) == (
        "model.encoder.pooling=mean: the family 'gpt2' runs as a whole and judges texts in its own "
        "way: expected null"
    )
    with pytest.raises(UserError, match="runs as a whole"):
        wanted.check("sequence")
    with pytest.raises(UserError) as caught:
        Encoder(make("gpt2", "sequence"), "sequence").encode_sequences(texts)
    assert str(caught.value) == (
        "model.objective.mixup: the family 'gpt2' runs as a whole, so that its texts have no "
        "vectors to mix: expected null"
    )


@pytest.mark.parametrize(("head", "family"), [pair for pair in PAIRS if pair[1] in TINY])
def test_rows_for_added_tokens(head, family, make, texts, facts, tmp_path):
    network = make(family, head)
    network.save_pretrained(tmp_path)
    added = facts(vocab_size=63, own_vocab_size=60, pad_id=PAD)
    names = ("LABEL_0", "LABEL_1", "LABEL_2") if head == "sequence" else ()
    grown = Pretrained(name_or_path=str(tmp_path)).build(head, added, names).eval()
    assert grown.describe_loading().tags["model/added_tokens"] == "3"
    with torch.no_grad():
        before = Encoder(network, head).compute_logits(texts)
        after = grown.compute_logits(texts)
        columns = [place for place in range(before.shape[1]) if head == "sequence" or place != PAD]
        assert_close(after[:, columns], before[:, columns], atol=1e-5, rtol=1e-4)
        assert after.shape[1] == (3 if head == "sequence" else 63)
        texts.ids[[0, 12, 40]] = torch.tensor([60, 61, 62])
        assert grown.compute_logits(texts).isfinite().all()
    grown.save_pretrained(tmp_path / "grown")
    assert load_encoder(tmp_path / "grown", head).config.get_text_config().vocab_size == 63


DROPPED = {
    "gpt2": {"resid_pdrop", "embd_pdrop", "attn_pdrop", "summary_first_dropout"},
    "t5": {"dropout_rate", "classifier_dropout"},
    "xlnet": {"dropout", "summary_last_dropout"},
}


@pytest.mark.parametrize("family", DROPPED)
def test_dropout_by_its_many_names(family, make, facts, tmp_path):
    make(family, "sequence").save_pretrained(tmp_path)
    pretrained = Pretrained(name_or_path=str(tmp_path), dropout=0.37)
    config = pretrained.build("sequence", facts(pad_id=PAD), ("a", "b", "c")).config
    assert {name for name, value in vars(config).items() if value == 0.37} == DROPPED[family]
