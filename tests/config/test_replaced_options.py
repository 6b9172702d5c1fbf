"""An option that is typed over an experiment: what the files say for the option that was there is
not said of it.
"""

import sys
from typing import Any
from unittest.mock import patch

import pytest
import yaml
from omegaconf import OmegaConf

from src.config.allowed_targets import import_target
from src.config.build_nodes import read_target_schema
from src.config.compose_run import compose_run
from src.config.groups import list_options, load_option
from src.config.hydra_composition import compose_with_search
from src.config.override_errors import find_override_errors
from src.config.replaced_options import drop_replaced_values
from src.core.nested_config import get_by_path
from src.core.user_errors import UserErrors
from src.pipeline.run import read_task_schema
from src.run import compose_and_run
from src.search.run.search_check import find_search_errors

GENERATED = ("ner", "questions", "ratings", "topics", "quickstart_scratch", "mlm_quickstart")


def _compose(*overrides: str) -> dict[str, Any]:
    return compose_run(overrides, read_task_schema())


@pytest.mark.parametrize("experiment", GENERATED)
def test_files_in_the_place_of_generated_rows(experiment: str) -> None:
    config = _compose(f"+experiment={experiment}", "data/source=files", "data.source.path=rows.csv")
    is_text = experiment == "mlm_quickstart"
    files = {**load_option("data/source", "files"), "path": "rows.csv"}
    assert config["data"]["source"] == {**files, "label": None if is_text else "label"}
    facts = {name: config["data"][name] for name in ("label_names", "num_labels")}
    assert facts == {"label_names": None, "num_labels": None}
    if experiment == "ner":
        assert config["data"]["task"] == "token_classification"
        assert config["data"]["batching"]["max_tokens"] == 64


def test_the_printed_config_is_that_of_the_run(capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["+experiment=questions", "data/source=files", "data.source.path=rows.csv"]
    with patch.object(sys, "argv", ["run"]):
        assert compose_and_run([*typed, "--cfg", "job"], read_task_schema()) == 0
    assert yaml.safe_load(capsys.readouterr().out) == _compose(*typed)


def test_a_printed_config_tells_what_it_cannot_show(capsys: pytest.CaptureFixture[str]) -> None:
    typed = ["model.optim.lr=${foo.bar}", "--cfg", "job"]
    with patch.object(sys, "argv", ["run"]), pytest.raises(SystemExit, match="2"):
        compose_and_run(typed, read_task_schema())
    told = "error: model.optim.lr: takes its value from foo.bar, and there is no such key\n"
    assert capsys.readouterr() == ("", told)


def test_what_is_typed_stays() -> None:
    config = _compose(
        "+experiment=questions",
        "data/source=files",
        "data.source.path=rows.csv",
        "data.source.label=kind",
        "data.label_names=[a,b]",
        "data.num_labels=2",
    )
    assert config["data"]["source"]["label"] == "kind"
    assert (config["data"]["label_names"], config["data"]["num_labels"]) == (["a", "b"], 2)
    with pytest.raises(UserErrors, match=r"data\.source\.kind: there is no such key"):
        _compose(
            "+experiment=ner",
            "data/source=files",
            "data.source.path=rows.csv",
            "data.source.kind=topics",
        )


def test_values_that_both_options_have_stay() -> None:
    assert _compose("+experiment=ratings", "model/optim=muon")["model"]["optim"]["lr"] == 1e-3
    config = _compose("+experiment=stsb", "data.source.path=rows.csv", "data/source=files")
    # of one class: a file in the place of the data set of the hub
    assert config["data"]["source"]["label"] == "score"
    assert config["data"]["source"]["hub"] == "sentence-transformers/stsb"


def test_data_that_are_chosen_over_an_experiment() -> None:
    typed = ("data=files", "data/tokenizer=wordpiece_2k", "data.source.path=rows.csv")
    config = _compose("+experiment=quickstart_scratch", *typed)
    assert config["data"]["source"]["train"] == "train"
    assert config["data"]["batching"]["batch_size"] == 16


def test_each_trial_of_a_search_has_its_own_option() -> None:
    arguments = ["-m", "+experiment=ratings", "data/source=generated_task,files"]
    arguments += ["data.source.train=null"]
    said = find_override_errors(arguments, read_task_schema(), None, find_search_errors)
    assert not [error for error in said if "there is no such key" in str(error)]


def test_no_choice_keeps_a_key_of_another_one() -> None:
    experiments = {"ner", "stsb", "quickstart", "mlm_wikitext"}
    options = [
        f"{group}={option}"
        for group in ("data/source", "data/batching", "data/tokenizer", "model/encoder")
        for option in list_options(group)
    ]
    assert experiments < {*list_options("experiment")} and len(options) > 20
    for experiment in sorted(experiments):
        for option in options:
            typed = [f"+experiment={experiment}", option]
            config = drop_replaced_values(compose_with_search(typed), typed)
            plain = OmegaConf.to_container(config, resolve=False)
            node = get_by_path(plain, option.partition("=")[0].replace("/", "."))
            schema = read_target_schema(import_target(node.pop("_target_")))
            assert not schema.open and not {*node} - {*schema.parameters}, typed
