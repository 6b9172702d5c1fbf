"""The record of a run: its final status, parameters and files."""

import io
import json
import math
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest
from matplotlib.figure import Figure

from src.core.run_ending import TerminatedBySignal, run_id_of_error
from src.core.user_errors import UserError
from src.tracking.earlier_runs import RunInfo
from src.tracking.run_record import RunRecord
from src.tracking.store import Store

PROJECT = Path(__file__).resolve().parents[2]


def record(store: Store, **options: object) -> RunRecord:
    return RunRecord(
        store=store, **({"name": "imdb lr=1", "kind": "finetune", "params": {}} | options)
    )


def artifacts(store: Store, run_id: str, folder: str | None = None) -> dict[str, Path]:
    """The run's files by their path below it."""
    folder = Path(store.find_run(run_id).artifact_uri)
    return {str(path.relative_to(folder)): path for path in folder.rglob("*") if path.is_file()}


def ended(store: Store, run_id: str) -> tuple[str, str | None]:
    run = store.find_run(run_id)
    return run.status, run.tags.get("failure.reason")


def test_success_is_finished(store: Store) -> None:
    with record(store, config_yaml="seed: 1\n", params={"seed": 1}, tags={"note": "x"}) as run:
        assert store.find_run(run.run_id).status == "RUNNING"
        run.describe_result("test/f1_macro 0.5")
    found = store.find_run(run.run_id)
    assert (found.status, found.name, found.params) == ("FINISHED", "imdb lr=1", {"seed": "1"})
    assert (
        found.tags.items()
        >= {"kind": "finetune", "note": "x", "mlflow.runName": "imdb lr=1"}.items()
    )
    assert found.tags["mlflow.note.content"].startswith("test/f1_macro 0.5\n\n**finetune**: imdb")
    page = f"#/experiments/{found.experiment_id}/runs/{run.run_id}"
    assert run.ui_link == (
        f"python -m src.ui uri={store.tracking_uri}, "
        f"then http://127.0.0.1:5000/{page}?workflowType=machine_learning"
    )
    files = artifacts(store, run.run_id)
    assert files["config.yaml"].read_text() == "seed: 1\n"
    assert "torch==" in files["environment.txt"].read_text()
    assert "console.log" in files and "traceback.txt" not in files


def test_exception_is_failed_with_its_reason_and_traceback(store: Store) -> None:
    with pytest.raises(ValueError), record(store) as run:
        raise ValueError("loss is nan\nat step 3")
    assert ended(store, run.run_id) == ("FAILED", "ValueError: loss is nan at step 3")
    assert "raise ValueError" in artifacts(store, run.run_id)["traceback.txt"].read_text()


def test_fault_after_the_start_is_failed(store: Store) -> None:
    with pytest.raises(UserError), record(store) as run:
        raise UserError("data.path: no such file")
    assert ended(store, run.run_id) == ("FAILED", "data.path: no such file")


def test_ctrl_c_is_killed(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt), record(store) as run:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(1)
    assert ended(store, run.run_id) == ("KILLED", "interrupted (Ctrl-C)")


def test_ctrl_c_that_became_an_exit_is_killed_and_a_ctrl_c_again(store: Store) -> None:
    with pytest.raises(KeyboardInterrupt) as caught, record(store) as run:
        try:
            raise KeyboardInterrupt
        except KeyboardInterrupt:
            sys.exit(1)
    assert run_id_of_error(caught.value) == run.run_id
    assert ended(store, run.run_id) == ("KILLED", "interrupted (Ctrl-C)")


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP])
def test_a_signal_to_end_is_killed(store: Store, signum: signal.Signals) -> None:
    before = signal.getsignal(signum)
    with pytest.raises(TerminatedBySignal) as caught, record(store) as run:
        os.kill(os.getpid(), signum)
        time.sleep(1)
    assert caught.value.code == 128 + signum
    assert ended(store, run.run_id) == ("KILLED", f"terminated ({signum.name})")
    assert signal.getsignal(signum) == before


def test_what_breaks_after_a_signal_is_the_signal(store: Store) -> None:
    """A worker ends by the signal that went to the whole group; its parent sees a RuntimeError."""
    with pytest.raises(TerminatedBySignal), record(store) as run:
        run.signals.received_signal = signal.SIGTERM
        raise RuntimeError("DataLoader worker is killed by signal: Terminated")
    assert ended(store, run.run_id) == ("KILLED", "terminated (SIGTERM)")


@pytest.mark.parametrize(
    ("code", "status"), [(None, "FINISHED"), (0, "FINISHED"), (3, "FAILED"), ("no", "FAILED")]
)
def test_exit_codes(store: Store, code: int | str | None, status: str) -> None:
    with pytest.raises(SystemExit), record(store) as run:
        sys.exit(code)
    assert store.find_run(run.run_id).status == status


def test_an_ending_without_an_exception(store: Store) -> None:
    with record(store) as run:
        run.set_outcome("KILLED", reason="pruned at step 300")
    assert ended(store, run.run_id) == ("KILLED", "pruned at step 300")


def test_an_exception_outweighs_a_planned_ending(store: Store) -> None:
    with pytest.raises(ValueError), record(store) as run:
        run.set_outcome("KILLED", reason="pruned")
        raise ValueError("broken")
    assert ended(store, run.run_id) == ("FAILED", "ValueError: broken")


SCRIPT = """
import os, signal, sys, time
from src.tracking.run_record import RunRecord
from src.tracking.store import Store
signal.signal(signal.SIGINT, signal.default_int_handler)
store = Store(root=sys.argv[1], system_metrics=False)
run = RunRecord(store=store, name="x", kind="k", params={})
"""
ENDINGS = {
    "terminated": """
with run:
    print(run.run_id, flush=True)
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(9)
""",
    "killed": "with run:\n    print(run.run_id, flush=True)\n    os.kill(os.getpid(), "
    "signal.SIGKILL)",
    "left open": "run.__enter__()\nprint(run.run_id, flush=True)",
}


def test_endings_of_whole_processes(store: Store) -> None:
    started = {
        how: subprocess.Popen(
            [sys.executable, "-c", SCRIPT + body, store.root],
            cwd=PROJECT,
            text=True,
            stdout=subprocess.PIPE,
        )
        for how, body in ENDINGS.items()
    }
    ids = {
        how: process.communicate(timeout=120)[0].splitlines()[-1]
        for how, process in started.items()
    }
    codes = {how: process.returncode for how, process in started.items()}
    assert codes == {"terminated": 143, "killed": -9, "left open": 0}
    # Whoever opens the store next, here or in the other two, notices the process that could not say
    # anything.
    assert ended(store, ids["terminated"]) == ("KILLED", "terminated (SIGTERM)")
    assert ended(store, ids["left open"]) == ("FAILED", "the process ended while the run was open")
    status, reason = ended(store, ids["killed"])
    assert status == "KILLED" and reason is not None and reason.startswith("the process vanished")
    assert artifacts(store, ids["killed"])["console.log"].read_text() == f"{ids['killed']}\n"


def test_params_are_dotted_and_never_cut(store: Store) -> None:
    params = {
        "model": {"optim": {"lr": 3e-05}},
        "data": {"text": "x" * 5999, "long": "y" * 7000},
        "n": list(range(9)),
    }
    params |= {f"many{number}": number for number in range(230)}
    with record(store, params=params) as run:
        pass
    held = store.find_run(run.run_id).params
    assert held["model.optim.lr"] == "3e-05" and held["n"] == "[0,1,2,3,4,5,6,7,8]"
    assert len(held["data.text"]) == 5999 and len(held) == 234
    assert held["data.long"] == "(7000 characters: artifact params/data.long.txt)"
    assert artifacts(store, run.run_id)["params/data.long.txt"].read_text() == "y" * 7000


def test_long_tags_become_files(store: Store) -> None:
    with record(store, tags={"words": "z" * 9000}) as run:
        run.set_tag("later", "z" * 9001)
    files = artifacts(store, run.run_id)
    assert files["tags/words.txt"].read_text() == "z" * 9000
    assert store.find_run(run.run_id).tags["later"] == "(9001 characters: artifact tags/later.txt)"


def test_lineage_is_linked_both_ways(store: Store) -> None:
    with record(store, kind="pretrain") as source:
        pass
    later = []
    for _ in range(2):
        with record(store, init_from=source.run_id[:8], parent=source.run_id) as run:
            later.append(run.run_id)
    tags = store.find_run(later[1]).tags
    assert (tags["init_from"], tags["mlflow.parentRunId"]) == (source.run_id, source.run_id)
    page = f"#/experiments/1/runs/{source.run_id}?workflowType=machine_learning"
    assert f"init_from: [{source.run_id[:8]}]({page})" in tags["mlflow.note.content"]
    assert set(store.find_run(source.run_id).tags["used_by"].split()) == set(later)


def test_a_wrong_init_from_leaves_no_run(store: Store) -> None:
    with (
        pytest.raises(
            UserError, match=r"init_from=latest: .* a run is named here; no run has been kept yet"
        ),
        record(store, init_from="latest"),
    ):
        pass
    assert store.search_runs() == []


def test_table_columns_without_dots(store: Store) -> None:
    with record(store) as run:
        run.log_table({"model.lr": [0.1, math.nan], "label": ["neg", "pos"]}, "report/rates.json")
        with pytest.raises(ValueError, match="differ in length"):
            run.log_table({"a": [1], "b": [1, 2]}, "report/uneven.json")
    table = json.loads(artifacts(store, run.run_id)["report/rates.json"].read_text())
    assert table == {"columns": ["model/lr", "label"], "data": [[0.1, "neg"], [None, "pos"]]}
    assert store.open().client.load_table(
        store.find_run(run.run_id).experiment_id, "report/rates.json"
    )["label"].to_list() == [
        "neg",
        "pos",
    ]


def test_files_folders_and_figures(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "encoder"
    folder.mkdir()
    (folder / "config.json").write_text("{}")
    with record(store) as run:
        run.log_folder(folder, "model")
        run.log_file(folder / "config.json", "extra")
        run.log_text("# hello", "report/summary.md")
        run.log_figure(Figure(), "report/curve.png")
        for artifact in ("/tmp/x.txt", "../x.txt"):
            with pytest.raises(ValueError, match="inside its run"):
                run.log_text("", artifact)
        with pytest.raises(FileNotFoundError):
            run.log_file(tmp_path / "none")
    held = set(artifacts(store, run.run_id))
    assert held >= {
        "model/config.json",
        "extra/config.json",
        "report/summary.md",
        "report/curve.png",
    }
    assert store.fetch_model_folder(run.run_id[:10]).joinpath("config.json").read_text() == "{}"


def test_data_sets_are_inputs(store: Store) -> None:
    with record(store) as run:
        for split in ("train", "test"):
            run.log_dataset(
                name="imdb",
                digest=split * 9,
                split=split,
                rows=7,
                source="data/imdb.csv",
                schema={"text": "string"},
            )
    inputs = store.open().client.get_run(run.run_id).inputs.dataset_inputs
    assert {data.tags[0].value: data.dataset.name for data in inputs} == {
        "train": "imdb",
        "test": "imdb",
    }
    assert json.loads(inputs[0].dataset.profile)["num_rows"] == 7
    assert (
        store.find_run(run.run_id).tags["data.fingerprint"]
        == f"train={'train' * 9} test={'test' * 9}"
    )


def test_secrets_are_starred_everywhere(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        sys, "argv", ["x", "hub.token=abc123", "uri=http://me:abc123@host", "max_tokens=5"]
    )
    params = {"hub": {"token": "abc123"}, "max_tokens": 5}
    with (
        pytest.raises(OSError),
        record(store, params=params, config_yaml="hub:\n  token: abc123\n") as run,
    ):
        print("connecting to http://me:abc123@host")
        raise OSError("http://me:abc123@host is gone")
    client_run = store.find_run(run.run_id)
    assert client_run.params == {"hub.token": "***", "max_tokens": "5"}
    assert "max_tokens=5" in client_run.tags["command"]
    held = str(client_run) + str(client_run.tags) + str(client_run.params)
    held += "".join(path.read_text() for path in artifacts(store, run.run_id).values())
    assert "***" in held and "abc123" not in held.replace(
        '"http://me:abc123@host is gone"', ""
    ).replace('"connecting to http://me:abc123@host"', "")


def test_system_metrics_of_a_short_run(make_store: Callable[..., Store], tmp_path: Path) -> None:
    store = make_store(tmp_path, system_metrics=True)
    with record(store) as run:
        pass
    metrics = store.find_run(run.run_id).metrics
    assert 0.01 < metrics["system/memory_gigabytes"] < 100 and "system/cpu_percent" in metrics


def test_values_that_are_no_numbers_are_noted(store: Store) -> None:
    with record(store) as run:
        run.log_metrics({"val/loss": math.inf, "train/a@b": 1.0}, step=7)
    found: RunInfo = store.find_run(run.run_id)
    assert found.tags["non_finite"] == "val/loss inf at step 7"
    # MLflow would have 1.8e308, which flattens its charts
    assert math.isnan(found.metrics["val/loss"])
    assert found.metrics["train/a_b"] == 1.0


def test_changes_of_a_dirty_project_are_kept(
    make_store: Callable[..., Store], tmp_path: Path
) -> None:
    def git(*words: str) -> None:
        who = ("-c", "user.name=a", "-c", "user.email=a@b")
        subprocess.run(["git", *who, *words], cwd=tmp_path, check=True, capture_output=True)

    git("init", "-b", "trunk")
    (tmp_path / ".gitignore").write_text("mlruns/\n")
    (tmp_path / "a.py").write_text("x = 1\n")
    git("add", ".")
    git("commit", "-m", "first")
    store = make_store(tmp_path)
    with record(store) as clean:
        pass
    (tmp_path / "a.py").write_text("x = 2\n")
    (tmp_path / "new.py").write_text("")
    with record(store) as dirty:
        pass
    tags = store.find_run(clean.run_id).tags
    assert (tags["branch"], tags["dirty"], len(tags["commit"])) == ("trunk", "false", 40)
    assert "changes.patch" not in artifacts(store, clean.run_id)
    patch = artifacts(store, dirty.run_id)["changes.patch"].read_text()
    assert "+x = 2" in patch and patch.startswith("# not in git, not in this patch: new.py\n")
    git("checkout", "a.py")
    subprocess.run(["git", "apply", "-"], input=patch, text=True, cwd=tmp_path, check=True)
    assert (tmp_path / "a.py").read_text() == "x = 2\n"


def test_other_ranks_are_silent(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("LOCAL_RANK", "1")
    monkeypatch.setenv("PALIMPSEST_RUN_ID", "abc")
    with record(store) as run:
        run.log_metrics({"a": 1.0})
        run.log_text("x", "x.txt")
        run.logger.log_metrics({"a": 1.0}, 1)
    assert run.run_id == "abc" and store.search_runs() == []


def test_nested_runs_hear_their_own_lines(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(io.BytesIO(), encoding="utf-8"))
    with record(store, kind="search") as parent:
        print("one")
        with record(store, parent=parent.run_id) as child:
            print("two")
        print("three")
    assert artifacts(store, child.run_id)["console.log"].read_text() == "two\n"
    assert artifacts(store, parent.run_id)["console.log"].read_text() == "one\ntwo\nthree\n"
