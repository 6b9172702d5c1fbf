"""The model that a run leaves: an ordinary Hugging Face folder, and how its texts were read."""

import json
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from src.data.tokenizer import TextTokenizer
    from src.model.encoder import Encoder

READING = "palimpsest.json"  # beside Hugging Face's files: cleaning, length and truncation, for `src.predict`


@contextmanager
def save_model(encoder: "Encoder", tokenizer: "TextTokenizer", reading: Mapping[str, Any]) -> Iterator[Path]:
    """A temporary folder with weights, config and tokenizer; `AutoModel.from_pretrained` opens it."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place)
        encoder.save(folder)
        tokenizer.save(folder)
        (folder / READING).write_text(json.dumps(reading, ensure_ascii=False, indent=2), encoding="utf-8")
        yield folder
