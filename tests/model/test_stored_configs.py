"""What config.json may ask for of transformers, and what is loaded, refused and saved again."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src.core.dataset_info import DatasetInfo
from src.core.user_errors import UserError
from src.model.encoder_config import Pretrained
from tests.faults.models import sound


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return sound(tmp_path_factory.mktemp("sound"))


def write_config(folder: Path, **changes: Any) -> Path:
    """A copy of the folder whose config.json has these entries."""
    target = folder.with_name("-".join(changes))
    target.mkdir()
    for file in folder.iterdir():
        (target / file.name).hardlink_to(file)
    settings = json.loads((folder / "config.json").read_text()) | changes
    (target / "config.json").unlink()
    (target / "config.json").write_text(json.dumps(settings))
    return target


@pytest.mark.parametrize(
    "changes",
    [
        {"output_attentions": True},
        {"output_hidden_states": True},
        {"return_dict": False},
        {"torchscript": True},
        {"_attn_implementation": "flash_attention_2"},
    ],
)
def test_what_a_forward_gives_besides_is_not_saved(
    changes: dict[str, Any], folder: Path, tmp_path: Path, facts: Callable[..., DatasetInfo]
) -> None:
    source = write_config(folder, **changes)
    known = facts(vocab_size=47, max_tokens=16, label_names=("no", "yes"))
    encoder = Pretrained(name_or_path=str(source)).build("sequence", known, ("no", "yes"))
    encoder.save_pretrained(tmp_path / "saved")
    saved = json.loads((tmp_path / "saved" / "config.json").read_text())
    assert not saved.get("output_attentions") and not saved.get("output_hidden_states")


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({"position_embedding_type": "relative_key"}, "which transformers 5 computes no longer"),
        ({"quantization_config": {"quant_method": "gptq", "bits": 4}}, "rounded to a few bits"),
    ],
)
def test_what_would_be_passed_over_is_refused(
    changes: dict[str, Any], said: str, folder: Path
) -> None:
    with pytest.raises(UserError, match=said):
        Pretrained(name_or_path=str(write_config(folder, **changes))).check("sequence", 16)
