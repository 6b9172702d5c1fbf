"""A config builds nothing but what is made for it, whatever its `_target_` names."""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import pytest

from src.config import allowed_targets
from src.config.allowed_targets import check_hydra_section, import_target
from src.config.build_nodes import build_node
from src.config.validate_config import validate_config
from src.core.user_errors import UserError, UserErrors
from src.pipeline.run import read_task_schema

ROOMS = "src., lightning., torch., torchmetrics., transformers."
KINDS = "Callback, LRScheduler, Metric, Module, Optimizer, PreTrainedConfig"

# What somebody might name to have code run, and the end of the answer.
REFUSED = {
    "os.system": f"a config builds from {ROOMS} alone",
    "builtins.eval": f"a config builds from {ROOMS} alone",
    "torchx.load": "there is no 'torchx', and allow=torchx, on the command line, adds it",
    "subprocess.Popen": f"a config builds from {ROOMS} alone",
    "torch.load": "it is a function, expected a class",
    "torch.hub.load": "it is a function, expected a class",
    "src.run.run_rank": "it is a function, expected a class",
    "src.predict.main": "it is a function, expected a class",
    "torch.os.system": "No module named 'torch.os'",
    "torch.serialization.os.system": "'torch.serialization' is not a package",
    "src.run.os.system": "'src.run' is not a package",
    "src.pipeline.run.Path": "Path is only imported there, from pathlib",
    "torch.distributed.elastic.multiprocessing.subprocess_handler.subprocess_handler.Popen": (
        "Popen is only imported there, from subprocess"
    ),
    "torch.distributed.elastic.multiprocessing.subprocess_handler.SubprocessHandler": (
        f"theirs are: {KINDS}"
    ),
    "lightning.pytorch.cli.LightningCLI": f"theirs are: {KINDS}",
    "torch.package.PackageImporter": f"theirs are: {KINDS}",
    "transformers.Trainer": f"theirs are: {KINDS}",
    "transformers.pipeline": "it is a function, expected a class",
    "src.tracking.console.ConsoleCapture": "it is not made for configs; a class that is has "
    "@validate_init above it",
    "src.data.cache.ContentCache": "it is not made for configs; a class that is has "
    "@validate_init above it",
    "torch.nn.Module.__init__": "expected the dotted name of a public class",
    "torch.utils._pytree.tree_map": "expected the dotted name of a public class",
    "torch..load": "expected the dotted name of a public class",
    "src.": "expected the dotted name of a public class",
    "torch.load\n": "expected the dotted name of a public class",
}


@pytest.mark.parametrize("target", REFUSED)
def test_what_could_run_code_is_not_built(target: str) -> None:
    with pytest.raises(UserError) as caught:
        build_node({"_target_": target})
    assert str(caught.value).endswith(REFUSED[target])


def test_the_check_needs_no_library_to_refuse_a_function() -> None:
    config = {
        "callbacks": {
            "a": [
                {"_target_": "torch.hub.load", "repo_or_dir": "x"},
                {"_target_": "src.pipeline.run.Path"},
            ]
        }
    }
    with pytest.raises(UserErrors) as caught:
        validate_config(config, read_task_schema())
    assert [each for each in caught.value.messages if each.startswith("callbacks.a[")] == [
        "callbacks.a[0]._target_: 'torch.hub.load' is not built: it is a function, expected a "
        "class",
        "callbacks.a[1]._target_: 'src.pipeline.run.Path' is not built: Path is only imported "
        "there, from pathlib",
    ]


@pytest.mark.parametrize(
    "target",
    [
        "src.model.optim.AdamW",
        "torch.nn.Linear",
        "torch.optim.AdamW",
        "torch.optim.lr_scheduler.StepLR",
        "torchmetrics.Accuracy",
        "lightning.pytorch.callbacks.EarlyStopping",
        "transformers.BertConfig",
    ],
)
def test_honest_targets_are_built(target: str) -> None:
    assert isinstance(import_target(target), type)


@pytest.mark.parametrize("word", ["_args_", "_partial_", "_recursive_", "_convert_", "__class__"])
def test_words_that_change_what_a_target_means_are_refused(word: str) -> None:
    with pytest.raises(UserError, match=f"there is no argument '{word}'"):
        build_node({"_target_": "torch.nn.Linear", "in_features": 1, "out_features": 1, word: True})
    with pytest.raises(UserErrors, match=f"x.{word}: there is no such key"):
        validate_config(
            {"x": {"_target_": "transformers.BertConfig", word: True}}, read_task_schema()
        )


def test_nodes_are_built_innermost_first_and_interpolations_stay_text() -> None:
    inner = [{"_target_": "torch.nn.Identity"}, {"_target_": "torch.nn.ReLU"}]
    node = {"_target_": "torch.nn.ModuleList", "modules": inner}
    assert [type(each).__name__ for each in build_node(node)] == ["Identity", "ReLU"]
    config = build_node(
        {"_target_": "transformers.BertConfig", "note": {"a": ["${oc.env:HOME}", None]}}
    )
    assert config.note == {"a": ["${oc.env:HOME}", None]}


def test_what_a_library_refuses_is_a_fault_that_names_the_target() -> None:
    with pytest.raises(UserError, match=r"^torch.nn.Linear: .*in_featurez"):
        build_node({"_target_": "torch.nn.Linear", "in_featurez": 1})


def test_only_the_environment_adds_targets_and_only_before_the_program_starts(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # as Hydra's `job.env_set` would, from a file
    monkeypatch.setenv("PALIMPSEST_ALLOWED_TARGETS", "json")
    with pytest.raises(UserError, match="is not built"):
        build_node({"_target_": "json.loads", "s": "1"})
    monkeypatch.setattr(allowed_targets, "_allowed", ("json.",))
    assert build_node({"_target_": "json.loads", "s": "[1]"}) == [1]
    with pytest.raises(UserError, match="is not built"):
        build_node({"_target_": "json5.loads", "s": "1"})
    assert import_target("json.loads") is json.loads


HYDRA: list[tuple[Mapping[str, Any], str]] = [
    ({"callbacks": {"x": {"_target_": "os.getpid"}}}, "hydra.callbacks.x._target_=os.getpid"),
    ({"sweeper": {"_target_": "subprocess.Popen"}}, "hydra.sweeper._target_=subprocess.Popen"),
    (
        {"job_logging": {"handlers": {"a": {"()": "os.system"}}}},
        "hydra.job_logging.handlers.a.()=os.system",
    ),
    (
        {"job_logging": {"handlers": {"a": {"class": "evil.H"}}}},
        "hydra.job_logging.handlers.a.class=evil.H",
    ),
    ({"job": {"env_set": {"GIT_EXTERNAL_DIFF": "x"}}}, "hydra.job.env_set.GIT_EXTERNAL_DIFF=x"),
]


@pytest.mark.parametrize(("settings", "named"), HYDRA, ids=[named for _, named in HYDRA])
def test_hydras_own_section_is_no_way_round(settings: Mapping[str, Any], named: str) -> None:
    with pytest.raises(UserError) as caught:
        check_hydra_section(settings, ["hydra.run.dir=x"])
    assert (
        str(caught.value)
        == f"{named}: no file sets this; where it is meant, it is typed on the command line"
    )
    check_hydra_section(settings, [f"+{named}"])


def test_an_experiment_file_with_a_hydra_callback_runs_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    import shutil
    import sys

    from src import run
    from src.config import compose, groups, override_errors

    conf = tmp_path / "conf"
    shutil.copytree(groups.CONF, conf)
    touched = tmp_path / "ran"
    (conf / "experiment" / "evil.yaml").write_text(
        "# @package _global_\nhydra:\n  callbacks:\n    x:\n      _target_: pathlib.Path.touch\n"
        f"      _args_: [{{_target_: pathlib.Path, _args_: ['{touched}']}}]\n"
    )
    for module in (compose, override_errors, run):
        monkeypatch.setattr(module, "CONF", conf)
    monkeypatch.setattr(sys, "argv", ["run", "+experiment=evil"])
    with pytest.raises(SystemExit) as caught:
        run.run_program()
    assert caught.value.code == 2
    assert (
        "hydra.callbacks.x._target_=pathlib.Path.touch: no file sets this"
        in capsys.readouterr().err
    )
    assert not touched.exists()
