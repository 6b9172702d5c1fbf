"""Two runs and more, side by side: what differs, which is better, and what is refused."""

import hashlib
import json
import math
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from src import compare
from src.comparison import run_groups, run_selection
from src.tracking.run_record import RunRecord
from src.tracking.run_table import load_run_table
from src.tracking.store import Store
from tests.comparison.conftest import AddRun

Say = Callable[..., tuple[str, str]]


@pytest.fixture
def say(store: Store, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Say:
    """Type the command; what it prints, and what it says on stderr."""
    monkeypatch.setenv("COLUMNS", "100")

    def say(*words: str, code: int = 0) -> tuple[str, str]:
        capsys.readouterr()
        assert compare.main(["--root", store.root, *words]) == code
        return capsys.readouterr()

    return say


@pytest.fixture
def judge(say: Say) -> Callable[..., dict[str, Any]]:
    return lambda *words: json.loads(say(*words, "--json")[0])


def test_two_runs_are_compared_on_their_test_rows(add_run: AddRun, say: Say) -> None:
    first = add_run(right=range(100, 150), rows=200, lr=0.001)
    second = add_run(right=range(100, 158), rows=200, lr=0.003)
    shown, _ = say(first[:8], second[:8])
    assert "Configuration     A       B\n  model.optim.lr  0.001   0.003\n" in shown
    # nothing else differs
    assert "Environment" not in shown and "Data" not in shown and "seed " not in shown
    # widths depend on how long the runs took
    assert "> test/accuracy 0.25 0.29 +4.0 points" in " ".join(shown.split())
    # McNemar: 0 against 8 rows, 2 / 2 ** 8 = 0.0078
    assert (
        "B is better than A: test/accuracy +4.0 points, 95 % interval 1.5 to 7.0 (McNemar, p = "
        "0.0078; 200 test rows) 0 rows are right by A alone, 8 by B alone (McNemar's exact test: "
        "p = 0.0078)"
    ) in " ".join(shown.split())
    assert "test rows speak of other rows like these, and not of other seeds" in shown
    back, _ = say(second[:8], first[:8])
    assert "B is worse than A: test/accuracy -4.0 points" in back
    assert max(map(len, shown.splitlines())) <= 100


def test_seeds_are_found_and_stand_as_groups(add_run: AddRun, judge: Any, say: Say) -> None:
    ids = [
        add_run(lr=lr, seed=seed, accuracy=accuracy)
        for lr, accuracies in ((0.001, (0.80, 0.81, 0.82)), (0.003, (0.84, 0.85, 0.86)))
        for seed, accuracy in enumerate(accuracies)
    ]
    told = judge(*ids)
    assert [len(group["runs"]) for group in told["groups"].values()] == [3, 3]
    assert told["differences"]["configuration"] == {
        "model.optim.lr": {"A": ["0.001"], "B": ["0.003"]}
    }
    assert told["within_groups"] == ["seed"]
    [verdict] = told["verdicts"]
    # t = 0.04 / sqrt(2 * 0.0001 / 3) = 4.899 with 4 degrees: t(0.975; 4) = 2.776445
    assert verdict["outcome"] == "better"
    assert verdict["evidence"]["method"] == "Welch"
    assert verdict["evidence"]["difference"] == pytest.approx(0.04)
    assert verdict["evidence"]["low"] == pytest.approx(0.04 - 2.776445 * 0.0081650, abs=1e-6)
    shown, _ = say(*ids)
    assert "(seed 0, 1, 2)" in shown
    assert "0.81 ± 0.01" in shown
    assert (
        "B is better than A: test/accuracy +4.0 points, 95 % interval 1.7 to 6.3 (Welch, p = "
        "0.008; 3 and 3\n  seeds)" in shown
    )


def test_what_is_not_settled_says_how_many_seeds_would_do(add_run: AddRun, say: Say) -> None:
    for lr, values in ((0.001, (0.80, 0.82, 0.84)), (0.003, (0.82, 0.84, 0.86))):
        for seed, accuracy in enumerate(values):
            add_run(lr=lr, seed=seed, accuracy=accuracy)
    shown, said = say()
    assert said == "all of experiment palimpsest: 6 runs\n"
    assert "not settled between A and B: test/accuracy +2.0 points, 95 % interval -2.5 to" in shown
    # TTestIndPower().solve_power(1.0, alpha=0.05, power=0.8) is 16.7
    assert "about 14 more seeds a side would settle it" in " ".join(shown.split())
    assert "80 % power" in shown


def test_the_same_config_and_seed_counts_once(add_run: AddRun, judge: Any) -> None:
    ids = [add_run(seed=seed, accuracy=0.8) for seed in (1, 2, 2)]
    told = judge(*ids)
    [group] = told["groups"].values()
    assert (group["runs"], group["repeats"]) == (ids[:2], ids[2:])
    assert f"left out of the means: {ids[2][:8]}" in told["remarks"][0]


def test_seeds_that_all_say_the_same_show_no_difference(add_run: AddRun, judge: Any) -> None:
    ids = [
        add_run(seed=seed, lr=lr, accuracy=score)
        for lr, score in ((0.001, 0.9), (0.002, 0.95))
        for seed in (1, 2, 3)
    ]
    [verdict] = judge(*ids, "--metric", "test/accuracy")["verdicts"]
    assert verdict["outcome"] == "not compared"
    assert "every seed has the same test/accuracy, 0.95, and all of A have 0.9" in verdict["words"]


def test_several_are_compared_with_the_first_and_corrected(add_run: AddRun, judge: Any) -> None:
    ids = [
        add_run(lr=lr, right=range(100, 150 + more), rows=200)
        for lr, more in ((0.001, 0), (0.002, 6), (0.003, 12))
    ]
    verdicts = judge(*ids)["verdicts"]
    found = [(one["first"], one["second"], one["evidence"]["p_value"]) for one in verdicts]
    # 2 / 2 ** 6 and 2 / 2 ** 12
    assert found == [("A", "B", pytest.approx(2 / 64)), ("A", "C", pytest.approx(2 / 4096))]
    assert [one["corrected_p"] for one in verdicts] == pytest.approx([2 / 64, 4 / 4096])
    assert "by Holm" in verdicts[0]["words"]


def test_pairs_that_do_not_fit_are_refused_with_the_reason(
    add_run: AddRun, store: Store, judge: Any
) -> None:
    first = add_run(right=range(5))

    def refuse(other: str) -> str:
        told = judge(first, other)
        assert "best/val/accuracy" in told["metrics"]
        [verdict] = told["verdicts"]
        assert (verdict["outcome"], verdict["evidence"]) == ("not compared", None)
        return verdict["words"]

    assert refuse(add_run(lr=0.1, right=range(5), digest="dddd")) == (
        "B: not measured on the same test rows as A (their digests differ), so the numbers do not "
        "compare"
    )
    assert refuse(add_run(lr=0.2, right=range(5), rows=12)) == (
        "B: not tested on the same rows as A: 0 of 10 rows of the first are not among the "
        "second's, 2 of 12 the other way round"
    )
    assert refuse(add_run(lr=0.3, test=False)) == (
        "B: it was never tested, so there are no test rows to compare on"
    )
    deleted = add_run(lr=0.4, right=range(5))
    shutil.rmtree(store.artifacts_folder / "palimpsest" / deleted)
    assert refuse(deleted) == (
        "B: it keeps no predictions (report/predictions.json is not among its files), so there are "
        "no test rows to compare on"
    )
    assert "they give 0.5, recorded is 0.9" in refuse(add_run(lr=0.5, right=range(5), accuracy=0.9))
    assert (
        "B: it has 1 seed with test/accuracy"
        in judge(first, add_run(seed=2, right=range(6)), add_run(lr=0.6, right=range(5)))[
            "verdicts"
        ][0]["words"]
    )


def test_sweeps_names_latest_and_filters_are_runs(add_run: AddRun, judge: Any, say: Say) -> None:
    sweep = add_run("sweep", kind="search")
    ids = [add_run("trial", seed=seed, parent=sweep) for seed in (1, 2)]
    other = add_run("other", lr=0.5)
    told = judge(sweep[:8], "other")
    assert [group["runs"] for group in told["groups"].values()] == [ids, [other]]
    _, said = say(sweep[:8], "latest")
    assert f"{sweep[:8]}: 2 trials of sweep {sweep} (sweep, FINISHED)\n" in said
    assert f"RUN=latest: run {other} (other, FINISHED)\n" in said
    words = ["params.`model.optim.lr` = '0.001'"]
    told = judge(*words, "other")
    assert {run for group in told["groups"].values() for run in group["runs"]} == {*ids, other}
    assert told["selected"] == [
        f"{words[0]}: 3 runs",
        "left out: 1 run without training, such as sweeps",
    ]


@pytest.mark.parametrize(
    ("typed", "is_filter"),
    [
        ("params.`model.optim.lr` = '0.1'", True),
        ("metrics.`test/accuracy` > 0.8 AND tags.kind = 'finetune'", True),
        ("status = 'FINISHED'", True),
        ("run_name LIKE 'imdb%'", True),
        ("quickstart lr=1e-3", False),
        ("run lr=1e-3", False),
        ("status_quo", False),
        ("1234567", False),
    ],
)
def test_a_filter_is_told_from_a_name(typed: str, is_filter: bool) -> None:
    assert bool(run_selection._FILTER.match(typed)) == is_filter


def test_files_of_the_runs_are_compared(add_run: AddRun, store: Store, say: Say) -> None:
    ids = [add_run(lr=lr, right=range(5)) for lr in (0.1, 0.2)]
    table = load_run_table(store, ids)
    for run, version in zip(table.runs, ("2.12.0", "2.13.0"), strict=True):
        text = f"python: 3.11.7 (/{version}/python)\nhost: vm\n\nnumpy==2.1\ntorch=={version}\n"
        (Path(run.artifact_uri) / "environment.txt").write_text(text)
    shown, _ = say(*ids)
    assert "Environment    A       B\n  torch        2.12.0  2.13.0\n" in shown
    patches = [b"one\ntwo\n", None]
    tagged = table._replace(tags=table.tags | {"dirty": ["true", "false"]})
    for run, patch in zip(table.runs, patches, strict=True):
        if patch:
            (Path(run.artifact_uri) / "changes.patch").write_bytes(patch)
        else:
            # where this checkout itself has changes
            (Path(run.artifact_uri) / "changes.patch").unlink(missing_ok=True)
    facts = run_groups.gather_facts(store, tagged)
    digest = hashlib.sha256(b"one\ntwo\n").hexdigest()[:8]
    assert facts.code["changes.patch"] == [f"{digest}, 2 lines", "none"]
    assert len(run_groups.group_by_setting(tagged, facts)) == 2


def test_a_measured_reason_is_no_difference(add_run: AddRun, store: Store) -> None:
    table = load_run_table(store, [add_run(lr=lr, right=range(5)) for lr in (0.1, 0.2, 0.3)])
    precisions = ["bf16: 1/4.6 of an fp32 one here", "bf16: 1/4.7 of an fp32 one here", None]
    facts = run_groups.gather_facts(
        store, table._replace(tags=table.tags | {"precision": precisions})
    )
    assert facts.environment["precision"] == ["bf16", "bf16", None]


def test_long_values_are_told_apart_by_their_files(add_run: AddRun, judge: Any) -> None:
    ids = [add_run(right=range(5), params={"long": letter * 9000}) for letter in ("a", "b", "a")]
    told = judge(*ids)
    [values] = told["differences"]["configuration"].values()
    assert [len(group["runs"]) for group in told["groups"].values()] == [1, 1]
    assert values["A"][0] != values["B"][0]
    assert "9000 characters" in values["A"][0]


def test_a_page_is_one_file_without_scripts(add_run: AddRun, say: Say, tmp_path: Path) -> None:
    ids = [add_run("<b>x</b>", lr=lr, seed=seed) for lr in (0.1, 0.2) for seed in (1, 2)]
    page = tmp_path / "page.html"
    _, said = say(*ids, "--html", str(page))
    text = page.read_text()
    assert f"written to {page}" in said
    assert "&lt;b&gt;x&lt;/b&gt;" in text and "<b>x" not in text
    assert "<svg" in text and "model.optim.lr" in text
    assert "<script" not in text and "http" not in text
    assert ">B - A<" in text


def test_many_settings_are_summed_up(add_run: AddRun, say: Say, judge: Any) -> None:
    for place in range(24):
        add_run(lr=place + 1, accuracy=place / 24)
    shown, _ = say()
    assert "  model.optim.lr  1 to 24 (24 values)\n" in shown
    assert "... and 4 more, all behind these by test/accuracy" in shown
    assert "24 settings are too many to be tested against one another (at most 12)" in shown
    assert len(judge()["groups"]) == 24


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (("nonsense",), "RUN='nonsense' is not a run id"),
        (("a,b",), "RUN='a,b' is no run; several are parted by blanks: a b"),
        (("--latex",), "there is no option --latex; valid: --metric, --html, --json, --uri"),
        (("params.lr = ",), "is no filter for MLflow"),
        (("params.lr = '7'",), "finds no run of experiment palimpsest"),
        (("--metric", "test/acuracy"), "none of these runs has this metric; did you mean"),
        (("--html", "/nowhere/x.html"), "--html /nowhere/x.html: there is no folder /nowhere"),
        (("--experiment", "other"), "--experiment=other: there is no such experiment; valid: "),
        (("--jsn",), "there is no option --jsn; did you mean '--json'?"),
    ],
)
def test_mistakes_are_one_message(
    words: tuple[str, ...], message: str, add_run: AddRun, say: Say
) -> None:
    add_run()
    printed, said = say(*words, code=2)
    assert printed == ""
    assert message in said
    assert said.count("error:") == 1


def test_no_store_is_a_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert compare.main(["--root", str(tmp_path)]) == 2
    assert "no run has been kept yet in" in capsys.readouterr().err


def test_models_that_answer_alike_do_not_differ(add_run: AddRun, judge: Any) -> None:
    [verdict] = judge(*(add_run(lr=lr, right=range(5)) for lr in (0.1, 0.2)))["verdicts"]
    assert verdict["outcome"] == "equal"
    assert verdict["words"] == "A and B do not differ in test/accuracy (10 test rows)"


def test_runs_without_numbers_still_differ(add_run: AddRun, store: Store, say: Say) -> None:
    ids = []
    for lr in (0.1, 0.2):
        params = {"lr": lr}
        with RunRecord(store=store, name="bare", kind="k", params=params) as record:
            ids.append(record.run_id)
    shown, _ = say(*ids)
    assert "  lr             0.1     0.2\n" in shown
    assert "> seconds" in shown
    assert "it is not known by a digest whether the test rows are those of A" in shown
    bad = add_run(accuracy=math.nan)
    shown, _ = say(bad, "--metric", "test/accuracy")
    assert "one run: nothing to compare it with" in shown


def test_a_sweep_without_trials_and_runs_without_numbers(add_run: AddRun, say: Say) -> None:
    assert "which has no trial yet" in say(add_run("s", kind="search"), code=2)[1]


def test_a_metric_that_rows_do_not_give_is_no_verdict_of_one_seed(
    add_run: AddRun, say: Say
) -> None:
    ids = [add_run(lr=lr, right=range(count)) for lr, count in ((0.1, 3), (0.2, 9))]
    shown, _ = say(*ids, "--metric", "test/loss")
    assert "Metrics (1 seed)" in shown
    assert "test/loss is not computed from the predictions that runs keep, so test/accuracy" in (
        shown
    )
    assert "no verdict" not in say(*ids)[0]


def test_runs_of_other_programs_are_compared_by_their_metrics(store: Store, say: Say) -> None:
    session = store.open()
    ids = []
    for value in (87.3, 88.0):
        run = session.client.create_run(session.experiment_id, None, {}, "other")
        session.client.log_metric(run.info.run_id, "accuracy", value)
        session.client.log_param(run.info.run_id, "x", str(value))
        session.client.set_terminated(run.info.run_id)
        ids.append(run.info.run_id)
    # the difference is one of percent, not of shares
    assert "> accuracy" in (shown := say(*ids)[0]) and "+0.7\n" in shown


def test_an_environment_that_is_lost_is_no_difference(
    store: Store, add_run: AddRun, say: Say
) -> None:
    first, second = add_run(lr=0.1), add_run(lr=0.2)
    shutil.rmtree(store.find_run(first).artifact_uri)
    shown, _ = say(first, second)
    assert "Environment" not in shown
    assert f"environments are not compared: there is none of {first[:8]}" in shown
