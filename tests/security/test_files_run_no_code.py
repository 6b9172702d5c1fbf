"""A model folder, checkpoint, cache or data set from elsewhere is read, never run."""

import json
import pickle
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import BertConfig, BertForSequenceClassification

from src.core.dataset_info import DatasetInfo
from src.core.user_errors import UserError
from src.data.cache import ContentCache
from src.data.preparation.corpus_survey import CorpusSurvey
from src.data.reading import hub
from src.data.reading.sources import Source
from src.data.tokenization.token_store import TokenStore
from src.data.tokenization.tokenizer import PretrainedTokenizer, WordPiece
from src.model.encoder import Encoder
from src.model.encoder_config import Pretrained
from src.model.stored_encoder import load_encoder
from src.pipeline.prediction.predictor import Predictor
from src.training import checkpoint_files

FACTS = DatasetInfo(
    vocab_size=50,
    pad_id=0,
    mask_id=4,
    special_ids=(0, 1, 2, 3, 4),
    max_tokens=16,
    label_names=("no", "yes"),
    batches_per_epoch=1,
    sample_tokens={},
)
CONFIG = BertConfig(
    vocab_size=50, hidden_size=8, num_hidden_layers=1, num_attention_heads=1, intermediate_size=8
)
CODE = "import os\nos.mkdir({trace!r})\nfrom transformers import {names}\n"
PICKLES: list[Callable[[Any, Any, Path], object]] = [
    lambda weights, exploit, file: torch.save(weights | {"x": exploit}, file),
    lambda weights, exploit, file: torch.save(
        weights | {"x": exploit}, file, _use_new_zipfile_serialization=False
    ),
    lambda weights, exploit, file: file.write_bytes(pickle.dumps(exploit)),
]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """An honest Hugging Face folder, with a tokenizer, and as `src.predict` wants it."""
    place = tmp_path / "model"
    BertForSequenceClassification(CONFIG).save_pretrained(place)
    WordPiece(vocab_size=100, min_frequency=1).load_tokenizer(
        lambda: ["a b"], "tiny", ContentCache(tmp_path / "cache")
    ).save(place, max_tokens=16, has_token_types=True)
    reading = {
        "task": "classification",
        "label_names": ["no", "yes"],
        "cleaning": {},
        "max_tokens": 16,
    }
    (place / "palimpsest.json").write_text(json.dumps(reading))
    return place


def changed(file: Path, **entries: object) -> None:
    file.write_text(json.dumps(json.loads(file.read_text()) | entries))


def built(folder: Path) -> Encoder:
    return Pretrained(name_or_path=str(folder)).build("sequence", FACTS, ("no", "yes"))


# torch's own about old formats
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("planted", range(len(PICKLES)))
def test_weights_in_a_pickle_are_tensors_or_refused(
    folder: Path, exploit: Any, planted: int
) -> None:
    (folder / "model.safetensors").unlink()
    weights = BertForSequenceClassification(CONFIG).state_dict()
    torch.save(weights, folder / "pytorch_model.bin")
    assert isinstance(built(folder), Encoder)
    PICKLES[planted](weights, exploit, folder / "pytorch_model.bin")
    for load in (lambda: built(folder), lambda: load_encoder(folder, "sequence")):
        with pytest.raises(
            UserError, match="its weights are a pickle that holds more than tensors"
        ):
            load()


def test_code_in_a_model_folder_is_passed_over_or_refused(folder: Path, trace: Path) -> None:
    names = "BertConfig, BertForSequenceClassification, PreTrainedTokenizerFast"
    for part in ("configuration", "modeling", "tokenization"):
        (folder / f"{part}_evil.py").write_text(CODE.format(trace=str(trace), names=names))
    ways = {
        "AutoConfig": "configuration_evil.BertConfig",
        "AutoModel": "modeling_evil.BertForSequenceClassification",
        "AutoModelForSequenceClassification": "modeling_evil.BertForSequenceClassification",
        "AutoTokenizer": ["tokenization_evil.PreTrainedTokenizerFast"] * 2,
    }
    changed(folder / "config.json", auto_map=ways)
    changed(folder / "tokenizer_config.json", auto_map=ways)
    # of transformers, not of the folder
    assert isinstance(built(folder).network, BertForSequenceClassification)
    assert isinstance(Predictor(folder, precision="fp32").encoder, Encoder)
    changed(folder / "config.json", model_type="evil")
    changed(folder / "tokenizer_config.json", tokenizer_class="EvilTokenizer")
    said = "cannot be opened without running the Python code that it brings"
    with pytest.raises(UserError, match=rf"{said} .*\(model.encoder.name_or_path\)"):
        built(folder)
    with pytest.raises(UserError, match=rf"{said} .*\(run\)"):
        Predictor(folder, precision="fp32")


def test_code_of_a_tokenizer_is_refused(folder: Path, trace: Path, tmp_path: Path) -> None:
    (folder / "tokenization_evil.py").write_text(
        CODE.format(trace=str(trace), names="PreTrainedTokenizerFast")
    )
    way = {"AutoTokenizer": ["tokenization_evil.Evil", "tokenization_evil.Evil"]}
    changed(folder / "tokenizer_config.json", auto_map=way, tokenizer_class="Evil")
    changed(folder / "config.json", model_type="evil")
    with pytest.raises(
        UserError, match="cannot be opened without running the Python code that it brings"
    ):
        PretrainedTokenizer(name_or_path=str(folder)).load_tokenizer(
            list, "", ContentCache(tmp_path)
        )


@pytest.mark.parametrize("key", ["attn_implementation", "_attn_implementation"])
def test_a_folder_does_not_choose_kernels_of_the_hub(folder: Path, key: str) -> None:
    changed(folder / "config.json", **{key: "evil/kernel"})
    for encoder in (built(folder), load_encoder(folder, "sequence")):
        assert "/" not in str(encoder.config._attn_implementation)


def test_a_chat_template_is_kept_as_text(folder: Path, trace: Path) -> None:
    template = "{{ cycler.__init__.__globals__.os.mkdir('" + str(trace) + "') }}"
    (folder / "chat_template.jinja").write_text(template)
    assert Predictor(folder, precision="fp32").tokenizer.huggingface.chat_template == template


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("planted", range(len(PICKLES)))
def test_a_checkpoint_with_code_is_refused(tmp_path: Path, exploit: Any, planted: int) -> None:
    file = tmp_path / "step=1.ckpt"
    PICKLES[planted]({checkpoint_files.DESCRIPTION_KEY: {}, "state_dict": {}}, exploit, file)
    with pytest.raises(
        ValueError, match="was not written by this program: it holds more than tensors"
    ):
        checkpoint_files.read_checkpoint_description(file)


def test_a_cache_with_pickled_arrays_or_paths_is_refused(tmp_path: Path, exploit: Any) -> None:
    np.save(tmp_path / "train_places.npy", np.array([exploit], dtype=object), allow_pickle=True)
    (tmp_path / "about.json").write_text("{}")
    with pytest.raises(ValueError, match="object"):
        CorpusSurvey.load(tmp_path)
    sound = {
        "ids": "uint16",
        "offsets": "int64",
        "begins": "int32",
        "targets": "int64",
        "identities": "int64",
    }
    for columns in (sound | {"ids": "O"}, sound | {"../../secret": "int64"}, {"ids": "uint16"}):
        (tmp_path / "store.json").write_text(json.dumps({"columns": columns, "cut": 0}))
        with pytest.raises(UserError, match=r"store.json is broken"):
            TokenStore.open(tmp_path)


def test_a_data_sets_loading_script_is_not_run(
    tmp_path: Path, trace: Path, exploit: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(hub, "call_with_timeout", _unreachable)
    for name in ("evil", "pickled"):
        (tmp_path / name).mkdir()
    (tmp_path / "evil" / "evil.py").write_text(CODE.format(trace=str(trace), names="BertConfig"))
    (tmp_path / "pickled" / "train.pkl").write_bytes(pickle.dumps(exploit))
    with pytest.raises(
        UserError, match=r"found evil.py; the code that a data set brings is not run"
    ):
        Source(hub="evil").available_splits()
    with pytest.raises(UserError, match="No .*data files found in pickled"):
        Source(hub="pickled").available_splits()


def _unreachable(seconds: float, call: Callable[[], object]) -> None:
    raise ConnectionError("no network in tests")
