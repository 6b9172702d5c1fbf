"""A run's model for other programs: `python -m src.export run=ID format=onnx output=FOLDER`.

run=ID           the run, by its id, the beginning of it, its name, or latest
format=FORMAT    transformers: the run's own folder, which has a program that answers with torch \
and transformers alone
                 mlflow: the same folder, as a version of a registered model
                 onnx, openvino: the network for these runtimes, in fp32
output=FOLDER    where it goes; there is none yet
register=NAME    with format=mlflow: the registered model; output= may then be left
alias=A,B        names that move to the new version
rows=200         onnx, openvino: by how many validation rows the export is compared with the model
tolerance=1e-4   onnx, openvino: the largest difference of a probability at which it is kept (of a \
value v: times |v|, where that is more than 1); else the exit code is 1
uri=             a store other than mlruns/mlflow.db
root=FOLDER      the folder whose mlruns/ has the run, if it is another than here
"""

import shutil
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ is None:
    # typed as a file where the program is not installed: python src/export.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import parse_key_values, run_command_line
from src.core import startup
from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import read_experiment_name, read_tracking_uri
from src.core.printing import print_line
from src.core.user_errors import UserError, did_you_mean, suggest

if TYPE_CHECKING:
    from src.pipeline.earlier_model import EarlierModel
    from src.tracking.store import Store

_DEFAULTS = {
    "run": "",
    "format": "",
    "output": "",
    "register": "",
    "alias": "",
    "rows": "200",
    "tolerance": "1e-4",
    "uri": "",
    "root": "",
}
FORMATS = ("transformers", "mlflow", "onnx", "openvino")
# options that one kind of format takes
_OPTION_FORMATS = {
    "register": ("mlflow",),
    "alias": ("mlflow",),
    "rows": ("onnx", "openvino"),
    "tolerance": ("onnx", "openvino"),
}
_OPTION_NAMES = {"tracking.uri": "uri", "tracking.root": "root"}
# texts by which a network is traced
_TRACED_ROWS = 2


class InexactExport(Exception):
    """The answers of an export are too far from those of its model."""


def main(arguments: Sequence[str]) -> int:
    """Export a model; returns the exit code: 1 where it is not exact enough."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    options = parse_key_values(arguments, _DEFAULTS)
    rows, tolerance = _check_options(options)
    output = Path(options["output"]).expanduser().absolute() if options["output"] else None
    with redirect_stdout(sys.stderr):
        from src.core.startup import silence_transformers
        from src.pipeline.earlier_model import find_earlier_model
        from src.tracking.store import Store

        silence_transformers()
        store = Store(
            root=options["root"] or str(PROJECT_ROOT),
            uri=options["uri"] or read_tracking_uri(),
            experiment=read_experiment_name(),
        )
        store.check()
        store.announce_environment()
        model = find_earlier_model(store, options["run"])
    startup.resume_gc()
    match options["format"]:
        case "transformers":
            assert output is not None
            _copy_model(model, output)
        case "mlflow":
            _export_to_mlflow(store, model, output, options)
        case format:
            assert output is not None
            return _export_to_runtime(model, output, format, rows, tolerance)
    return 0


def _check_options(options: dict[str, str]) -> tuple[int, float]:
    """The number of rows and the tolerance. Raises UserError for what is wrong whatever the run
    is.
    """
    if not options["run"]:
        raise UserError("must be given, as run=ID", key="run", hint="`make ui` shows the ids")
    chosen = options["format"]
    if chosen not in FORMATS:
        if not chosen:
            raise UserError(f"must be given, as format={'|'.join(FORMATS)}", key="format")
        near = suggest(chosen, FORMATS)
        raise UserError(
            key="format",
            value=chosen,
            expected=f"one of {', '.join(FORMATS)}",
            hint=None if near is None else did_you_mean(near),
        )
    for name, formats in _OPTION_FORMATS.items():
        if options[name] != _DEFAULTS[name] and chosen not in formats:
            raise UserError(
                f"goes with format={' or format='.join(formats)}",
                key=name,
                value=options[name],
                colon=False,
            )
    if options["alias"] and not options["register"]:
        raise UserError("goes with register=NAME", key="alias", value=options["alias"], colon=False)
    if not options["output"] and not options["register"]:
        other = ", or register=NAME" if chosen == "mlflow" else ""
        raise UserError(f"must be given, as output=FOLDER{other}", key="output")
    if options["output"]:
        _check_output(Path(options["output"]).expanduser(), options["output"])
    if not options["rows"].isdecimal() or int(options["rows"]) < 1:
        raise UserError(key="rows", value=options["rows"], expected="a whole number at least 1")
    try:
        tolerance = float(options["tolerance"])
    except ValueError:
        tolerance = -1.0
    if not 0 <= tolerance < 1:
        raise UserError(
            key="tolerance", value=options["tolerance"], expected="a number from 0, and below 1"
        )
    return int(options["rows"]), tolerance


def _check_output(output: Path, typed: str) -> None:
    if output.exists():
        raise UserError(
            "is there already", key="output", value=typed, hint="give a new name", colon=False
        )
    if not output.absolute().parent.is_dir():
        raise UserError(f"there is no folder {output.absolute().parent}", key="output", value=typed)


@contextmanager
def _new_folder(output: Path) -> Iterator[Path]:
    """Yield a folder that takes its name when the block ends, and is gone if that raises."""
    try:
        with tempfile.TemporaryDirectory(dir=output.parent) as draft:
            folder = Path(draft) / "model"
            folder.mkdir()
            yield folder
            folder.rename(output)
    except OSError as error:
        raise UserError(
            f"cannot be written: {error.strerror or error}", key="output", value=output
        ) from error


def _copy_model(model: "EarlierModel", output: Path) -> None:
    from src.pipeline.export import READER_NAME, add_reader

    with _new_folder(output) as folder:
        shutil.copytree(model.folder, folder, dirs_exist_ok=True)
        has_reader = add_reader(folder)
    print_line(f"the model folder is {output}")
    if has_reader:
        print_line(f'python {output / READER_NAME} "A text." asks it')


def _export_to_mlflow(
    store: "Store", model: "EarlierModel", output: Path | None, options: dict[str, str]
) -> None:
    from src.pipeline.export import JUDGING_TASKS, add_reader

    if (task := model.inference_config["task"]) not in JUDGING_TASKS:
        raise UserError(
            f"a model for {task} is no model of MLflow",
            key="format",
            value="mlflow",
            expected="a run that judges whole texts: classification, several labels or regression",
        )
    aliases = [alias for alias in options["alias"].split(",") if alias]
    with tempfile.TemporaryDirectory() as draft:
        folder = Path(shutil.copytree(model.folder, Path(draft) / "model"))
        add_reader(folder)
        if output is not None:
            with _new_folder(output) as made:
                shutil.copytree(folder, made, dirs_exist_ok=True)
            print_line(f"the model folder is {output}")
        if name := options["register"]:
            number = store.register_model(model.run_id, folder, name, aliases)
            named = "".join(f", alias {alias}" for alias in aliases)
            print_line(f"registered as {name}, version {number}{named}")
            address = f"models:/{name}@{aliases[0]}" if aliases else f"models:/{name}/{number}"
            print_line(
                f"MLFLOW_TRACKING_URI={store.tracking_uri} mlflow models serve -m {address} "
                "--env-manager local"
            )


def _export_to_runtime(
    model: "EarlierModel", output: Path, format: str, count: int, tolerance: float
) -> int:
    from src.pipeline.parity_rows import read_validation_rows
    from src.pipeline.runtime_formats import (
        check_format,
        compare_with_model,
        write_card,
        write_runtime_folder,
    )

    check_format(format, model.inference_config["task"])
    rows, split = read_validation_rows(model, count)
    try:
        with _new_folder(output) as folder:
            write_runtime_folder(model.folder, folder, format, rows[:_TRACED_ROWS])
            parity = compare_with_model(model.folder, folder, rows, split)
            if parity.difference > tolerance:
                raise InexactExport(parity.describe())
            write_card(folder, format, f"run {model.run_id}", parity, tolerance)
    except InexactExport as error:
        print_line(
            f"error: the export is not kept, it is not exact enough: {error}; at most "
            f"tolerance={tolerance:g} is allowed",
            to_stderr=True,
        )
        return 1
    print_line(f"the export is {output}")
    print_line(f"compared with the model on {parity.describe()}")
    return 0


if __name__ == "__main__":
    with startup.run_without_gc():
        sys.exit(main(sys.argv[1:]))
