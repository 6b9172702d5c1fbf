"""A run's model for other programs: `python -m src.export run=ID format=onnx output=FOLDER`.

run=ID           the run, by its id, the beginning of it, its name, or latest
format=FORMAT    transformers: the run's own folder, which has a program that answers with torch \
and transformers alone
                 mlflow: the same folder, as a version of a registered model
                 onnx, openvino: the network for these runtimes
output=FOLDER    where it goes; there is none yet
precision=fp32   openvino: fp32, bf16 or int8; onnx has fp32; mlflow: it then serves OpenVINO
register=NAME    with format=mlflow: the registered model; output= may then be left
alias=A,B        names that move to the new version
rows=            onnx, openvino: by how many validation rows the export is compared with the model;
                 200 in fp32, else 1000
tolerance=       onnx, openvino: how far a probability may be off (of a value v: times |v|, where \
that is more than 1), else the exit code is 1: in fp32 1e-4 at most, in bf16 0.005 and in int8 \
0.03 in the mean
max_flips=       the largest share of predictions that may change: 0.01 in bf16, 0.02 in int8
calibration=FILE int8: texts that fix its scales, instead of 50 training rows of the run; where \
the run's data are gone, the export is compared by the other rows of FILE
uri=             a store other than mlruns/mlflow.db
root=FOLDER      the folder whose mlruns/ has the run, if it is another than here
"""

import hashlib
import shutil
import sys
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager, redirect_stdout
from pathlib import Path
from typing import TYPE_CHECKING

if __package__ is None:
    # typed as a file where the program is not installed: python src/export.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import parse_key_values, run_command_line
from src.core import startup
from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import choose_tracking_uri, read_experiment_name
from src.core.printing import print_line
from src.core.registered_names import find_alias_problem, find_name_problem
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
    "precision": "",
    "rows": "",
    "tolerance": "",
    "max_flips": "",
    "calibration": "",
    "uri": "",
    "root": "",
}
FORMATS = ("transformers", "mlflow", "onnx", "openvino")
# what other programs call the folder that transformers opens
_SAME_FORMATS = dict.fromkeys(
    ("hf", "huggingface", "safetensors", "pytorch", "torch", "pt", "hub"), "transformers"
)
# options that one kind of format takes
_OPTION_FORMATS = {
    "register": ("mlflow",),
    "alias": ("mlflow",),
    "precision": ("onnx", "openvino", "mlflow"),
    "rows": ("onnx", "openvino"),
    "tolerance": ("onnx", "openvino"),
    "max_flips": ("onnx", "openvino"),
    "calibration": ("openvino",),
}
_OPTION_NAMES = {"data.source.path": "calibration", "tracking.uri": "uri", "tracking.root": "root"}


def main(arguments: Sequence[str]) -> int:
    """Export a model; returns the exit code: 1 where it is not exact enough."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    options = parse_key_values(arguments, _DEFAULTS)
    _check_options(options)
    output = Path(options["output"]).expanduser().absolute() if options["output"] else None
    with redirect_stdout(sys.stderr):
        from src.core.startup import silence_transformers
        from src.pipeline.earlier_model import find_earlier_model
        from src.tracking.store import Store

        silence_transformers()
        store = Store(
            root=options["root"] or str(PROJECT_ROOT),
            uri=choose_tracking_uri(options["uri"]),
            experiment=read_experiment_name(),
        )
        store.check()
        store.announce_environment()
        model = find_earlier_model(store, options["run"])
    startup.resume_gc()
    from src.pipeline.runtimes.runtime_formats import InexactExport

    try:
        if options["format"] == "mlflow":
            _export_to_mlflow(store, model, output, options)
        else:
            assert output is not None
            export = _copy_model if options["format"] == "transformers" else _export_to_runtime
            export(model, output, options)
    except InexactExport as error:
        print_line(
            f"error: the export is not kept, it is not exact enough: {error}", to_stderr=True
        )
        return 1
    return 0


def _check_options(options: dict[str, str]) -> None:
    """Raise UserError for what is wrong whatever the run is."""
    if not options["run"]:
        raise UserError("must be given, as run=ID", key="run", hint="`make ui` shows the ids")
    chosen = options["format"]
    if chosen not in FORMATS:
        if not chosen:
            raise UserError(f"must be given, as format={'|'.join(FORMATS)}", key="format")
        near = _SAME_FORMATS.get(chosen.lower()) or suggest(chosen, FORMATS)
        raise UserError(
            key="format",
            value=chosen,
            expected=f"one of {', '.join(FORMATS)}",
            hint=None if near is None else did_you_mean(near),
        )
    runtime = _find_runtime(options)
    for name, formats in _OPTION_FORMATS.items():
        if options[name] != _DEFAULTS[name] and not {chosen, runtime} & {*formats}:
            raise UserError(
                f"goes with format={' or format='.join(formats)}",
                key=name,
                value=options[name],
                colon=False,
            )
    if options["alias"] and not options["register"]:
        raise UserError("goes with register=NAME", key="alias", value=options["alias"], colon=False)
    if options["register"] and (problem := find_name_problem(options["register"])):
        raise UserError(problem, key="register", value=options["register"], colon=False)
    for alias in _list_aliases(options):
        if problem := find_alias_problem(alias):
            raise UserError(problem, key="alias", value=alias, colon=False)
    if not options["output"] and not options["register"]:
        other = ", or register=NAME" if chosen == "mlflow" else ""
        raise UserError(f"must be given, as output=FOLDER{other}", key="output")
    if options["output"]:
        _check_output(Path(options["output"]).expanduser(), options["output"])
    if runtime is not None:
        _check_runtime_options(runtime, options)


def _find_runtime(options: dict[str, str]) -> str | None:
    """The format of the network, where it is another than that of transformers."""
    if options["format"] == "mlflow" and options["precision"]:
        return "openvino"
    return options["format"] if options["format"] in ("onnx", "openvino") else None


def _check_runtime_options(runtime: str, options: dict[str, str]) -> None:
    from src.pipeline.runtimes.runtime_formats import check_precision
    from src.pipeline.runtimes.runtime_parity import read_bounds

    precision = options["precision"] or "fp32"
    check_precision(runtime, precision)
    read_bounds(precision, options)
    if not options["calibration"]:
        return
    if precision != "int8":
        raise UserError(
            "goes with precision=int8", key="calibration", value=options["calibration"], colon=False
        )
    from src.data.reading.data_path import find_path

    find_path(options["calibration"])


def _list_aliases(options: Mapping[str, str]) -> list[str]:
    return [alias for alias in options["alias"].split(",") if alias]


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


def _copy_model(model: "EarlierModel", output: Path, options: dict[str, str]) -> None:
    from src.pipeline.export import READER_NAME, add_reader

    with _new_folder(output) as folder:
        shutil.copytree(model.folder, folder, dirs_exist_ok=True)
        has_reader = add_reader(folder)
    print_line(f"the model folder is {output}")
    if has_reader:
        print_line(f'python {output / READER_NAME} "{_choose_question(model)}" asks it')


def _choose_question(model: "EarlierModel") -> str:
    """A text that the model has an answer to."""
    from src.pipeline.export import LIST_ANSWERS

    fills = LIST_ANSWERS.get(model.inference_config["task"], ("",))[0] == "fillings"
    return "A [MASK] text." if fills else "A text."


def _export_to_mlflow(
    store: "Store", model: "EarlierModel", output: Path | None, options: dict[str, str]
) -> None:
    from src.pipeline.export import add_reader, is_readable
    from src.tracking.registered_model import describe_version

    if not is_readable(model.inference_config):
        raise UserError(
            f"a model for {model.inference_config['task']} is no model of MLflow",
            key="format",
            value="mlflow",
            expected="a run that judges texts, tags words or fills masks",
        )
    aliases = _list_aliases(options)
    with tempfile.TemporaryDirectory() as draft:
        folder, artifact = Path(draft) / "model", "model"
        if runtime := _find_runtime(options):
            folder.mkdir()
            print_line(_fill_runtime_folder(model, folder, runtime, options))
            artifact = f"model_{runtime}_{options['precision']}_{_hash_network(folder)}"
        else:
            shutil.copytree(model.folder, folder)
        add_reader(folder)
        if output is not None:
            with _new_folder(output) as made:
                shutil.copytree(folder, made, dirs_exist_ok=True)
            print_line(f"the model folder is {output}")
        if name := options["register"]:
            number = store.register_model(model.run_id, folder, name, aliases, artifact=artifact)
            print_line(f"registered as {describe_version(name, number, aliases)}")
            address = f"models:/{name}@{aliases[0]}" if aliases else f"models:/{name}/{number}"
            print_line(
                f"MLFLOW_TRACKING_URI={store.tracking_uri} mlflow models serve -m {address} "
                "--env-manager local"
            )


def _hash_network(folder: Path) -> str:
    """Eight digits that tell a network from others of the same run."""
    from src.pipeline.palimpsest_model import find_runtime_file

    found = hashlib.sha256()
    network = find_runtime_file(folder)
    assert network is not None
    for file in sorted(folder.glob(f"{network.stem}.*")):
        with file.open("rb") as content:
            found.update(hashlib.file_digest(content, "sha256").digest())
    return found.hexdigest()[:8]


def _export_to_runtime(model: "EarlierModel", output: Path, options: dict[str, str]) -> None:
    with _new_folder(output) as folder:
        compared = _fill_runtime_folder(model, folder, options["format"], options)
    print_line(f"the export is {output}")
    print_line(compared)


def _fill_runtime_folder(
    model: "EarlierModel", folder: Path, format: str, options: dict[str, str]
) -> str:
    """Write the model for another runtime; returns in words how exact it is. Raises InexactExport
    if it is not exact enough.
    """
    from src.data.reading.data_path import find_path
    from src.pipeline.runtimes.runtime_formats import check_format, fill_runtime_folder
    from src.pipeline.runtimes.runtime_parity import read_bounds

    precision = options["precision"] or "fp32"
    check_format(format, model.inference_config["task"], precision)
    parity = fill_runtime_folder(
        model,
        folder,
        format,
        precision,
        run=f"run {model.run_id}",
        bounds=read_bounds(precision, options),
        calibration=find_path(file) if (file := options["calibration"]) else None,
    )
    return f"compared with the model on {parity.describe()}"


if __name__ == "__main__":
    with startup.run_without_gc():
        sys.exit(main(sys.argv[1:]))
