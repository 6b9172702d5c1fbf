"""The text of `--help`, made of the config folder itself; nothing is imported for it."""

from pathlib import Path

from src.config.choices import CONF, choices

GROUPS = {
    "data": "where text comes from and how it becomes batches",
    "data/batching": "packed and masked, or one label for each text",
    "data/tokenizer": "a pretrained one, or a WordPiece learnt from the corpus",
    "model": "the objective: what is learnt",
    "model/encoder": "the network: fresh by its measures, or pretrained by name or folder",
    "model/optim": "optimizer and schedule",
    "trainer": "device, precision, how long",
    "callbacks": "checkpoints, early stopping, progress",
    "tracking": "where runs are kept",
    "search": "with -m: what varies, by which metric, for how long",
    "search/sampler": "how the points of a search are chosen",
    "search/pruner": "when a trial is given up before its end",
}

HEAD = """\
Palimpsest pretrains and fine-tunes text encoders, and keeps a record of every run.

    python -m src.run [-m] [+experiment=NAME] [GROUP=CHOICE ...] [KEY=VALUE ...]

Four examples
    python -m src.run +experiment=imdb
    python -m src.run +experiment=files data.source.path=reviews.csv data.source.text=review data.source.label=stars
    python -m src.run -m +experiment=imdb model.optim.lr=1e-5,2e-5,5e-5      one run for each rate
    python -m src.run -m +experiment=imdb search=learning_rate      the best rate, found by 20 trials
"""

FOOT = """\
Other
    --cfg job        print the composed config and stop
    --version        print the version
    --hydra-help     what else Hydra can do (completion: -sc install=bash; see docs/completion.md)
    init_from=RUN    start from the encoder and tokenizer of an earlier run
    resume=RUN       go on with a run that has failed or was killed; with fork=true begin a new one from where it stands
    sweep=SWEEP      with -m: go on with a sweep, as the same command does; sweep=new begins another one
    make ui          compare runs in the MLflow UI

Other commands, each with --help
    python -m src.runs       list runs, show one and how to go on with it, repair what died without a word
    python -m src.predict    ask a run's model
    python -m src.sync       send what was recorded offline, or could not reach its store
"""


def text() -> str:
    """Help for people: groups, experiments with a line each, examples."""
    width = max(map(len, GROUPS)) + 2
    blank = " " * (width + 4)
    groups = [f"    {name:<{width}}{meaning}\n{blank}{', '.join(choices(name))}" for name, meaning in GROUPS.items()]
    experiments = {name: _first_comment(CONF / "experiment" / f"{name}.yaml") for name in choices("experiment")}
    width = max(map(len, experiments), default=0) + 2
    lines = [f"    {name:<{width}}{line}" for name, line in experiments.items()]
    return "\n".join([HEAD, "Experiments (+experiment=NAME)", *lines, "", "Groups (GROUP=CHOICE)", *groups, "", FOOT])


def _first_comment(path: Path) -> str:
    for line in path.read_text(encoding="utf-8").splitlines():
        if line.startswith("# ") and "@package" not in line:
            return line[2:].strip()
    return ""
