"""Whether the weights that lie in a folder have the shapes that its config.json asks for."""

from collections.abc import Iterable
from pathlib import Path

from transformers import PreTrainedModel

from src.core.formatting import format_quantity
from src.core.user_errors import UserError
from src.model.layer_stack import find_body_prefix


def check_stored_shapes(network: PreTrainedModel, files: Iterable[Path], key: str) -> None:
    """Raise UserError if tensors of the body are stored in another shape. Reads headers alone.

    Args:
        network: as config.json makes it, with or without values.
        files: safetensors files, in the folder of config.json.
        key: the config key that names the folder.
    """
    from safetensors import safe_open

    prefix = find_body_prefix(network)
    shapes = {name: list(tensor.shape) for name, tensor in network.state_dict().items()}
    differing: dict[str, tuple[list[int], list[int]]] = {}
    folder = Path()
    for file in files:
        folder = file.parent
        with safe_open(file, framework="numpy") as stored:
            for name in stored.keys():  # noqa: SIM118
                # a body by itself is stored without the prefix
                full = name if name in shapes else prefix + name
                found = stored.get_slice(name).get_shape()
                is_body = full.startswith(prefix) and not full.startswith(f"{prefix}pooler")
                if is_body and shapes.get(full, found) != found:
                    differing[full] = found, shapes[full]
    if differing:
        name = min(differing)
        found, wanted = differing[name]
        raise UserError(
            f"does not fit the stored weights: {name} has shape {found} and should have {wanted}, "
            f"{format_quantity(len(differing), 'tensor')} in all",
            where=folder / "config.json",
            key=key,
        )
