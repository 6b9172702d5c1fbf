"""A project with a few labelled rows, and the config of a run over them: for tests of how runs go
on.
"""

import shutil
from pathlib import Path
from typing import Any

from hydra import compose, initialize_config_dir
from hydra.core.global_hydra import GlobalHydra

from src.config.compose import to_plain_config

CONF = Path(__file__).resolve().parents[1] / "conf"


def project_of(root: Path, database: Path) -> Path:
    """A store, and 32 labelled rows to learn from."""
    (root / "mlruns").mkdir()
    shutil.copy(database, root / "mlruns" / "mlflow.db")
    (root / "rows").mkdir()
    for split, count in (("train", 32), ("validation", 8), ("test", 8)):
        rows = [
            f"{'good' if each % 2 else 'bad'} {split} {each},{each % 2}\n" for each in range(count)
        ]
        (root / "rows" / f"{split}.csv").write_text("text,label\n" + "".join(rows))
    return root


def quiet_overrides(project: Path) -> tuple[str, ...]:
    """A run over those rows on one core, in that store, which says little."""
    return (
        f"data.source.path={project}/rows",
        "trainer.accelerator=cpu",
        "trainer.precision=fp32",
        "trainer.threads=1",
        "trainer.log_every_n_steps=1",
        "callbacks.progress.style=off",
        f"tracking.root={project}",
        f"data.cache={project}/.cache",
        "tracking.system_metrics=false",
    )


def config_of(project: Path) -> dict[str, Any]:
    """Of a run of 8 steps: two epochs with dropout, validations at 3, 6 and 8, a checkpoint every 2
    steps.
    """
    GlobalHydra.instance().clear()
    overrides = (
        "data=files",
        "data/tokenizer=wordpiece",
        "model/encoder=tiny",
        "model.encoder.dropout=0.1",
        "model.encoder.layers=1",
        "data.batching.batch_size=8",
        "trainer.max_epochs=2",
        "trainer.val_check_steps=3",
        "callbacks.checkpoint.every_steps=2",
        "model.optim.lr=1e-3",
        *quiet_overrides(project),
    )
    with initialize_config_dir(version_base="1.3", config_dir=str(CONF)):
        return to_plain_config(compose("config", list(overrides)))
