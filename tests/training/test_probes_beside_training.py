"""Probes look at a training and change nothing of it, to the last bit, also where it goes on from a
checkpoint.
"""

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from lightning.pytorch import Callback

from src.core.user_errors import UserError
from src.data.synthetic.reviews import Generated
from src.data.synthetic.tasks import GeneratedTask
from src.evaluation.embedding_probe import EmbeddingProbe
from src.evaluation.probe_callback import EmbeddingProbeCallback, embed_rows, read_probe_rows
from src.pipeline.report.fill_in_probes import FillInCallback
from src.training.callbacks import Milestone
from tests.training.small_trainings import (
    LABELLED,
    MASKED,
    Compose,
    assert_goes_on,
    begun_at,
    same,
    train,
)

OPTIONS = ("trainer.max_epochs=1", "trainer.val_check_steps=3", "data.batching.batch_size=5")
SOURCE = Generated(train=90, validation=1, test=1, seed=5)


class Record:
    """Keeps what a run would."""

    def __init__(self) -> None:
        self.metrics: dict[int, dict[str, float]] = {}
        self.tables: dict[str, dict[str, list[Any]]] = {}

    def log_metrics(self, metrics: dict[str, float], *, step: int) -> None:
        self.metrics[step] = metrics

    def log_table(self, table: dict[str, list[Any]], name: str) -> None:
        self.tables[name] = table


def build_probes(record: Record) -> list[Callback]:
    [probe] = EmbeddingProbe(source=SOURCE, rows=60, neighbors=5).build(Path())
    fill_in: Any = FillInCallback(("the [MASK] => screen", "a [MASK]"), record)  # type: ignore[arg-type]
    return [probe, fill_in]


@pytest.mark.parametrize("precision", ["32-true", "bf16-mixed"])
def test_a_probed_training_is_the_same_to_the_last_bit(
    precision: str, composed: Compose, tmp_path: Path
) -> None:
    config = composed(*MASKED, *OPTIONS, f"data.cache={tmp_path}/cache")
    record = Record()
    plain = train(config, tmp_path / "plain", precision=precision)
    whole = train(config, tmp_path / "whole", *build_probes(record), precision=precision)
    assert same(plain.module.state_dict(), whole.module.state_dict())
    assert same(plain.trainer.optimizers[0].state_dict(), whole.trainer.optimizers[0].state_dict())
    probed = {point: value for point, value in whole.points.points.items() if "probe/" in point[0]}
    assert plain.points.points == whole.points.without(probed)
    steps = [0, *(step for key, step in plain.points.points if key == "val/loss")]
    assert steps == [0, 3, 6, 9, 10]
    for name in ("knn_accuracy", "linear_accuracy"):
        assert [step for key, step in probed if key == f"probe/{name}"] == steps
        # of 20 rows
        assert all(
            value * 20 == round(value * 20) for (key, _), value in probed.items() if name in key
        )
    assert all(1 <= value <= 16 for (key, _), value in probed.items() if "rankme" in key)
    table = record.tables["report/fill_in.json"]
    assert table["step"] == [step for step in steps[1:] for _ in range(2)]
    assert list(record.metrics) == steps[1:]


def test_a_probed_training_goes_on_from_a_checkpoint(composed: Compose, tmp_path: Path) -> None:
    config = composed(*MASKED, *OPTIONS, f"data.cache={tmp_path}/cache")
    record = Record()
    whole = train(config, tmp_path / "whole", *build_probes(record), keep=2)
    for step in (4, 6):
        folder, again = tmp_path / f"from {step}", Record()
        begin = begun_at(tmp_path / "whole", folder, step)
        rest = train(config, folder, *build_probes(again), begin=begin, keep=2)
        assert_goes_on(whole, rest, logged=step)
        # with the answers of the time before
        assert again.tables == record.tables


def test_what_is_monitored_may_be_a_probe(composed: Compose, tmp_path: Path) -> None:
    config = composed(*MASKED, *OPTIONS, f"data.cache={tmp_path}/cache")
    milestone = Milestone(monitor="probe/rankme", mode="max", step=3, mark=1000.0)
    [stop] = milestone.build(tmp_path)
    stopped = train(config, tmp_path / "stopped", build_probes(Record())[0], stop)
    assert stopped.trainer.global_step == 3


def test_vectors_are_means_of_hidden_states_in_the_order_of_the_rows(
    composed: Compose, tmp_path: Path
) -> None:
    config = composed(*LABELLED, "trainer.max_epochs=1", f"data.cache={tmp_path}/cache")
    made = train(config, tmp_path / "run")
    datamodule: Any = made.trainer.datamodule  # type: ignore[attr-defined]
    rows = read_probe_rows(datamodule, SOURCE, 30)
    # evenly from both labels, each third one judged
    assert np.bincount(rows.labels).tolist() == [15, 15]
    assert np.bincount(rows.labels[rows.is_judged]).tolist() == [5, 5]
    module = made.module.eval()
    with torch.no_grad():
        vectors = embed_rows(module, rows)
        for place in (0, 17, 29):
            alone = rows._replace(ids=[rows.ids[place]], begins=rows.begins[place : place + 1])
            assert np.allclose(embed_rows(module, alone)[0], vectors[place], atol=1e-5)
    again = read_probe_rows(datamodule, SOURCE, 30)
    assert all(np.array_equal(one, other) for one, other in zip(rows.ids, again.ids, strict=True))


def test_rows_with_labels_that_are_no_classes_are_refused(
    composed: Compose, tmp_path: Path
) -> None:
    config = composed(*MASKED, *OPTIONS, f"data.cache={tmp_path}/cache")
    source = GeneratedTask(kind="entities", train=40, validation=1, test=1, seed=1)
    probe = EmbeddingProbeCallback(source, rows=30, neighbors=5)
    with pytest.raises(UserError):
        train(config, tmp_path / "run", probe)
