"""Presets: what they set, what wins over them, and that every experiment takes them."""

from pathlib import Path
from typing import Any

import pytest
from hydra.core.global_hydra import GlobalHydra

from src.config.compose import (
    prefix_optional_inputs,
    run_composed_once,
    to_plain_config,
    typed_overrides,
)
from src.config.compose_run import compose_run
from src.config.groups import list_options, load_option
from src.config.override_errors import find_override_errors
from src.config.presets import describe_preset
from src.core.user_errors import UserError
from src.pipeline.resume_run import resume_run
from src.pipeline.run import read_task_schema, run
from src.search.run.search_check import find_search_errors
from src.tracking.store import Store
from tests.labelled import project_of

CLASSIFIER = ("data=generated", "model/encoder=tiny")


def _compose(*overrides: str) -> dict[str, Any]:
    GlobalHydra.instance().clear()
    return compose_run(overrides, read_task_schema())


def test_a_preset_has_the_name_of_its_file() -> None:
    names = list_options("preset")
    assert names == ["balanced", "best", "fast"]
    assert [load_option("preset", name)["name"] for name in names] == names


@pytest.mark.parametrize("order", [(0, 1, 2), (2, 1, 0)])
def test_typed_wins_over_the_preset_which_wins_over_the_experiment(order: tuple[int, ...]) -> None:
    typed = ("+experiment=quickstart_scratch", "preset=fast", "model.encoder.dropout=0.3")
    config = _compose(*(typed[place] for place in order))
    assert config["preset"] == "fast"
    # 20 by the experiment
    assert config["trainer"]["max_epochs"] == 1
    assert config["model"]["encoder"]["dropout"] == 0.3
    assert "mask_fraction" not in config["data"]["batching"]
    assert describe_preset(config) == (
        "preset fast: trainer.max_epochs=1; as typed: model.encoder.dropout=0.3"
    )


@pytest.mark.parametrize(
    ("overrides", "tokens"),
    [
        ((), 64),
        (("data.batching.max_tokens=65",), 64),
        (("data.batching.max_tokens=64",), None),
        (("data.source.pair=other",), None),
        (("data.task=token_classification", "model=token_classification"), None),
        (("data.batching.max_tokens=${seed}", "seed=64"), None),
        (("data.batching.max_tokens=${seed}", "seed=65"), 64),
        (("data.batching.length_warmup_tokens=32",), 32),
        (("data.batching.length_warmup_tokens=null",), None),
    ],
)
def test_single_texts_alone_are_cut_at_first(
    overrides: tuple[str, ...], tokens: int | None
) -> None:
    config = _compose("+experiment=files", "data.source.path=rows.csv", "preset=fast", *overrides)
    assert config["data"]["batching"]["length_warmup_tokens"] == tokens
    # 0.75 where nobody says otherwise
    assert config["data"]["batching"]["length_warmup_fraction"] == (0.8 if tokens else 0.75)
    assert config["trainer"]["max_epochs"] == 1
    described = describe_preset(config)
    assert ("length_warmup_tokens=64" in described) == (tokens == 64)
    is_typed = "length_warmup_tokens" in "".join(overrides)
    assert (f"as typed: data.batching.length_warmup_tokens={tokens or 'null'}" in described) == (
        is_typed
    )


@pytest.mark.parametrize(
    ("overrides", "rate"),
    [
        ((), 1e-3),
        (("data.source.pair=other",), 1e-3),
        (("model.optim.lr=1e-3",), None),
        (("model.optim.head_lr=2e-4",), 2e-4),
        (("model/encoder=tiny", "data/tokenizer=wordpiece"), None),
        (("model/adapter=lora",), None),
        (("data.task=token_classification", "model=token_classification"), None),
    ],
)
def test_the_head_of_a_pretrained_body_learns_faster(
    overrides: tuple[str, ...], rate: float | None
) -> None:
    config = _compose("+experiment=files", "data.source.path=rows.csv", "preset=fast", *overrides)
    assert config["model"]["optim"]["head_lr"] == rate
    assert ("head_lr=0.001" in describe_preset(config)) == (rate == 1e-3)


def test_a_pretrained_vocabulary_head_learns_no_faster() -> None:
    config = _compose(
        "+experiment=mlm_files",
        "data.source.path=rows.csv",
        "data/tokenizer=pretrained",
        "model/encoder=pretrained",
        "preset=fast",
    )
    assert config["model"]["optim"]["head_lr"] is None


def test_a_reference_to_nothing_is_told_as_without_a_preset() -> None:
    for preset in ((), ("preset=fast",)):
        with pytest.raises(UserError, match="nothing_such"):
            _compose(*CLASSIFIER, *preset, "data.batching.max_tokens=${nothing_such}")


def test_masked_language_modelling_has_keys_of_its_own() -> None:
    config = _compose("+experiment=mlm_quickstart", "preset=fast", "trainer.max_epochs=null")
    assert config["data"]["batching"]["mask_fraction"] == 0.3
    assert "max_tokens" not in config["data"]["batching"]
    assert config["trainer"]["max_epochs"] is None


def test_every_experiment_takes_every_preset() -> None:
    required = {
        "quickstart": ["init_from=0123456789abcdef0123456789abcdef"],
        "imdb_from_pretraining": ["init_from=0123456789abcdef0123456789abcdef"],
        "files": ["data.source.path=rows.csv"],
        "mlm_files": ["data.source.path=rows.csv"],
    }
    experiments = list_options("experiment")
    assert len(experiments) >= 12
    for name in experiments:
        for preset in list_options("preset"):
            config = _compose(f"+experiment={name}", f"preset={preset}", *required.get(name, ()))
            assert config["preset"] == preset
            text = describe_preset(config)
            assert "trainer.max_epochs=" in text
            assert "as typed" not in text


def test_an_unknown_preset_is_told_with_the_nearest() -> None:
    with pytest.raises(UserError, match=r"preset=fats: there is no such choice; did you mean"):
        _compose(*CLASSIFIER, "preset=fats")


def test_a_command_line_is_composed_alike() -> None:
    """As `src.run` composes it, and as it looks for mistakes in it."""
    task = read_task_schema()
    overrides = (*CLASSIFIER, "preset=best", "trainer.max_epochs=2")
    found: list[dict[str, Any]] = []
    run_composed_once(
        prefix_optional_inputs(overrides, task),
        lambda config: found.append(to_plain_config(config, typed_overrides())),
    )
    assert found == [_compose(*overrides)]
    assert found[0]["trainer"]["max_epochs"] == 2
    assert not find_override_errors(overrides, task)
    both = ["-m", *CLASSIFIER, "preset=fast,best"]
    assert not find_override_errors(both, task, find_search_errors=find_search_errors)
    wrong = find_override_errors([*both, "trainer.max_epochs=0"], task)
    assert [error.key for error in wrong] == ["trainer.max_epochs"] * len(wrong) != []


def test_a_run_is_tagged_and_goes_on_with_the_values(
    tmp_path: Path, blank_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    root = project_of(tmp_path, blank_database)
    places = (f"tracking.root={root}", f"data.cache={root}/.cache", f"data.source.path={root}/rows")
    config = _compose(
        "+experiment=files",
        "data.source.label=label",
        "data/tokenizer=wordpiece",
        "model/encoder=tiny",
        "trainer=cpu",
        "trainer.precision=fp32",
        "callbacks.progress.style=off",
        "callbacks.reference=null",
        "tracking.system_metrics=false",
        "preset=fast",
        "model.encoder.layers=1",
        *places,
    )
    outcome = run(**config)
    assert "preset fast: data.batching.length_warmup_tokens=64" in capsys.readouterr().out
    found = Store(root=str(root)).open().client.get_run(outcome.run_id)
    assert found.data.tags["preset"] == "fast"
    assert found.data.params["preset"] == "fast"
    assert found.data.params["trainer.max_epochs"] == "1"
    words = (f"resume={outcome.run_id}", f"tracking.root={root}")
    with pytest.raises(UserError, match="preset=best: beside resume= nothing is composed"):
        resume_run([*words, "preset=best"], read_task_schema())
    capsys.readouterr()
    forked = resume_run([*words, "fork=true", "trainer.max_epochs=2"], read_task_schema())
    assert "as typed: trainer.max_epochs=2" in " ".join(capsys.readouterr().out.split())
    tags = Store(root=str(root)).open().client.get_run(forked.run_id).data.tags
    assert tags["preset"] == "fast"


def test_a_run_without_one_has_no_such_key() -> None:
    assert "preset" not in _compose(*CLASSIFIER)
