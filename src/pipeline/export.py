"""The model artifact of a run: a Hugging Face folder, and how texts are prepared for it."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.data.tokenizer import TextTokenizer
    from src.model.encoder import Encoder

# Beside Hugging Face's files; holds cleaning, length and truncation of texts for `src.predict`.
INFERENCE_CONFIG_NAME = "palimpsest.json"


@contextmanager
def save_model(
    encoder: "Encoder", tokenizer: "TextTokenizer", inference_config: Mapping[str, Any]
) -> Iterator[Path]:
    """Yield a temporary folder with weights, config and tokenizer for `from_pretrained`.

    Args:
        inference_config: how texts are prepared ("truncation" must be there), written as
            `palimpsest.json`.
    """
    with tempfile.TemporaryDirectory() as temporary_folder:
        folder = Path(temporary_folder)
        encoder.save_pretrained(folder)
        tokenizer.save(
            folder,
            max_tokens=encoder.max_tokens,
            has_token_types=encoder.has_token_types,
            truncation=inference_config["truncation"],
        )
        (folder / INFERENCE_CONFIG_NAME).write_text(
            json.dumps(inference_config, ensure_ascii=False, indent=2), encoding="utf-8"
        )
        yield folder
