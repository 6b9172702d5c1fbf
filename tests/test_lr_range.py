"""`python -m src.lr_range`: the run that it makes, and what it refuses."""

from pathlib import Path

import pytest

from src.core.files import PROJECT_ROOT
from src.lr_range import main, parse_settings
from src.pipeline.lr_range_run import LrRangeSettings
from src.tracking.store import Store


@pytest.mark.parametrize(
    ("typed", "message"),
    [
        ("steps=5", "steps=5: expected at least 20"),
        ("steps=many", "steps: expected a whole number, found 'many'"),
        ("lowest=1", "lowest=1 highest=1: expected rates above 0 and at most 1, the lowest first"),
    ],
)
def test_settings_that_make_no_curve_are_refused(
    typed: str, message: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([typed, "+experiment=quickstart_scratch"]) == 2
    assert capsys.readouterr().err == f"error: {message}\n"
    assert parse_settings(["lowest=1e-5"]) == LrRangeSettings(1e-5, 1.0, 100)


def test_the_curve_and_the_suggestion_are_in_a_finished_run(
    tmp_path: Path, blank_database: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mlruns").mkdir()
    (tmp_path / "mlruns" / "mlflow.db").write_bytes(blank_database.read_bytes())
    code = main(
        [
            "+experiment=quickstart_scratch",
            "trainer=cpu",
            "trainer.threads=1",
            "model/encoder=tiny",
            f"tracking.root={tmp_path}",
            f"data.cache={tmp_path}/cache",
            "steps=30",
            "lowest=1e-4",
            "highest=0.1",
        ]
    )
    shown = capsys.readouterr()
    assert code == 0, shown.err
    store = Store(root=str(tmp_path), experiment="palimpsest")
    [found] = store.search_runs(limit=3)
    assert found.status == "FINISHED"
    run = store.open().client.get_run(found.id)
    assert run.data.tags["lr_range.suggestion"] in shown.out
    assert run.data.tags["lr_range"] == "0.0001 to 0.1"
    assert run.data.metrics["lr_range/lr"] == pytest.approx(0.1)
    assert not any(name.startswith(("val/", "test/")) for name in run.data.metrics)
    report = {path.name for path in (tmp_path / "mlruns").rglob("lr_range.*")}
    assert report == {"lr_range.json", "lr_range.png"}
    assert not list((tmp_path / "mlruns").rglob("model.safetensors"))
    assert not (PROJECT_ROOT / "mlruns" / "lr_range").exists()
