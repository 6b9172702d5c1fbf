"""Top layers of a pretrained encoder that begin random."""

import copy

from src.core.user_errors import UserError
from src.model.encoder import Encoder
from src.model.model_classes import find_model_class

REINIT_KEY = "model.encoder.reinit_layers"


def reinit_top_layers(encoder: Encoder, count: int, key: str) -> None:
    """Give the topmost layers the random weights that a fresh encoder would have, in place, from
    torch's global generator. What begins random is noted in `encoder.loaded_weights`.

    Args:
        count: of the layers.
        key: the config key of it, for the message.

    Raises UserError if there are not more layers than that.
    """
    layers = encoder.get_layers()
    if count >= len(layers):
        raise UserError(
            "leaves nothing of what was learnt in the layers",
            key=key,
            value=count,
            expected=f"fewer than the {len(layers)} layers of '{encoder.config.model_type}'",
        )
    # transformers skips weights that it has loaded, so a whole fresh network gives its layers
    network = find_model_class(encoder.head, encoder.config.model_type).from_config(
        copy.deepcopy(encoder.config)
    )
    fresh = Encoder(network, encoder.head).get_layers()
    for layer, source in zip(layers[-count:], fresh[-count:], strict=True):
        layer.load_state_dict(source.state_dict())
    parts = {parameter for layer in layers[-count:] for parameter in layer.parameters()}
    names = [name for name, weight in encoder.network.named_parameters() if weight in parts]
    assert encoder.loaded_weights is not None
    missing = sorted({*encoder.loaded_weights.missing, *names})
    encoder.loaded_weights = encoder.loaded_weights._replace(missing=tuple(missing))
