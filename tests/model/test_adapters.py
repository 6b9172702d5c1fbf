"""Adapters beside a frozen body: what is trained, what they add, that nothing passes them by."""

import math

import pytest
import torch
from torch.testing import assert_close
from transformers import AutoModelForSequenceClassification

from src.core.user_errors import UserError, UserErrors
from src.model import adapter_config
from src.model.adapter_config import Lora
from src.model.adapters import add_lora, find_frozen_names, merge_adapters
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained, Scratch
from src.model.model_config import ModelConfig
from src.model.objectives.classification import Classification
from src.model.objectives.masked_lm import MaskedLM
from src.model.optim import AdamW
from src.model.pretrained_weights import LoadedWeights

ALL_LINEAR = {
    "bert": ["query", "key", "value", "dense"],
    "modernbert": ["Wqkv", "Wi", "Wo"],
}


def adapted(network, head="sequence", **settings):
    """An encoder with adapters that have learnt something already."""
    encoder = Encoder(network, head)
    add_lora(encoder, Lora(**settings))
    for name, weight in encoder.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(weight, std=0.3)
    return encoder


def adapter_gradients(encoder):
    return {name: weight.grad for name, weight in encoder.named_parameters() if "lora_" in name}


@pytest.mark.parametrize("layout", ["lean", "packed", "padded"])
def test_every_adapter_learns_and_the_merged_model_answers_alike(family, layout, tiny, laid, twin):
    """With src/model/fast_encoder.py and by transformers, in packed and in padded rows."""
    encoder = adapted(plain := tiny(family, "sequence"))
    base = twin(plain)
    merge_adapters(base)
    encoder.uses_fast_path = encoder.uses_fast_path and layout == "lean"
    encoder.supports_packing = encoder.supports_packing and layout != "padded"
    if not encoder.supports_packing:
        encoder.config._attn_implementation = (
            "eager" if family in ("deberta-v2", "mpnet") else "sdpa"
        )
    tokens = laid([9, 3, 12, 4])
    logits = encoder.compute_sequence_logits(encoder.encode_sequences(tokens))
    logits.square().sum().backward()
    gradients = adapter_gradients(encoder)
    assert len(gradients) >= 4
    for name, gradient in gradients.items():
        assert gradient is not None and gradient.abs().max() > 0, name
    with torch.no_grad():
        for weight_name, weight in encoder.named_parameters():
            if "lora_B" in weight_name:
                weight.zero_()
        without = encoder.compute_sequence_logits(encoder.encode_sequences(tokens))
    assert (logits - without).abs().max() > 1e-3
    merged = Encoder(base, "sequence")
    merged.uses_fast_path, merged.supports_packing = False, encoder.supports_packing
    merged.config._attn_implementation = encoder.config._attn_implementation
    answers = merged.compute_sequence_logits(merged.encode_sequences(tokens))
    assert_close(answers, logits, atol=2e-5, rtol=1e-4)


@pytest.mark.parametrize("settings", [{"use_dora": True}, {"use_rslora": True}, {}])
@pytest.mark.parametrize("family", ALL_LINEAR)
def test_every_linear_layer_of_a_lean_body_may_be_adapted(family, settings, tiny, laid):
    encoder = adapted(
        tiny(family, "sequence"), target_modules=ALL_LINEAR[family], rank=4, **settings
    )
    tokens = laid([9, 3, 12, 4])
    assert encoder.uses_fast_path
    ours = encoder.encode(tokens)
    part = encoder.encode(tokens, "first")
    assert_close(part, ours[tokens.cu_seqlens[:-1].long()], atol=1e-5, rtol=1e-5)
    part.square().sum().backward()
    assert all(gradient.abs().max() > 0 for gradient in adapter_gradients(encoder).values())
    encoder.uses_fast_path = False
    assert_close(ours, encoder.encode(tokens), atol=1e-5, rtol=1e-5)
    merge_adapters(encoder.network)
    assert_close(ours, encoder.encode(tokens), atol=1e-4, rtol=1e-4)


def test_checkpointing_changes_no_gradient_of_an_adapter(family, tiny, laid):
    """Though nothing below the first adapter has a gradient."""
    if family == "albert":
        pytest.skip("transformers cannot checkpoint it")
    encoder, tokens = adapted(tiny(family, "sequence")), laid([9, 3, 12])
    found = []
    for is_on in (False, True):
        encoder.set_gradient_checkpointing(is_on)
        encoder.zero_grad()
        encoder.encode(tokens, "first").square().sum().backward()
        found.append({name: grad.clone() for name, grad in adapter_gradients(encoder).items()})
    assert_close(*found, atol=1e-6, rtol=1e-5)


def test_bf16_is_close_where_a_layer_has_an_adapter(tiny, laid):
    encoder, tokens = adapted(tiny("bert", "sequence", initializer_range=0.1)), laid([9, 3, 12])
    exact = encoder.encode(tokens)
    with torch.autocast("cpu", torch.bfloat16):
        rounded = encoder.encode(tokens)
    assert rounded.dtype == torch.bfloat16 and (rounded - exact).abs().mean() < 0.02


@pytest.mark.parametrize(("rslora", "factor"), [(False, 3 / 4), (True, 3 / math.sqrt(4))])
def test_an_adapter_adds_its_product_times_alpha_over_the_rank(rslora, factor, tiny):
    network = tiny("bert", "sequence")
    before = network.bert.encoder.layer[0].attention.self.query.weight.detach().clone()
    encoder = adapted(network, rank=4, alpha=3.0, use_rslora=rslora)
    layer = encoder.network.bert.encoder.layer[0].attention.self.query
    product = layer.lora_B["default"].weight @ layer.lora_A["default"].weight
    merge_adapters(encoder.network)
    merged = encoder.network.bert.encoder.layer[0].attention.self.query.weight
    assert_close(merged, before + factor * product)


def test_a_fresh_adapter_changes_no_answer(family, tiny, laid):
    encoder, tokens = Encoder(tiny(family, "sequence"), "sequence"), laid([9, 3])
    before = encoder.encode(tokens)
    add_lora(encoder, Lora())
    assert_close(encoder.encode(tokens), before, atol=1e-6, rtol=1e-5)


def test_the_head_and_what_begins_random_is_trained_and_the_body_is_not(family, tiny):
    network = tiny(family, "sequence")
    body = f"{network.base_model_prefix}."
    encoder = adapted(network)
    trained = {name for name, weight in network.named_parameters() if weight.requires_grad}
    heads = {name for name, _ in network.named_parameters() if not name.startswith(body)}
    pooler = {name for name, _ in network.named_parameters() if f"{body}pooler" in name}
    assert heads and trained == heads | pooler | {name for name in trained if "lora_" in name}
    layers = {name.partition(".lora_")[0] for name in trained if "lora_" in name}
    inside = [part for layer in encoder.get_layers() for part in layer.modules()]
    # all linear layers of all transformer layers, of which an adapter makes three
    assert len(layers) == sum(isinstance(part, torch.nn.Linear) for part in inside) / 3 >= 6


def test_tied_embeddings_stay_as_they_are_and_rows_for_new_tokens_learn(tiny):
    encoder = adapted(tiny("bert"), "masked_lm")
    assert "network.cls.predictions.decoder.weight" in find_frozen_names(encoder)
    assert "network.cls.predictions.bias" not in find_frozen_names(encoder)
    grown = Encoder(tiny("bert"), "masked_lm")
    grown.loaded_weights = LoadedWeights("folder", added_tokens=2)
    add_lora(grown, Lora())
    assert grown.network.get_input_embeddings().weight.requires_grad


@pytest.mark.parametrize("family", ["gpt2", "t5", "xlnet"])
def test_families_that_run_as_a_whole_are_adapted_and_merged(family, make, texts):
    """GPT-2 keeps the weights of its linear layers the other way round."""
    encoder = adapted(make(family, "sequence"))
    logits = encoder.compute_logits(texts)
    logits.square().sum().backward()
    gradients = adapter_gradients(encoder)
    assert len(gradients) >= 8
    assert all(gradient is not None for gradient in gradients.values())
    with_adapters = logits.detach()
    merge_adapters(encoder.network)
    assert not any("lora" in name for name, _ in encoder.named_parameters())
    with torch.no_grad():
        assert_close(encoder.compute_logits(texts), with_adapters, atol=2e-4, rtol=1e-4)


def test_an_adapter_beside_nothing_is_refused(tiny):
    with pytest.raises(UserError) as caught:
        adapted(tiny("bert"), "masked_lm", target_modules=[])
    assert str(caught.value) == (
        "model.adapter: there is no linear layer of 'bert' to put an adapter beside; "
        "model.adapter.target_modules=null takes all"
    )


def test_a_name_that_no_layer_has_is_refused_with_those_that_there_are(tiny):
    with pytest.raises(UserError, match=r"target_modules=querry: .*did you mean 'query'\?"):
        adapted(tiny("bert"), "masked_lm", target_modules=["querry"])


def test_the_saved_folder_is_an_ordinary_one(tiny, laid, padded, tmp_path):
    encoder = adapted(tiny("bert", "sequence"))
    tokens = laid([9, 3, 12])
    logits = encoder.compute_sequence_logits(encoder.encode_sequences(tokens))
    merge_adapters(encoder.network)
    encoder.save_pretrained(tmp_path)
    assert {path.name for path in tmp_path.iterdir()} == {"config.json", "model.safetensors"}
    assert "peft" not in (tmp_path / "config.json").read_text().lower()
    network, loading = AutoModelForSequenceClassification.from_pretrained(
        tmp_path, output_loading_info=True
    )
    assert not loading["missing_keys"] and not loading["unexpected_keys"]
    assert_close(network.eval()(**padded(network, tokens)).logits, logits, atol=1e-5, rtol=1e-5)


def model_config(encoder, **changes):
    settings = {"objective": Classification(), "optim": AdamW(lr=1e-4), "adapter": Lora()}
    return ModelConfig(encoder=encoder, **{**settings, **changes})


def test_what_does_not_go_with_an_adapter_is_refused_at_once():
    with pytest.raises(UserErrors) as caught:
        model_config(Scratch(layers=1, width=8, heads=1), freeze=1)
    assert str(caught.value).splitlines() == [
        "model.adapter: adapters are trained beside a pretrained body, and this one begins random; "
        "model/encoder=pretrained gives one, model.adapter=null trains the body itself",
        "model.freeze=1: an adapter leaves the whole body frozen already; model.freeze=nothing or "
        "model.adapter=null fits",
    ]


def test_the_package_that_makes_adapters_is_asked_for_before_the_run(monkeypatch, minilm):
    monkeypatch.setattr(adapter_config, "find_spec", lambda name: None)
    with pytest.raises(UserError) as caught:
        model_config(Pretrained(name_or_path=minilm)).check()
    assert str(caught.value) == (
        "model.adapter: adapters need the package peft, which is not installed; "
        "pip install -e '.[lora]'"
    )


def test_rates_are_those_of_adapters_and_checkpoints_hold_only_what_is_trained(
    tiny, facts, tmp_path
):
    tiny("bert").save_pretrained(tmp_path / "base")
    module = model_config(
        Pretrained(name_or_path=str(tmp_path / "base")), objective=MaskedLM()
    ).build()
    module.set_dataset_info(facts(), 4)
    module.configure_model()
    [*groups] = module.configure_optimizers()["optimizer"].param_groups
    assert {group["initial_lr"] for group in groups} == {2e-3}
    checkpoint = {"state_dict": module.state_dict()}
    module.on_save_checkpoint(checkpoint)
    assert len(checkpoint["state_dict"]) < 40
    assert not any("base_layer" in name for name in checkpoint["state_dict"])
    notices = module.describe_loading()
    assert notices.lines[-1].startswith("LoRA of rank 8 at 12 linear layers: ")
    whole = dict(module.state_dict())
    for value in checkpoint["state_dict"].values():
        value.add_(1.0) if value.is_floating_point() else None
    torch.save(checkpoint, tmp_path / "step=1.ckpt")
    again = model_config(
        Pretrained(name_or_path=str(tmp_path / "base")), objective=MaskedLM()
    ).build()
    again.set_dataset_info(facts(), 4)
    again.configure_model()
    again.load_weights(str(tmp_path / "step=1.ckpt"))
    assert_close(dict(again.state_dict()), whole)
    checkpoint["frozen_digest"] = "another"
    torch.save(checkpoint, tmp_path / "step=1.ckpt")
    with pytest.raises(UserError, match=r"are not those that the checkpoint's adapters"):
        again.load_weights(str(tmp_path / "step=1.ckpt"))
