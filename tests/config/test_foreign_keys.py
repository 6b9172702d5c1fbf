"""Habits from other trainers are answered with what works here."""

import re

import pytest

from src.config import foreign_keys
from src.config.override_errors import find_override_errors
from src.pipeline.run import read_task_schema

_EXAMPLES = {
    "data.batching.row_tokens": "+experiment=mlm_imdb data.batching.row_tokens=64",
    "data.batching.mask_fraction": "+experiment=mlm_imdb data.batching.mask_fraction=0.3",
    "model.optim.schedule": "+experiment=imdb model.optim.schedule=cosine",
    "callbacks.checkpoint.monitor": "+experiment=imdb callbacks.checkpoint.monitor=val/f1_macro",
    "data.source.path": "+experiment=imdb data.source.path=FOLDER",
    "data.source.hub": "+experiment=imdb data.source.hub=owner/name",
    "data.source.config": "+experiment=imdb data.source.config=plain",
    "data.source.text": "+experiment=imdb data.source.text=body",
    "data.source.label": "+experiment=imdb data.source.label=stars",
    "tracking.uri": "+experiment=imdb tracking.uri=http://localhost:5000",
    "tracking.experiment": "+experiment=imdb tracking.experiment=mine",
    "name": "+experiment=imdb name=mine",
    "model.optim.warmup_fraction": "+experiment=imdb model.optim.warmup_fraction=0.1",
    "model.optim.lr": "+experiment=imdb model.optim.lr=1e-5",
    "model.optim.beta1": "+experiment=imdb model.optim.beta1=0.9",
    "model.optim.beta2": "+experiment=imdb model.optim.beta2=0.9",
    "model.optim.eps": "+experiment=imdb model.optim.eps=1e-8",
    "model.objective.label_smoothing": "+experiment=imdb model.objective.label_smoothing=0.1",
    "trainer.compile": "+experiment=imdb trainer.compile=null",
    "model.gradient_checkpointing": "+experiment=imdb model.gradient_checkpointing=true",
    "data.tokenizer.lowercase": "+experiment=mlm_imdb data.tokenizer.lowercase=true",
    "data.source.train": "+experiment=imdb data.source.train=train",
    "data.source.validation": "+experiment=imdb data.source.validation=null",
    "data.source.test": "+experiment=imdb data.source.test=test",
    "data.source.pair": "+experiment=stsb data.source.pair=b",
    "model.encoder.revision": "+experiment=imdb model.encoder.revision=main",
    "callbacks.early_stopping.patience": "+experiment=imdb callbacks=early_stopping "
    "callbacks.early_stopping.patience=7",
    "model.adapter.alpha": "+experiment=imdb model/adapter=lora model.adapter.alpha=7",
    "model.adapter.dropout": "+experiment=imdb model/adapter=lora model.adapter.dropout=0.1",
    "search.max_trials": "-m +experiment=imdb seed=1,2 search.max_trials=7",
    "search.jobs": "-m +experiment=imdb seed=1,2 search.jobs=2",
}


@pytest.mark.parametrize("name", sorted(foreign_keys._SAME_VALUE))
def test_the_key_that_is_named_takes_a_value(name: str) -> None:
    key = foreign_keys.find_same_key(name)
    assert key is not None
    assert foreign_keys.explain_foreign_key(name, "7") == f"did you mean '{key}=7'?"
    typed = _EXAMPLES.get(key, f"+experiment=imdb {key}=7")
    assert not find_override_errors(typed.split(), read_task_schema())


@pytest.mark.parametrize(
    ("experiment", "typed", "meant"),
    [
        ("imdb", "max_seq_length=64", "data.batching.max_tokens'?"),
        ("mlm_imdb", "max_seq_length=64", "data.batching.row_tokens'?"),
        (
            "imdb",
            "mlm_probability=0.2",
            "data.batching.mask_fraction'? (data/batching=masked|sentence_",
        ),
    ],
)
def test_the_key_depends_on_the_config(experiment: str, typed: str, meant: str) -> None:
    [error] = find_override_errors([f"+experiment={experiment}", typed], read_task_schema())
    assert meant in str(error)


@pytest.mark.parametrize("name", sorted(foreign_keys._ANSWERS))
def test_every_override_in_an_answer_composes(name: str) -> None:
    value = "3" if "patience" in name else "some-folder"
    answer = foreign_keys.explain_foreign_key(name, value)
    assert answer is not None
    # a resume composes nothing, and a prediction is another command
    plain = answer.partition("src.predict")[0].replace("resume=ID", "")
    typed = re.findall(r"[\w./+]+=[\w./-]+", plain)
    experiments = [text for text in typed if text.startswith("+experiment")]
    # those of a search want -m
    others = [
        text
        for text in typed
        if text not in experiments and text != "trainer=gpu" and not text.startswith("search")
    ]
    for experiment in experiments or ["+experiment=imdb"]:
        assert not find_override_errors([experiment, *others], read_task_schema())


def test_a_stage_is_no_count_of_rows() -> None:
    [error] = find_override_errors(
        ["+experiment=quickstart_scratch", "train=true"], read_task_schema()
    )
    assert str(error).endswith("a run trains, validates and tests by itself")


@pytest.mark.parametrize("key", ["model.optim.lr", "text", "hidden_size", "lr"])
def test_other_names_are_left_alone(key: str) -> None:
    assert foreign_keys.explain_foreign_key(key) is None


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("learning_rate=1e-5", "did you mean 'model.optim.lr'?"),
        ("trainer.gpus=1", "did you mean 'trainer.devices'?"),
        ("+trainer.fast_dev_run=true", "trainer.max_steps=5"),
        ("trainer.max_time=00:01:00", "trainer.max_minutes=60"),
        ("trainer.check_val_every_n_epoch=2", "trainer.val_check_steps=100"),
        ("hparams_search=mine", "-m search=learning_rate"),
        ("paths.log_dir=/tmp", "tracking.root=/ABSOLUTE/FOLDER"),
        ("model.optim.lr=loguniform(1e-5,1e-3)", "'model.optim.lr=tag(log, interval(1e-5,1e-3))'"),
        ("model.optim.lr=uniform(0,1)", "search.max_trials=20 'model.optim.lr=interval(0,1)'"),
        ("model.optim.lr=1e-5..1e-3", "search.max_trials=20 'model.optim.lr=interval(1e-5,1e-3)'"),
        ("logger=wandb", "every run is tracked in MLflow"),
        ("model/encoder=bert-base-uncased", "model.encoder.name_or_path=bert-base-uncased"),
        ("model.optim.lr=1e-5:1e-3", "search.max_trials=20 'model.optim.lr=interval(1e-5,1e-3)'"),
        ("trainer.max_steps=10:50", "'trainer.max_steps=int(interval(10,50))'"),
        ("name=~/x.csv", "it is typed 'name=\"~/x.csv\"'"),
        ("matmul_precision=high", "trainer.precision=bf16"),
        ("+trainer.matmul_precision=high", "trainer.precision=bf16"),
        ("trainer.benchmark=true", "no convolutions"),
        ("trainer.profiler=simple", "python -m cProfile"),
        ("trainer.detect_anomaly=true", "trainer.on_non_finite=skip"),
        ("trainer.enable_checkpointing=false", "callbacks.checkpoint=null"),
        ("trainer.callbacks=[]", "+callbacks.NAME._target_=lightning.pytorch.callbacks."),
        ("trainer.default_root_dir=x", "tracking.root=/ABSOLUTE/FOLDER"),
        ("name=a/year=2024", "it is typed 'name=\"a/year=2024\"'"),
        ("model=bert-base-uncased", "model.encoder.name_or_path=bert-base-uncased"),
        ("model.encoder=bert-base-uncased", "model.encoder.name_or_path=bert-base-uncased"),
        ("model.name_or_path=x", "model.encoder.name_or_path=x"),
        ("model.pretrained=x", "model.encoder.name_or_path=x"),
        ("data=in/reviews.csv", "data is given as data.source.path=in/reviews.csv"),
        ("in/my reviews.csv", "data is given as 'data.source.path=in/my reviews.csv'"),
        ("trainer.devices=[0]", "CUDA_VISIBLE_DEVICES=0,1"),
        ("trainer.val_check_steps=0.5", "it counts optimizer steps, and is no share of an epoch"),
        ("data.batching.batch_size=auto", "in memory and time, python -m src.plan tells"),
        ("trainer.limit_batches=1.0", "it counts batches, and is no share of them; null takes all"),
        ("trainer.max_steps=10.000", "trainer.max_steps=10000 (or 10, whose fraction is zero)?"),
        ("trainer.max_steps=1.234.000", "did you mean trainer.max_steps=1234000?"),
        ("trainer.max_steps=10.500", "did you mean trainer.max_steps=10500?"),
        ("trainer.max_steps=10.0", "did you mean 10?"),
        ("model.optim.lr=1e\u20134", "did you mean model.optim.lr=1e-4?"),
        ("model.optim.lr=5*10^-5", "did you mean model.optim.lr=5e-5?"),
        ("model.optim.lr=1e-4;", "did you mean model.optim.lr=1e-4?"),
        ("seed=2 name=x", "without quotes around all of them it is seed=2 name=x"),
    ],
)
def test_a_habit_is_answered(typed: str, says: str) -> None:
    [error] = find_override_errors(["+experiment=imdb", typed], read_task_schema())
    assert says in str(error)


@pytest.mark.parametrize(
    ("typed", "meant"),
    [("search/sampler=bayes", "tpe"), ("search/pruner=ASHA", "halving")],
)
def test_options_that_others_call_otherwise(typed: str, meant: str) -> None:
    arguments = ["-m", typed, "search.max_trials=2", "model.optim.lr=interval(1e-5,1e-3)"]
    errors = find_override_errors(arguments, read_task_schema())
    assert f"there is no such choice; did you mean '{meant}'?" in str(errors[0])
