"""What is said of a folder that is no Hugging Face folder: an adapter, or a folder around some."""

import json
from pathlib import Path

import pytest

from src.core.model_folders import explain_missing_config

KEY = "model.encoder.name_or_path"
MERGE = (
    "merge the two first, with merge_and_unload() and save_pretrained(FOLDER) of peft, or give the "
    f"encoder alone: {KEY}=org/base"
)


def _put(folder: Path, **files: object) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, content in files.items():
        (folder / f"{name}.json").write_text(json.dumps(content))


@pytest.mark.parametrize("inner", ["", "checkpoint-6"])
def test_an_adapter_is_told_with_its_encoder(tmp_path: Path, inner: str) -> None:
    _put(tmp_path / "checkpoint-3")
    _put(tmp_path / inner, adapter_config={"base_model_name_or_path": "org/base"})
    assert str(explain_missing_config(tmp_path, KEY)) == (
        f"{KEY}: {tmp_path / inner} holds an adapter of org/base (adapter_config.json) and no "
        f"encoder; {MERGE}"
    )
    _put(tmp_path / inner, adapter_config=["broken"])
    assert "an adapter of another encoder" in str(explain_missing_config(tmp_path, KEY))


@pytest.mark.parametrize(
    ("folders", "named", "count"),
    [
        (["checkpoint-6", "checkpoint-12", "checkpoint-9"], "checkpoint-12", 3),
        (["0_Transformer"], "0_Transformer", 1),
        (["snapshots/0f1e"], "snapshots/0f1e", 1),
    ],
)
def test_the_folder_inside_is_named(
    tmp_path: Path, folders: list[str], named: str, count: int
) -> None:
    for name in folders:
        _put(tmp_path / name, config={"model_type": "bert"})
    # of sentence-transformers: no encoder's
    _put(tmp_path / "1_Pooling", config={"word_embedding_dimension": 8})
    others = f", one of {count} in it," if count > 1 else ""
    assert str(explain_missing_config(tmp_path, KEY)) == (
        f"{KEY}: {tmp_path} holds no config.json, so it is no Hugging Face folder; "
        f"{KEY}={tmp_path / named}{others} does"
    )


def test_nothing_is_proposed_where_nothing_is(tmp_path: Path) -> None:
    _put(tmp_path / "logs", trainer_state={})
    said = str(explain_missing_config(tmp_path, KEY))
    assert said.endswith(f"{tmp_path} holds no config.json, so it is no Hugging Face folder")
