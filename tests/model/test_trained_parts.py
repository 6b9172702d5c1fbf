"""What an encoder refuses is known from its config.json, before any weights are read."""

from pathlib import Path

import pytest
from transformers import AutoConfig

from src.core.user_errors import UserError
from src.model.adapter_config import Lora
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained
from src.model.model_classes import AUTO_MODEL_CLASSES
from src.model.model_config import ModelConfig
from src.model.objectives.causal_lm import CausalLM
from src.model.objectives.classification import Classification
from src.model.optim import AdamW, Muon
from src.model.regularization import Regularization
from tests.model.conftest import TINY, VOCABULARY

# family, what the config asks for, and the answer, which FOLDER is the folder of
REFUSED = {
    "mixed texts without vectors": (
        "gpt2",
        {"objective": Classification(mixup=0.2)},
        "model.objective.mixup: the family 'gpt2' runs as a whole, so that its texts have no "
        "vectors to mix: expected null",
    ),
    "two passes without dropout": (
        "bert",
        {"objective": Classification(r_drop=0.5), "encoder": {"dropout": 0.0}},
        "model.objective.r_drop=0.5: two passes are the same where nothing is dropped; "
        "model.encoder.dropout=0.1 drops a tenth",
    ),
    "more frozen layers than there are": (
        "gpt2",
        {"freeze": 3},
        "model.freeze: 3 layers are to be frozen, but the encoder has 2",
    ),
    "layers that begin random are frozen": (
        "bert",
        {"freeze": 2, "encoder": {"reinit_layers": 1}},
        "model.freeze: 2 layers are to be frozen, but some of them begin random "
        "(model.encoder.reinit_layers)",
    ),
    "no layer is left": (
        "bert",
        {"encoder": {"reinit_layers": 2}},
        "model.encoder.reinit_layers=2: leaves nothing of what was learnt in the layers: expected "
        "fewer than the 2 layers of 'bert'",
    ),
    "an adapter beside no layer": (
        "bert",
        {"adapter": Lora(rank=2, alpha=4.0, target_modules=["q_proj"])},
        "model.adapter.target_modules=q_proj: the layers of 'bert' have no linear layer of this "
        "name; valid: dense, key, query, value",
    ),
    "nothing for the optimizer": (
        "bert",
        {"optim": Muon(lr=1e-3), "freeze": "encoder"},
        "model/optim=muon finds no whole weight matrix to train in the body: it is frozen "
        "(model.freeze) or split among devices (trainer.strategy=fsdp); model/optim=adamw would "
        "train",
    ),
    "rates by unknown layers": (
        "xlm",
        {"optim": AdamW(lr=1e-3, layer_decay=0.9)},
        "the layers of the family 'xlm' are not known to this program, so they cannot be frozen or "
        "trained one by one (model.freeze, model.optim.layer_decay)",
    ),
    "recomputation that transformers does not have": (
        "xlm",
        {"gradient_checkpointing": True},
        "model.gradient_checkpointing=true: transformers cannot do this for the family 'xlm': "
        "expected false",
    ),
    "a head for texts": (
        "gpt2",
        {"objective": CausalLM(), "encoder": {"head": "keep"}},
        "model.encoder.head=keep: there is a head to keep or to renew for labels and numbers only: "
        "expected auto",
    ),
    "the next token is seen": (
        "mpnet",
        {"objective": CausalLM(), "lean": False},
        "model.encoder: the family 'mpnet' is kept to one direction by this program's own "
        "arithmetic, which model.lean=false, trainer=fsdp and a convolution beside the first layer "
        "leave out; its tokens would see the one that they are to predict",
    ),
}


def _make_network(family, tiny):
    if family not in TINY:
        return tiny(family, "sequence")
    config = AutoConfig.for_model(family, vocab_size=VOCABULARY, pad_token_id=0, **TINY[family][0])
    return AUTO_MODEL_CLASSES["sequence"].from_config(config)


def _make_config(folder: Path, settings: dict) -> ModelConfig:
    encoder = Pretrained(name_or_path=str(folder), **settings.get("encoder", {}))
    given = {name: value for name, value in settings.items() if name != "encoder"}
    return ModelConfig(
        **{"objective": Classification(), "optim": AdamW(lr=1e-3)} | given, encoder=encoder
    )


@pytest.mark.parametrize("name", REFUSED)
def test_what_a_network_refuses_is_known_before_its_weights_are_read(name, tiny, tmp_path):
    family, settings, says = REFUSED[name]
    Encoder(_make_network(family, tiny), "sequence").save_pretrained(tmp_path)
    with pytest.raises(UserError) as caught:
        _make_config(tmp_path, settings).check()
    assert str(caught.value) == says.replace("FOLDER", str(tmp_path))


def test_whatever_a_network_can_do_passes(tiny, tmp_path):
    Encoder(tiny("bert", "sequence"), "sequence").save_pretrained(tmp_path)
    for settings in (
        {"freeze": 1, "gradient_checkpointing": True},
        {"objective": Classification(mixup=0.2), "encoder": {"pooling": "attention"}},
        {"objective": Classification(r_drop=0.2), "encoder": {"dropout": 0.1}},
        {"adapter": Lora(rank=2, alpha=4.0)},
        {"optim": Muon(lr=1e-3, layer_decay=0.9), "encoder": {"reinit_layers": 1}},
        {"regularization": Regularization(mixout=0.1, l2_sp=0.1)},
    ):
        _make_config(tmp_path, settings).check(max_tokens=16)


def test_what_a_network_without_known_layers_can_do_passes(tiny, tmp_path):
    Encoder(_make_network("xlm", tiny), "sequence").save_pretrained(tmp_path)
    _make_config(tmp_path, {"regularization": Regularization(l2=0.1)}).check()
