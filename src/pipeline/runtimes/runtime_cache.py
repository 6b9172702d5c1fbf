"""The model of a run in OpenVINO's format: made and compared with the model once, then kept beside
what else is fetched of the run.
"""

import hashlib
from importlib.metadata import version
from pathlib import Path
from typing import TYPE_CHECKING

from src.core.printing import print_line
from src.core.user_errors import UserError
from src.pipeline.earlier_model import EarlierModel
from src.pipeline.export import READER_NAME, find_program

if TYPE_CHECKING:
    from src.tracking.store import Store

_FORMAT = "openvino"


def find_runtime_model(
    store: "Store", typed: str, model: EarlierModel, precision: str
) -> EarlierModel:
    """The model of a run, to be asked on OpenVINO.

    Args:
        typed: the run, as it was typed.
        precision: fp32, bf16 or int8; auto takes bf16 where this machine is clearly faster at it.

    Raises:
        UserError: the extra is not installed, the model has no such form, or its answers would be
            too far from those of the run.
    """
    from src.data.cache import ContentCache
    from src.pipeline.runtimes.runtime_formats import (
        InexactExport,
        check_format,
        fill_runtime_folder,
    )
    from src.pipeline.runtimes.runtime_parity import read_bounds
    from src.training.precision import choose_precision

    if precision == "auto":
        precision, _ = choose_precision("cpu")
    check_format(_FORMAT, model.inference_config["task"], precision, key="backend")
    run_id = store.find_run(typed, key="run").id

    def build(folder: Path) -> None:
        print_line(f"making the model of run {run_id[:8]} for OpenVINO, in {precision}")
        parity = fill_runtime_folder(
            model,
            folder,
            _FORMAT,
            precision,
            run=f"run {run_id}",
            bounds=read_bounds(precision, {"rows": "", "tolerance": "", "max_flips": ""}),
        )
        print_line(f"compared with the model on {parity.describe()}")

    cache = ContentCache(store.runs_folder / "fetched" / run_id)
    try:
        folder = cache.get_or_build(_FORMAT, _hash_export(model.folder, precision), build)
    except InexactExport as error:
        raise UserError(
            f"the answers would not be exact enough: {error}",
            key="precision",
            value=precision,
            hint={"int8": "precision=bf16 is closer", "bf16": "precision=fp32 is exact"}.get(
                precision
            ),
        ) from error
    return model._replace(folder=folder)


def _hash_export(source: Path, precision: str) -> str:
    """A hash of all that an export is made of, but for the rows of the run."""
    packages = [f"{name} {version(name)}" for name in ("torch", "transformers", "openvino")]
    if precision == "int8":
        packages.append(f"nncf {version('nncf')}")
    found = hashlib.sha256(repr((precision, packages)).encode())
    reader = find_program(READER_NAME)
    for file in (*sorted(path for path in source.rglob("*") if path.is_file()), reader):
        found.update(file.name.encode())
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()
