"""Everything that docs/own-code.md shows: its classes as a package of one's own, its commands."""

import os
import re
import shlex
import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.config import allowed_targets
from src.config.compose import to_plain_config
from src.config.compose_run import compose_run
from src.config.groups import CONF
from src.config.validate_config import validate_config
from src.core.user_errors import UserError, UserErrors
from src.pipeline.run import RunOutcome, read_task_schema, run
from src.tracking.store import Store

pytestmark = pytest.mark.long

PAGE = (CONF.parent / "docs" / "own-code.md").read_text(encoding="utf-8")
COMMANDS = [
    line for block in re.findall(r"```sh\n(.*?)```", PAGE, re.S) for line in block.splitlines()
]
SMALL = (
    "data.source.train=40",
    "data.source.validation=20",
    "data.source.test=20",
    "trainer.max_epochs=null",
    "trainer.max_steps=2",
    "trainer.accelerator=cpu",
    "trainer.precision=fp32",
    "trainer.log_every_n_steps=1",
    "callbacks.progress.style=off",
    "tracking.system_metrics=false",
)


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, blank_database: Path) -> Path:
    """A folder with the page's package and a store."""
    root = tmp_path_factory.mktemp("own")
    (root / "mlruns").mkdir()
    shutil.copy(blank_database, root / "mlruns" / "mlflow.db")
    (root / "mypackage").mkdir()
    for name, code in re.findall(r"```python\n# mypackage/(\w+\.py)\n(.*?)```", PAGE, re.S):
        (root / "mypackage" / name).write_text(code)
    return root


@pytest.fixture
def allowed(place: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.syspath_prepend(str(place))
    monkeypatch.setattr(allowed_targets, "_allowed", ("mypackage.",))
    yield
    for name in [name for name in sys.modules if name.partition(".")[0] == "mypackage"]:
        del sys.modules[name]


def config_of(place: Path, *words: str) -> dict[str, Any]:
    """The config of a small run with the overrides of a command."""
    GlobalHydra.instance().clear()
    kept = [
        word for word in SMALL if not ("~data.source" in words and word.startswith("data.source"))
    ]
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        places = (f"tracking.root={place}", f"data.cache={place}/.cache")
        return to_plain_config(compose("config", [*kept, *words, *places]))


def run_words(place: Path, *words: str) -> tuple[RunOutcome, dict[str, float]]:
    """Check the config of a command and run it; its outcome and all metrics in the store."""
    config = config_of(place, *words)
    validate_config(config, read_task_schema())
    outcome = run(**config)
    client = Store(root=str(place)).open().client
    return outcome, client.get_run(outcome.run_id).data.metrics


def words_with(text: str) -> list[str]:
    """The overrides of the page's command that holds `text`."""
    [command] = [line for line in COMMANDS if text in line]
    words = shlex.split(command)
    assert words[:3] == ["python", "-m", "src.run"]
    return [word for word in words[3:] if not word.startswith("allow=")]


def messages_of(place: Path, *words: str) -> list[str]:
    with pytest.raises(UserErrors) as caught:
        validate_config(config_of(place, *words), read_task_schema())
    return caught.value.messages


def test_the_page_has_one_of_each() -> None:
    assert len(COMMANDS) == 7
    assert len(re.findall(r"```python\n# mypackage/", PAGE)) == 4


def test_classes_of_libraries(place: Path) -> None:
    words = [words_with(name) for name in ("DeviceStats", "Matthews", "torch.optim.SGD")]
    outcome, metrics = run_words(place, *(word for some in words for word in some))
    assert "test/mcc" in outcome.metrics and "val/mcc" in metrics
    assert any(name.startswith("DeviceStatsMonitor") for name in metrics)
    assert metrics["train/loss"] > 0


def test_files_of_a_librarys_callback_lie_with_the_runs(place: Path) -> None:
    node = "+callbacks.theirs._target_=lightning.pytorch.callbacks.ModelCheckpoint"
    outcome, _ = run_words(place, node)
    [checkpoint] = (place / "mlruns" / "callbacks").rglob("*.ckpt")
    assert outcome.run_id in checkpoint.parts


def test_callback_and_metric_of_a_package(place: Path, allowed: None) -> None:
    words = [words_with(name) for name in ("LargestNorm", "ErrorRate")]
    outcome, metrics = run_words(place, *(word for some in words for word in some))
    assert metrics["train/largest_gradient_norm"] >= metrics["train/gradient_norm"] > 0
    assert metrics["val/error_rate"] == pytest.approx(1 - metrics["val/accuracy"])
    assert outcome.metrics["test/error_rate"] == pytest.approx(1 - outcome.metrics["test/accuracy"])


@pytest.mark.parametrize("name", ["FocalLoss", "Sums"])
def test_objective_and_source_of_a_package(name: str, place: Path, allowed: None) -> None:
    outcome, metrics = run_words(place, *words_with(name))
    assert 0 <= outcome.metrics["test/accuracy"] <= 1 and metrics["train/loss"] > 0


def test_from_the_command_line_and_on_again(place: Path) -> None:
    """`allow=` is needed for a run and for its fork, and for nothing that the person has typed."""

    def say(*words: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "src.run", *words, f"tracking.root={place}"]
        return subprocess.run(
            command, cwd=CONF.parent, env=environment, capture_output=True, text=True
        )

    environment = {**os.environ, "PYTHONPATH": str(place)}
    words = [*words_with("LargestNorm"), *SMALL, f"data.cache={place}/.cache"]
    refused = say(*words)
    assert refused.returncode == 2 and "allow=mypackage" in refused.stderr
    begun = say("allow=mypackage", *words)
    assert begun.returncode == 0, begun.stderr
    [run_id] = re.findall(r"run (\w{32}) FINISHED", begun.stdout)
    again = [f"resume={run_id}", "fork=true", "trainer.max_steps=3"]
    refused = say(*again)
    assert refused.returncode == 2
    assert "'mypackage.callbacks.LargestNorm' is not built" in refused.stderr
    forked = say("allow=mypackage", *again)
    assert forked.returncode == 0, forked.stderr
    recorded = Store(root=str(place)).open().client.get_run(run_id).data.tags["command"]
    assert "allow=mypackage" in recorded


def test_no_file_allows_anything(place: Path) -> None:
    assert messages_of(place, "+allow=[mypackage]")[0].startswith("allow: there is no such key")


def test_mistakes_are_found_before_the_run(place: Path, allowed: None) -> None:
    node = "+callbacks.stats._target_=lightning.pytorch.callbacks.DeviceStatsMonitor"
    assert messages_of(place, node, "+callbacks.stats.cpu=true", "model.optim.lr=7") == [
        "model.optim.lr: expected a number above 0 and at most 1, found 7",
        "callbacks.stats.cpu: there is no such key; did you mean 'cpu_stats'?",
    ]
    expected = (
        "expected a callback of Lightning, or a class whose build(folder, hooks) gives a list of "
        "them"
    )
    for target, found in (
        ("torchmetrics.MeanMetric", "MeanMetric"),
        ("src.data.preparation.cleaning.Cleaning", "Cleaning"),
    ):
        [message] = messages_of(place, f"+callbacks.stats._target_={target}")
        assert message == f"callbacks.stats: {expected}, found {found}"
    [message] = messages_of(place, "model/optim=torch", "+model.optim.momentum=-1")
    assert message == "model.optim: torch.optim.SGD: Invalid momentum value: -1"
    [message] = messages_of(place, "model/optim=torch", "model.optim._target_=torch.optim.LBFGS")
    assert message == "model.optim: weight_decay=0.0, but LBFGS has none"
    [message] = messages_of(place, "+model.metrics.accuracy._target_=torchmetrics.MeanMetric")
    assert message == (
        "model.metrics.accuracy: the objective measures accuracy itself: expected another name"
    )
    [message] = messages_of(
        place,
        *words_with("ErrorRate"),
        "callbacks.checkpoint.mode=max",
    )
    assert message == (
        "callbacks.checkpoint.mode=max, but of callbacks.checkpoint.monitor=val/error_rate less is "
        "better; mode=min fits"
    )


def test_what_a_package_has_imported_is_not_allowed_with_it(place: Path, allowed: None) -> None:
    with pytest.raises(UserError, match="Callback is only imported there, from lightning"):
        allowed_targets.import_target("mypackage.callbacks.Callback")
    with pytest.raises(UserError, match="cannot be imported"):
        allowed_targets.import_target("mypackage.callbacks.os.system")
    with pytest.raises(UserError, match="a config builds from"):
        allowed_targets.import_target("mypackages.callbacks.LargestNorm")


@pytest.mark.parametrize(
    ("words", "messages"),
    [
        (
            ["model.optim._target_=torch.optim.SGD", "+model.optim.momentun=1"],
            [
                "model.optim: beta1, beta2, eps: left from the class that was here, unknown to "
                "torch.optim.SGD; model/optim=torch model.optim._target_=torch.optim.SGD begins "
                "without them",
                "model.optim.momentun: there is no such key; did you mean 'momentum'?",
            ],
        ),
        (
            ["model.objective._target_=torch.nn.CrossEntropyLoss"],
            [
                "model.objective: num_labels, class_weights, focal_gamma, logit_adjustment, "
                "label_shares, r_drop, mixup: left from the class that was here, unknown to "
                "torch.nn.CrossEntropyLoss; '~model.objective' "
                "+model.objective._target_=torch.nn.CrossEntropyLoss begins without them",
            ],
        ),
        (
            ["~model.optim", "+model.optim._target_=torch.optim.SGD", "model.optim.lr=0.1"],
            [
                "model.optim.lr: there is no such key; what ~ has taken away is added anew, as "
                "+model.optim.lr=0.1",
            ],
        ),
        (
            ["~trainer", "+trainer._target_=src.data.preparation.splitting.Split"],
            [
                "trainer: expected Training, found Split; code of your own has its place in "
                "callbacks, model.metrics, model.optim, model.objective and data.source "
                "(docs/own-code.md)"
            ],
        ),
        (
            ["+callbacks.x._target_=nowhere.Stats"],
            [
                "callbacks.x._target_: 'nowhere.Stats' is not built: a config builds from src., "
                "lightning., torch., torchmetrics., transformers. alone; a package of your own is "
                "found in the working folder or on PYTHONPATH, where there is no 'nowhere', and "
                "allow=nowhere, on the command line, adds it"
            ],
        ),
    ],
)
def test_what_is_said_of_other_classes(
    words: list[str], messages: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    typed = list(words)
    monkeypatch.setattr("src.config.validate_config.typed_overrides", lambda: typed)
    with pytest.raises(UserErrors) as caught:
        compose_run(words, read_task_schema())
    assert caught.value.messages == messages
