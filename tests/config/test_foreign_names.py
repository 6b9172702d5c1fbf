"""Every argument of the installed Trainers has an answer, in each of its spellings; words, flags
and options of other programs have one too.
"""

import dataclasses
import inspect
import re
from typing import Any

import pytest
from lightning.pytorch import Trainer
from omegaconf import OmegaConf
from transformers import TrainingArguments

from src.config import foreign_options
from src.config.flag_errors import find_flag_errors
from src.config.foreign_keys import explain_foreign_key, leave_argument_node_out
from src.config.hydra_composition import compose_with_search
from src.config.override_errors import find_override_errors
from src.config.suggestions import unknown_key_error
from src.pipeline.run import read_task_schema


@pytest.fixture(scope="module")
def imdb() -> dict[str, Any]:
    config = OmegaConf.to_container(compose_with_search(["+experiment=imdb"]), resolve=False)
    assert isinstance(config, dict)
    return config  # type: ignore[return-value]


def _last_names(node: Any) -> set[str]:
    if not isinstance(node, dict):
        return set()
    return set(map(str, node)).union(*map(_last_names, node.values()))


def test_every_argument_of_the_trainers_is_answered(imdb: dict[str, Any]) -> None:
    names = [field.name for field in dataclasses.fields(TrainingArguments)]
    names += [name for name in inspect.signature(Trainer.__init__).parameters if name != "self"]
    ours = _last_names(imdb)
    unanswered = [
        name
        for name in names
        if name not in ours and not explain_foreign_key(f"trainer.{name}", "1", ())
    ]
    assert not unanswered
    for name in names:
        for typed in (name, f"training_args.{name}", f"trainer.args.{name}"):
            if typed not in imdb:
                assert "valid: " not in str(unknown_key_error(typed, imdb)), typed


@pytest.mark.parametrize(
    ("key", "plain"),
    [
        ("training_args.fp16", "fp16"),
        ("trainer.args.num_train_epochs", "trainer.num_train_epochs"),
        ("train.batch_size", "batch_size"),
        ("train", None),
        ("model.optim.lr", None),
    ],
)
def test_a_node_of_arguments_is_passed_over(key: str, plain: str | None) -> None:
    assert leave_argument_node_out(key) == plain


@pytest.mark.parametrize(
    ("key", "says"),
    [
        ("args.seed", "did you mean 'seed'?"),
        ("train.batch_size", "did you mean 'data.batching.batch_size'?"),
        ("paths.data_dir", "did you mean 'data.source.path'?"),
        ("paths.log_dir", "tracking.root="),
        ("extras.print_config", "--cfg job"),
        ("callbacks.checkpoint.save_top_k", "did you mean 'callbacks.checkpoint.keep'?"),
    ],
)
def test_the_last_name_counts(key: str, says: str, imdb: dict[str, Any]) -> None:
    assert says in str(unknown_key_error(key, imdb))


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("--epochs 3", "did you mean 'trainer.max_epochs=3'?"),
        ("--trainer.max_epochs=3", "did you mean 'trainer.max_epochs=3'?"),
        ("--model.lr=0.1", "did you mean 'model.optim.lr=0.1'?"),
        ("--gradient_checkpointing", "did you mean 'model.gradient_checkpointing=true'?"),
        ("--torch_compile", "did you mean 'trainer.compile=true'?"),
        ("--optim adafactor", "model/optim=adamw"),
        ("--config_name x", "model/encoder=base"),
        ("--list-experiments", "--help"),
        ("-V", "--version"),
        ("--resume", "did you mean 'resume=ID'?"),
        ("--experimental-rerun x", "python -m src.rerun"),
        ("-m --cfg job", "without -m"),
        ("--training_args.fp16=true", "trainer.precision="),
        ("--patience 3", "callbacks.early_stopping.patience=3'?"),
    ],
)
def test_a_flag_is_answered_like_a_key(typed: str, says: str) -> None:
    [error] = find_flag_errors(["+experiment=imdb", *typed.split()], read_task_schema())
    assert says in str(error)


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        (["imdb"], "did you mean '+experiment=imdb'?"),
        (["train"], "the word is left out"),
        (["version"], "--version"),
        (["resume"], "resume=ID"),
        (["run.yaml"], "--config-dir=FOLDER +experiment=run"),
        (["bert-base-uncased"], "model.encoder.name_or_path=bert-base-uncased"),
        (["server"], "python -m src.ui"),
        (["trainer.max_epochs", "3"], "did you mean 'trainer.max_epochs=3'?"),
        (["trainer.max_epochs:", "3"], "did you mean 'trainer.max_epochs=3'?"),
        (["trainer.max_epochs = 3"], "did you mean 'trainer.max_epochs=3'?"),
        (["trainer:max_epochs=3"], "did you mean 'trainer.max_epochs=3'?"),
        (["dataset=stanfordnlp/imdb"], "did you mean '+experiment=imdb'?"),
    ],
)
def test_a_word_is_answered(typed: list[str], says: str) -> None:
    [error] = find_override_errors(typed, read_task_schema())
    assert says in str(error)


@pytest.mark.parametrize(
    "answer",
    sorted(
        {
            answer
            for answers in foreign_options._OPTION_ANSWERS.values()
            for answer in answers.values()
        }
    ),
)
def test_what_an_answer_about_an_option_names_composes(answer: str) -> None:
    typed = re.findall(r"[\w./+]+=[\w./-]+", answer)
    # a device that is not here is another matter, and of two encoders one is chosen
    for text in typed:
        if text not in ("trainer=gpu", "trainer.accelerator=mps", "model/encoder=base"):
            others = [] if "name_or_path" not in text else typed
            errors = find_override_errors(
                ["+experiment=imdb", text, *others[1:]], read_task_schema()
            )
            assert not [error for error in errors if "no such" in str(error)]
