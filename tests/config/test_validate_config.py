"""A person's mistakes on the command line: what is said, and that nothing else happens."""

import json
import os
import subprocess
import sys
from collections.abc import Mapping
from typing import Any

import pytest

from src.config.build_nodes import Parameter, Schema
from src.config.groups import list_options
from src.config.rules import find_rule_errors
from src.config.validate_config import validate_config
from src.core.files import CONF
from src.core.user_errors import UserError, UserErrors
from src.pipeline.run import read_task_schema

PROJECT = CONF.parent
LABELS = (
    "+experiment, callbacks, data, fork, init_from, model, name, phases, preset, register, "
    "register_alias, report, resume, seed, tags, tracking, trainer"
)
ROOMS = "src., lightning., torch., torchmetrics., transformers."
MODELS = ", ".join(list_options("model"))
EXPERIMENTS = ", ".join(list_options("experiment"))
MLM = "model=masked_lm data=generated_text "
TEXTS = "data=files_text|generated_text|imdb_text|wikitext"

# What is typed, and every line of the answer.
SAID: dict[str, list[str]] = {
    "report.threshold_aim=recall": [
        "report.threshold_aim=recall: expected f1 (or f0.5, f2 and so on), balanced_accuracy or "
        "precision_0.9"
    ],
    "model=ordinal report.threshold_aim=f1": [
        "report.threshold_aim=f1: thresholds are for models that give every label a probability "
        "and choose the likeliest, or all above 0.5; report.threshold_aim=null fits"
    ],
    # names that are not there
    "model.optim.lrr=1": ["model.optim.lrr: there is no such key; did you mean 'lr'?"],
    "+typo=1": [f"typo: there is no such key; valid: {LABELS}"],
    "+model.typo=1": [
        "model.typo: there is no such key; valid: adapter, encoder, freeze, fresh_embeddings, "
        "gradient_checkpointing, lean, metrics, objective, optim, regularization"
    ],
    "typo=1": [
        "typo: there is no such key; valid: callbacks, data, experiment, model, name, preset, "
        "report, seed, tracking, trainer"
    ],
    "lr=1e-4 batch_size=16": [
        "lr: there is no such key; did you mean 'model.optim.lr'?",
        "batch_size: there is no such key; did you mean 'data.batching.batch_size'?",
    ],
    "model/optim/lr=1": ["model/optim/lr: there is no such key; did you mean 'model.optim.lr'?"],
    "model.optim.lr.x=1": ["model.optim.lr.x: there is no such key; model.optim.lr is a value"],
    "data.batching.mask_fraction=0.3": [
        "data.batching.mask_fraction: there is no such key; "
        "data/batching=masked|sentence_pairs has it"
    ],
    "+model.optim._partial_=true": [
        "model.optim._partial_: there is no such key; valid: "
        "beta1, beta2, decay_fraction, decay_shape, eps, head_lr, layer_decay, lr, schedule, "
        "warmup_fraction, weight_decay"
    ],
    # choices that are not there
    "model=foo trainer=gpuu model/encoder=tinyy": [
        f"model=foo: there is no such choice; valid: {MODELS}",
        "trainer=gpuu: there is no such choice; did you mean 'gpu'?",
        "model/encoder=tinyy: there is no such choice; did you mean 'tiny'?",
    ],
    "+experiment=imdbb trainer.max_epochs=two": [
        "experiment=imdbb: there is no such choice; did you mean 'imdb'?",
        "trainer.max_epochs: expected a whole number at least 1 or null, found 'two'",
    ],
    "+experiment=zzz trainer.max_epochs=two": [
        f"experiment=zzz: there is no such choice; valid: {EXPERIMENTS}"
    ],
    "experiment=imdb": ["experiment=imdb: an experiment is added on top, as +experiment=imdb"],
    "+data=generated": [
        "+data=generated: this group has a default that is replaced, as data=generated"
    ],
    "model.encoder=small": [
        "model.encoder=small: a choice is written with slashes, as model/encoder=small"
    ],
    # what the unknown choice would bring cannot be judged
    "model=foo model.optim.lrr=2 trainer.max_epochs=two": [
        f"model=foo: there is no such choice; valid: {MODELS}",
        "trainer.max_epochs: expected a whole number at least 1 or null, found 'two'",
    ],
    "trainer=cpu trainer.compile=true": [
        "trainer.compile=true, but data.task=classification: only batches of masked_lm keep their "
        "shape; "
        "leave trainer.compile at null",
        "trainer.compile=true, but trainer.accelerator=cpu: steps are compiled on a GPU alone",
    ],
    "+experiment=mlm_quickstart model=replaced_tokens trainer.compile=true": [
        "trainer.compile=true, but model=replaced_tokens has steps of two networks, which are not "
        "compiled; leave trainer.compile at null",
    ],
    # one mistake is told once, by whatever finds it
    "data.num_labels=3": [
        "data.num_labels=3, but data.label_names has 2: negative, positive (data.num_labels=2, or "
        "other names)",
    ],
    "+experiment=imdb model=multi_label": [
        "data.task=classification, but model.objective is for multi_label "
        "(src.model.objectives.multi_label.MultiLabel); model=classification or "
        "data.task=multi_label callbacks.checkpoint.monitor=val/f1_macro "
        "callbacks.checkpoint.mode=max fits",
    ],
    "data.split.group=author": [
        "data.split.group=author: generated rows have no columns; data.split.group=null fits",
    ],
    # values
    "model.optim.lr=abc trainer.max_epochs=two": [
        "model.optim.lr: expected a number above 0 and at most 1, found 'abc'",
        "trainer.max_epochs: expected a whole number at least 1 or null, found 'two'",
    ],
    MLM + "data.batching.mask_fraction=1.5 model.optim.lr=0": [
        "data.batching.mask_fraction: expected a number above 0 and below 1, found 1.5",
        "model.optim.lr: expected a number above 0 and at most 1, found 0",
    ],
    "model.optim.schedule=linearr model.freeze=embedings": [
        "model.optim.schedule: expected one of linear, cosine, constant, wsd, found 'linearr'; "
        "did you mean 'linear'?",
        "model.freeze: expected one of nothing, embeddings, encoder or a whole number at least 0, "
        "found 'embedings'; "
        "did you mean 'embeddings'?",
    ],
    "data.task=classificatio": [
        "data.task: expected one of masked_lm, causal_lm, "
        "masked_lm_with_next_sentence, denoising, classification, multi_label, regression, "
        "token_classification, found 'classificatio'; "
        "did you mean 'classification'?"
    ],
    "seed=null": [
        # data.seed is read from there
        "seed: expected a whole number at least 0 and at most 4294967295, found None",
    ],
    # rules between the arguments of one class
    "model.encoder.width=100 model.encoder.heads=3": [
        "model.encoder: width=100 is not divisible by heads=3 (model.encoder.width, "
        "model.encoder.heads)"
    ],
    MLM + "data.batching.mask_share=0.9 data.batching.random_share=0.2": [
        "data.batching: mask_share=0.9 and random_share=0.2 add up to more than 1 "
        "(data.batching.mask_share, data.batching.random_share)"
    ],
    "trainer.max_epochs=null": [
        "trainer: max_epochs and max_steps are both null: say how long to train "
        "(trainer.max_epochs)"
    ],
    # what must be given
    "+experiment=files trainer.max_epochs=two": [
        "data.source.path: must be given, as data.source.path=VALUE",
        "trainer.max_epochs: expected a whole number at least 1 or null, found 'two'",
    ],
    "+experiment=quickstart": [
        "init_from: must be given, as init_from=ID, of a run with an encoder (python -m src.runs "
        "lists ids)"
    ],
    "+experiment=imdb_from_pretraining model.optim.lr=7": [
        "init_from: must be given, as init_from=ID, of a run with an encoder (python -m src.runs "
        "lists ids)",
        "model.optim.lr: expected a number above 0 and at most 1, found 7",
    ],
    # what cannot be read or resolved
    "model.optim.lr": [
        "'model.optim.lr' is no override: expected KEY=VALUE, as in model.optim.lr=1e-5 (spaces "
        "want quotes)"
    ],
    "rnus": [
        "'rnus' is no override: expected KEY=VALUE, as in model.optim.lr=1e-5 (spaces want "
        "quotes); a command is typed python -m src.runs"
    ],
    "help": [
        "'help' is no override: expected KEY=VALUE, as in model.optim.lr=1e-5 (spaces want "
        "quotes); python -m src.run --help names keys, experiments and commands"
    ],
    # of an option that stands in for a mistyped one, only what was typed is said
    "data=file data.source.pth=3": [
        "data=file: there is no such choice; did you mean 'files'?",
        "data.source.pth: there is no such key; did you mean 'path'?",
    ],
    "a=[1 model.optim.lrr=2": [
        "'a=[1' cannot be read: a bracket or quote is left open; as a text it is typed 'a=\"[1\"'",
        "model.optim.lrr: there is no such key; did you mean 'lr'?",
    ],
    "name=${foo.bar} model.optim.lr=2": [
        "name: takes its value from foo.bar, and there is no such key",
        "model.optim.lr: expected a number above 0 and at most 1, found 2",
    ],
    "data=sst2": [
        "data.tokenizer.name_or_path: takes its value from model.encoder.name_or_path, and there "
        "is no such key; "
        "model/encoder=pretrained or "
        "data/tokenizer=wordpiece|wordpiece_2k|wordpiece_2k_cased|wordpiece_8k helps"
    ],
    "model.optim.lr=1,2": [
        "model.optim.lr=1,2: several values make several runs, which -m asks for (python -m "
        "src.run -m ...)"
    ],
    # what a config may build
    "model._target_=os.system": [
        f"model._target_: 'os.system' is not built: a config builds from {ROOMS} alone"
    ],
    "model.objective._target_=src.model.objectives.Clasification": [
        "model.objective._target_: module 'src.model.objectives' has no 'Clasification'; did you "
        "mean 'Classification'?"
    ],
    # rules between nodes
    f"{MLM}model=causal_lm": [
        "data.task=masked_lm, but model.objective is for causal_lm "
        "(src.model.objectives.causal_lm.CausalLM); "
        "model=masked_lm or data.task=causal_lm data/batching=causal fits"
    ],
    "model=masked_lm": [
        "data.task=classification, but model.objective is for masked_lm "
        "(src.model.objectives.masked_lm.MaskedLM); "
        f"model=classification or {TEXTS} fits"
    ],
    "data.task=multi_label callbacks.checkpoint.monitor=val/accuracy "
    "callbacks.checkpoint.mode=max": [
        "data.task=multi_label, but model.objective is for classification "
        "(src.model.objectives.classification.Classification); model=multi_label "
        "callbacks.checkpoint.monitor=val/f1_macro callbacks.checkpoint.mode=max "
        "or data.task=classification fits"
    ],
    "+experiment=imdb model.objective.class_weights={negative:1,pos:2}": [
        "model.objective.class_weights: 'pos' is none of the labels: expected a number for "
        "each of negative, positive"
    ],
    "model=binary data.num_labels=3 data.label_names=[a,b,c]": [
        "model=binary tells 2 labels apart, but the data have 3; model=classification has an "
        "output for each"
    ],
    "model=binary data.label_names=[ham,spam] model.objective.positive=ham": [
        "model.objective.positive=ham: the second label is spam (data.label_names=[spam,ham])"
    ],
    "model=binary data.label_names=[ham,spam] model.objective.positive=yes": [
        "model.objective.positive=yes: there is no such label; of ham and spam the second one is "
        "spam"
    ],
    "model.objective=mixup": ["model.objective: expected a node with a _target_, found 'mixup'"],
    "model/encoder=pretrained model.encoder.name_or_path=m model.encoder.reinit_layers=1 "
    "model.freeze=encoder": [
        "model.encoder.reinit_layers=1: layers that begin random would stay random, since the body "
        "is frozen; model.encoder.reinit_layers=null or model.freeze=nothing fits"
    ],
    "model.objective.r_drop=1": [
        "model.objective.r_drop=1: two passes are the same where nothing is dropped; "
        "model.encoder.dropout=0.1 drops a tenth"
    ],
    MLM + "model.encoder.pooling=mean": [
        "model.encoder.pooling=mean represents whole texts, and this model judges tokens; leave "
        "model.encoder.pooling at null"
    ],
    "register=a/b register_alias=v2": [
        "register=a/b holds / or :, which stand for something else in models:/NAME",
        "register_alias=v2 is a name that MLflow keeps for itself",
    ],
    "register_alias=best": ["register_alias=best goes with register=NAME"],
    "model=causal_lm data=generated_text data/batching=causal data.task=causal_lm register=a": [
        "register=a: a model for causal_lm is no model of MLflow"
    ],
    "-m seed=1,2 register=a": [
        "register=a: the model of every trial would become a version of it; python -m src.export "
        "run=BEST format=mlflow register=a takes one"
    ],
    "init_from=abc callbacks.checkpoint.monitor=val/acuracy model.freeze=3": [
        "model.freeze=3 is more layers than the encoder has, model.encoder.layers=2",
        "callbacks.checkpoint.monitor=val/acuracy: this model does not measure it in validation; "
        "did you mean 'val/accuracy'?",
    ],
}

SCRIPT = """
import contextlib, io, json, sys
from src.run import run_program
from hydra.core.global_hydra import GlobalHydra
root, *lines = json.loads(sys.argv[1])
for line in lines:
    GlobalHydra.instance().clear()
    sys.argv = ["run", *line.split(), f"tracking.root={root}"]
    out, err, code = io.StringIO(), io.StringIO(), 0
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            run_program()
        except SystemExit as end:
            code = end.code
    print(json.dumps([line, code, out.getvalue(), err.getvalue()]))
print(json.dumps(sorted(name for name in sys.modules if "." not in name)))
"""


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Every command line of `SAID`, typed into one process that stands in an empty folder."""
    folder = tmp_path_factory.mktemp("empty")
    done = subprocess.run(
        [sys.executable, "-W", "error", "-c", SCRIPT, json.dumps([str(folder), *SAID])],
        capture_output=True,
        text=True,
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(PROJECT)},
        check=True,
    )
    *answers, modules = map(json.loads, done.stdout.splitlines())
    return {
        "answers": {line: rest for line, *rest in answers},
        "modules": set(modules),
        "left": list(folder.rglob("*")),
    }


@pytest.mark.parametrize("line", SAID)
def test_mistake(line: str, program: dict[str, Any]) -> None:
    code, out, err = program["answers"][line]
    # one of them types a group twice, which is told before
    said = [one for one in err.splitlines() if not one.startswith("note: ")]
    assert "\n".join(said).removeprefix("error: ").splitlines() == SAID[line]
    assert (code, out) == (2, "")


def test_mistakes_cost_and_leave_nothing(program: dict[str, Any]) -> None:
    assert len(program["answers"]) == len(SAID) == 60
    assert not program["modules"] & {
        "torch",
        "lightning",
        "mlflow",
        "transformers",
        "pandas",
        "datasets",
        "matplotlib",
    }
    assert program["left"] == []


# -- rules between nodes, on plain values


def _run(**parts: dict[str, Any]) -> dict[str, Any]:
    """A small sound config, with some parts of nodes replaced."""
    config: dict[str, dict[str, Any]] = {
        "data": {
            "_target_": "src.data.data_config.DataConfig",
            "task": "classification",
            "label_names": ["bad", "good"],
            "num_labels": 2,
        },
        "data_batching": {"_target_": "src.data.batches.batching.Labelled", "max_tokens": 64},
        "model": {"freeze": "nothing"},
        "model_encoder": {
            "_target_": "src.model.encoder_config.Scratch",
            "layers": 2,
            "max_tokens": 64,
        },
        "model_objective": {
            "_target_": "src.model.objectives.classification.Classification",
            "num_labels": 2,
        },
        "callbacks_checkpoint": {
            "_target_": "src.training.callbacks.Checkpoint",
            "monitor": "val/loss",
            "mode": "min",
        },
    }
    for name, part in parts.items():
        config[name] = {**config[name], **part}
    return {
        "data": {**config["data"], "batching": config["data_batching"]},
        "model": {
            **config["model"],
            "encoder": config["model_encoder"],
            "objective": config["model_objective"],
        },
        "callbacks": {"checkpoint": config["callbacks_checkpoint"], "none": None},
    }


@pytest.mark.parametrize(
    ("config", "message"),
    [
        (_run(), None),
        (
            _run(data={"task": "regression"}),
            "data.task=regression, but model.objective is for classification "
            "(src.model.objectives.classification.Classification); "
            "model=regression or data.task=classification fits",
        ),
        (
            _run(data_batching={"_target_": "src.data.batches.batching.Masked"}),
            "data.task=classification does not go with data.batching=Masked; "
            "data/batching=labelled fits",
        ),
        (
            _run(
                data={"task": "masked_lm"},
                model_objective={"_target_": "src.model.objectives.masked_lm.MaskedLM"},
            ),
            "data.task=masked_lm does not go with data.batching=Labelled; data/batching=masked "
            "fits",
        ),
        (
            _run(data={"num_labels": 3}, model_objective={"num_labels": None}),
            "data.num_labels=3, but data.label_names has 2: bad, good (data.num_labels=2, or "
            "other names)",
        ),
        (
            _run(model_objective={"num_labels": 5}),
            "model.objective.num_labels=5, but data.num_labels=2; "
            "leave model.objective.num_labels out: it is read from the data",
        ),
        (_run(data={"label_names": None, "num_labels": None}), None),
        (
            _run(data_batching={"max_tokens": 65}),
            "data.batching.max_tokens=65 is more than the encoder can read, "
            "model.encoder.max_tokens=64; change either",
        ),
        (
            _run(data_batching={"row_tokens": 128}),
            "data.batching.row_tokens=128 is more than the encoder can read, "
            "model.encoder.max_tokens=64; change either",
        ),
        (
            _run(
                data_batching={"max_tokens": 65},
                model_encoder={"_target_": "src.model.encoder_config.Pretrained"},
            ),
            None,
        ),
        (_run(model={"freeze": 2}), None),
        (
            _run(model={"freeze": 3}),
            "model.freeze=3 is more layers than the encoder has, model.encoder.layers=2",
        ),
        (
            _run(callbacks_checkpoint={"monitor": "accuracy"}),
            "callbacks.checkpoint.monitor=accuracy: this model does not measure it in validation; "
            "did you mean 'val/accuracy'?",
        ),
        (
            _run(callbacks_checkpoint={"monitor": "val/pearson"}),
            "callbacks.checkpoint.monitor=val/pearson: this model does not measure it in "
            "validation; "
            "valid: val/accuracy, val/f1_macro, val/loss",
        ),
        (_run(callbacks_checkpoint={"monitor": "val/f1_macro", "mode": "max"}), None),
        (
            _run(callbacks_checkpoint={"monitor": "val/accuracy"}),
            "callbacks.checkpoint.mode=min, but of callbacks.checkpoint.monitor=val/accuracy more "
            "is better; "
            "mode=max fits",
        ),
        (
            _run(callbacks_checkpoint={"mode": "max"}),
            "callbacks.checkpoint.mode=max, but of callbacks.checkpoint.monitor=val/loss less is "
            "better; mode=min fits",
        ),
        (
            {**_run(), "callbacks": {"mine": 3}},
            "callbacks.mine: expected a node with a _target_, or null, found 3",
        ),
        # what is absent or broken is reported by others
        ({}, None),
        ({"data": None, "model": 3, "callbacks": []}, None),
        (
            {
                "data": {"task": UserError("x"), "batching": "masked"},
                "model": {"objective": {"_target_": 1}},
            },
            None,
        ),
        (_run(data={"task": "chess"}), None),
        (
            _run(
                data={"num_labels": "two"},
                model={"freeze": "all"},
                data_batching={"max_tokens": None},
            ),
            None,
        ),
    ],
)
def test_rules_between_nodes(config: dict[str, Any], message: str | None) -> None:
    assert [str(each) for each in find_rule_errors(config)] == (
        [] if message is None else [message]
    )


# -- check(), called directly


def _faults(config: dict[str, Any]) -> list[str]:
    # nodes of any kind may stand under `tags` here
    known = {**read_task_schema().parameters, "tags": Parameter(Mapping[str, Any], required=False)}
    task = Schema({name: known[name] for name in known if name in config}, open=False)
    with pytest.raises(UserErrors) as caught:
        validate_config(config, task)
    return caught.value.messages


def test_nodes_in_lists_and_broken_targets() -> None:
    optim = {"_target_": "src.model.optim.AdamW", "lr": 5}
    assert _faults({"tags": {"a": [optim, {"_target_": 3}, {"_target_": "src.nothing.Here"}]}}) == [
        "tags.a[0].lr: expected a number above 0 and at most 1, found 5",
        "tags.a[1]._target_: expected the dotted name of a class, found 3",
        "tags.a[2]._target_: there is no module 'src.nothing'",
    ]


def test_values_that_could_not_be_resolved_are_reported_where_they_stand() -> None:
    node = {
        "_target_": "src.model.optim.AdamW",
        "lr": UserError("no such thing"),
        "eps": UserError(""),
    }
    assert _faults({"name": "???", "tags": {"a": [node]}}) == [
        "name: must be given, as name=VALUE",
        "tags.a[0].lr: no such thing",
    ]


def test_lines_of_a_file_that_yaml_reads_otherwise() -> None:
    schema = read_task_schema()
    for config, message in (
        (
            {"trainer.max_steps": 2},
            "trainer.max_steps: there is no such key; a file writes a key inside another, and not "
            "with a dot: 'trainer: {max_steps: 2}'",
        ),
        (
            {"trainer": "max_steps:2"},
            "trainer=max_steps:2: a file writes a key below it with a colon and a blank: "
            "'max_steps: 2'",
        ),
    ):
        with pytest.raises(UserErrors) as caught:
            validate_config(config, schema, [])
        assert message in str(caught.value).splitlines()


def test_a_sound_node_passes_without_a_word() -> None:
    task = Schema({"tags": read_task_schema().parameters["tags"]}, open=False)
    validate_config({"tags": {"_target_": "src.model.optim.AdamW", "lr": 0.1}}, task)


@pytest.mark.parametrize(
    "node, expected",
    [
        ("data", "DataConfig"),
        ("model", "ModelConfig"),
        ("tracking", "Store"),
        ("trainer", "Training"),
    ],
)
def test_the_parts_of_a_run_are_of_this_programs_classes(node: str, expected: str) -> None:
    foreign = {"_target_": "src.model.optim.AdamW", "lr": 0.1}
    [fault] = _faults({node: foreign})
    assert fault.startswith(f"{node}: expected {expected}, found AdamW; code of your own has its")
