"""Mistakes in config files of one's own, laid beside the project's."""

from tests.faults.entry import MODELS, Entry

ENTRIES = [
    Entry(
        "+experiment=mine",
        says="conf/experiment/mine.yaml, line 4: not valid YAML (expected <block end>, but found "
        "'<scalar>')",
        files={
            "conf/experiment/mine.yaml": "# @package _global_\ntrainer:\n  max_epochs: 3\n bad\n"
        },
        name="YAML that is broken",
    ),
    Entry(
        "+experiment=mine",
        says="conf/experiment/mine.yaml, line 3: not valid YAML (found character '\\t' that "
        "cannot start any token)",
        files={"conf/experiment/mine.yaml": "# @package _global_\ntrainer:\n\tmax_epochs: 3\n"},
        name="a tab in YAML",
    ),
    Entry(
        "+experiment=mine",
        says=(
            "experiment: the file of an experiment begins with '# @package _global_'; without "
            "this line its keys "
            "land below 'experiment', where nothing reads them"
        ),
        files={"conf/experiment/mine.yaml": "trainer:\n  max_epochs: 3\n"},
        name="an experiment without its first line",
    ),
    Entry(
        "+experiment=mine",
        says="model.optim.lrr: there is no such key; did you mean 'lr'?",
        files={
            "conf/experiment/mine.yaml": "# @package _global_\nmodel:\n  optim:\n    lrr: 1e-3\n"
        },
        name="an unknown key in an experiment",
    ),
    Entry(
        "+experiment=mine",
        says=(
            "optimizer: there is no such key; valid: +experiment, callbacks, data, fork, "
            "init_from, model, name, phases, preset, "
            "register, register_alias, report, resume, seed, tags, tracking, trainer"
        ),
        files={"conf/experiment/mine.yaml": "# @package _global_\noptimizer:\n  lr: 1e-3\n"},
        name="an unknown node in an experiment",
    ),
    Entry(
        "+experiment=mine",
        says="In 'experiment/mine': Could not override 'dta'. No match in the defaults list.",
        files={
            "conf/experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /dta: imdb\n"
        },
        name="an unknown group in an experiment",
    ),
    Entry(
        "+experiment=mine",
        says="data=imdbb: there is no such choice; did you mean 'imdb'?",
        files={
            "conf/experiment/mine.yaml": "# @package _global_\ndefaults:\n  - override /data: "
            "imdbb\n"
        },
        name="an unknown choice in an experiment",
    ),
    Entry(
        "+experiment=mine",
        says="data is chosen twice; an experiment's defaults write '- override /data: imdb'",
        files={"conf/experiment/mine.yaml": "# @package _global_\ndefaults:\n  - /data: imdb\n"},
        name="a group chosen twice",
    ),
    Entry(
        "+experiment=mine",
        says=(
            "experiment: the file of an experiment begins with '# @package _global_'; without "
            "this line its keys "
            "land below 'experiment', where nothing reads them"
        ),
        files={"conf/experiment/mine.yaml": "- a\n- b\n"},
        name="a list for an experiment",
    ),
    Entry(
        "+experiment=mine",
        says="trainer.max_epochs: expected a whole number at least 1 or null, found 'many'",
        files={"conf/experiment/mine.yaml": "# @package _global_\ntrainer:\n  max_epochs: many\n"},
        name="a wrong value in an experiment",
    ),
    Entry(
        "+experiment=mine",
        says="conf/experiment/mine.yaml, line 2: not valid YAML (mapping values are not allowed "
        "here)",
        files={"conf/experiment/mine.yaml": "# @package _global_\nname: a: b\n"},
        name="an unquoted colon",
    ),
    Entry(
        "+experiment=mine",
        says="model.encoder.width: takes its value from model.encoder.widht, and there is no such "
        "key",
        files={
            "conf/experiment/mine.yaml": "# @package _global_\nmodel:\n  encoder:\n    width: "
            "${model.encoder.widht}\n"
        },
        name="a reference to nothing",
    ),
    Entry(
        "+experiment=mine",
        says="conf/experiment/mine.yaml, line 3: not valid YAML (found duplicate key seed)",
        files={"conf/experiment/mine.yaml": "# @package _global_\nseed: 1\nseed: 2\n"},
        name="a key twice",
    ),
    Entry(
        "+experiment=mine",
        says="conf/experiment/mine.yaml: not UTF-8 (byte 0xe4 at position 27)",
        files={"conf/experiment/mine.yaml": b"# @package _global_\nname: K\xe4se\n"},
        name="an experiment in Latin-1",
    ),
    Entry(
        "+experiment=mine",
        says="Invalid defaults list in 'experiment/mine', defaults must be a list (got str)",
        files={"conf/experiment/mine.yaml": "# @package _global_\ndefaults: imdb\n"},
        name="defaults that are no list",
    ),
    Entry(
        "+experiment=mine",
        says="conf: a choice is built on itself, through the defaults of its file",
        files={"conf/experiment/mine.yaml": "# @package _global_\ndefaults:\n  - mine\n"},
        name="a choice built on itself",
    ),
    Entry(
        "+experiment=mine",
        says="trainer=cpu: a file chooses in its defaults, as '- override /trainer: cpu'",
        files={"conf/experiment/mine.yaml": "# @package _global_\ntrainer: cpu\n"},
        name="a choice written as a value",
    ),
    Entry(
        "+experiment=mine",
        says=(
            "model=None: a file chooses in its defaults, as '- override /model: "
            f"{'|'.join(MODELS)}'"
        ),
        files={"conf/experiment/mine.yaml": "# @package _global_\nmodel: null\n"},
        name="a node without content",
    ),
    Entry(
        "data=mine",
        says=(
            "model.objective.num_labels: takes its value from data.num_labels, and there is no "
            "such key; "
            "data=files|files_text|generated|generated_entities|generated_questions|"
            "generated_ratings|generated_text|generated_topics|imdb|imdb_text|sst2|stsb|wikitext "
            "helps\n"
            "data._target_: module 'src.data.data_config' has no 'DataConfg'; did you mean "
            "'DataConfig'?"
        ),
        files={
            "conf/data/mine.yaml": "_target_: src.data.data_config.DataConfg\ntask: "
            "classification\n"
        },
        name="a misspelt class",
    ),
    Entry(
        "data=mine",
        says=(
            "model.objective.num_labels: takes its value from data.num_labels, and there is no "
            "such key; "
            "data=files|files_text|generated|generated_entities|generated_questions|"
            "generated_ratings|generated_text|generated_topics|imdb|imdb_text|sst2|stsb|wikitext "
            "helps\n"
            "data._target_: 'os.system' is not built: a config builds from src., lightning., "
            "torch., "
            "torchmetrics., transformers. alone"
        ),
        files={"conf/data/mine.yaml": "_target_: os.system\ncommand: ls\n"},
        name="a function of another library",
    ),
    Entry(
        "data=mine",
        says="data._target_: expected the dotted name of a class, found None",
        files={"conf/data/mine.yaml": "defaults:\n  - generated\n  - _self_\n_target_: null\n"},
        name="a null for a class",
    ),
    Entry(
        "data=mine",
        says=(
            "model.objective.num_labels: takes its value from data.num_labels, and there is no "
            "such key; "
            "data=files|files_text|generated|generated_entities|generated_questions|"
            "generated_ratings|generated_text|generated_topics|imdb|imdb_text|sst2|stsb|wikitext "
            "helps\n"
            "data: there is no _target_, the class that these keys are for"
        ),
        files={"conf/data/mine.yaml": "task: classification\n"},
        name="a node without a class",
    ),
    Entry(
        "trainer=mine",
        says="trainer.max_epoch: there is no such key; did you mean 'max_epochs'?",
        files={"conf/trainer/mine.yaml": "_target_: src.training.trainer.Training\nmax_epoch: 3\n"},
        name="a misspelt key in a choice",
    ),
    Entry(
        "callbacks=mine",
        says="callbacks.mine: expected a node with a _target_, or null, found {'every': 3}",
        files={
            "conf/callbacks/mine.yaml": "defaults:\n  - default\n  - _self_\nmine:\n  every: 3\n"
        },
        name="a callback without a class",
    ),
    Entry(
        "callbacks=mine",
        says="callbacks.mine._target_: module 'src.training.callbacks' has no 'Progres'; did you "
        "mean 'Progress'?",
        files={
            "conf/callbacks/mine.yaml": "defaults:\n  - default\n  - _self_\n"
            "mine:\n  _target_: src.training.callbacks.Progres\n"
        },
        name="a misspelt callback",
    ),
    Entry(
        "callbacks=mine",
        says="callbacks.mine._target_: there is no module 'src.callbacks'",
        files={
            "conf/callbacks/mine.yaml": "defaults:\n  - default\n  - _self_\nmine:\n  _target_: "
            "src.callbacks.Mine\n"
        },
        name="a callback of no module",
    ),
]
