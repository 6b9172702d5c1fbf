"""Top layers that begin random, and all others that do not."""

import pytest
import torch

from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained


def build(folder, facts, **arguments):
    return Pretrained(name_or_path=str(folder), **arguments).build("masked_lm", facts(), ())


def test_only_the_topmost_layers_begin_random(family, tiny, facts, tmp_path):
    if family == "albert":
        pytest.skip("its layers share their weights, as the next test has it")
    stored = Encoder(tiny(family, initializer_range=0.3), "masked_lm")
    stored.save_pretrained(tmp_path)
    encoder = build(tmp_path, facts, reinit_layers=1)
    *kept, top = zip(stored.get_layers(), encoder.get_layers(), strict=True)
    for before, after in kept:
        assert all(
            torch.equal(value, after.state_dict()[name])
            for name, value in before.state_dict().items()
        )
    # matrices are drawn, biases 0 and norms 1 again
    for (name, before), after in zip(top[0].named_parameters(), top[1].parameters(), strict=True):
        assert not torch.equal(before, after), name
        assert after.ndim > 1 or after.detach().unique().tolist() in ([0.0], [1.0]), name
    notices = encoder.describe_loading()
    assert notices.lines and "random to begin with: " in notices.lines[0]
    fresh = len(list(top[1].parameters()))
    assert f"({fresh} tensors)" in notices.tags["model/fresh"]


@pytest.mark.parametrize(
    ("family", "count", "there"), [("bert", 2, 2), ("albert", 1, 1)], ids=["bert", "albert"]
)
def test_a_layer_must_be_left(family, count, there, tiny, facts, tmp_path):
    Encoder(tiny(family), "masked_lm").save_pretrained(tmp_path)
    with pytest.raises(UserError) as caught:
        build(tmp_path, facts, reinit_layers=count)
    assert str(caught.value) == (
        f"model.encoder.reinit_layers={count}: leaves nothing of what was learnt in the layers: "
        f"expected fewer than the {there} layers of '{family}'"
    )


def test_layers_that_begin_random_are_not_frozen(tiny, facts, tmp_path):
    Encoder(tiny("bert"), "masked_lm").save_pretrained(tmp_path)
    encoder = build(tmp_path, facts, reinit_layers=1)
    assert encoder.freeze_modules(1)
    with pytest.raises(UserError) as caught:
        encoder.freeze_modules(2)
    assert str(caught.value) == (
        "model.freeze: 2 layers are to be frozen, but some of them begin random "
        "(model.encoder.reinit_layers)"
    )
