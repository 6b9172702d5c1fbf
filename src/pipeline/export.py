"""The model artifact of a run: a Hugging Face folder, and how texts are prepared for it."""

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from src.core.dataset_info import TEXT_TASKS

if TYPE_CHECKING:
    from src.data.tokenization.tokenizer import TextTokenizer
    from src.model.decision_rule import DecisionRule
    from src.model.encoder import Encoder

# Beside Hugging Face's files; holds cleaning, length and truncation of texts for `src.predict`.
INFERENCE_CONFIG_NAME = "palimpsest.json"


@contextmanager
def save_model(
    encoder: "Encoder",
    tokenizer: "TextTokenizer",
    inference_config: Mapping[str, Any],
    decision_rule: "DecisionRule | None" = None,
) -> Iterator[Path]:
    """Yield a temporary folder with weights, config and tokenizer for `from_pretrained`. Adapters
    are added into the weights for good. A README.md says so where transformers' own model gives
    other answers.

    Args:
        inference_config: how texts are prepared (`describe_preprocessing` of the data), written as
            `palimpsest.json` with the kind of the head.
        decision_rule: temperature and thresholds, if the run has fitted any.
    """
    from src.model.adapters import merge_adapters
    from src.model.text_pooling import describe_pooling

    with tempfile.TemporaryDirectory() as temporary_folder:
        folder = Path(temporary_folder)
        merge_adapters(encoder.network)
        encoder.save_pretrained(folder)
        # where texts are cut as in training the answers are the same; an encoder without a task
        # may be trained on longer texts later
        is_judge = inference_config["task"] not in TEXT_TASKS
        limits = [encoder.max_tokens, inference_config["max_tokens"] if is_judge else None]
        tokenizer.save(
            folder,
            max_tokens=min((limit for limit in limits if limit is not None), default=None),
            has_token_types=encoder.has_token_types,
            padding_side=encoder.padding_side,
            truncation=inference_config["truncation"],
        )
        (folder / INFERENCE_CONFIG_NAME).write_text(
            json.dumps({**inference_config, "head": encoder.head}, ensure_ascii=False, indent=2),
            encoding="utf-8",
        )
        if decision_rule is not None:
            decision_rule.write(folder)
        if lines := describe_pooling(encoder.network).lines:
            (folder / "README.md").write_text("\n".join(lines) + "\n", encoding="utf-8")
        _apply_umask(folder)
        yield folder


def _apply_umask(folder: Path) -> None:
    """Give a folder the rights that the user's other new files have. A temporary folder, and the
    file that the library of the weights writes, are open to their owner alone.
    """
    umask = os.umask(0o077)
    os.umask(umask)
    for path in (folder, *folder.rglob("*")):
        path.chmod((0o777 if path.is_dir() else 0o666) & ~umask)
