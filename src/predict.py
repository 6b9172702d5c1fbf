"""Ask a run's model: `python -m src.predict run=ID text="A great film."` or `run=ID \
file=reviews.csv`.

run=ID           the run, by its id or the beginning of it
model=FOLDER     instead of run=: what src.export wrote, or the folder model of a run
text=TEXT        one text; pair=TEXT as well where the model judges pairs; of a pretraining run, \
text="The film was [MASK]." gives the likeliest words, as do the rows of a file with masks
file=FILE        a file, a folder (its split test; split= names another), or - for the standard \
input; read as the run read its own data
column=, pair_column=  the file's columns of texts and second texts; default: those of the run
data.source.KEY=VALUE  any other option of how the file is read, as src.run takes it
output=FILE      where a file's answers go: .csv, .tsv, .jsonl, .parquet, or - for the standard \
output; \
default: FILE's name with .predictions.csv, beside it, or .predictions.jsonl for entities
overwrite=true   replace a file of answers that is there already
strict=true      stop at a row that cannot be read; else it is told and gets no answer
batch_tokens=8192  most tokens of all texts that go through the model together
decision_rule=true  false leaves out the temperature and the thresholds that the run has fitted
precision=auto   fp32 or bf16; auto takes fp32 for one text, and for files bf16 where this machine \
is clearly faster at it; backend=openvino has int8 as well; an export has the one it was made in
backend=torch    openvino answers faster on a CPU; the first time it takes a minute to make and \
compare the export, which is then kept beside the run
uri=             a store other than mlruns/mlflow.db
root=FOLDER      the folder whose mlruns/ has the run, if it is another than here
"""

import contextlib
import shutil
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ is None:
    # typed as a file where the program is not installed: python src/predict.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import parse_key_values, run_command_line
from src.core import startup
from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import choose_tracking_uri, read_experiment_name
from src.core.printing import print_line
from src.core.registered_names import RUN_ADDRESS
from src.core.user_errors import UserError, did_you_mean
from src.pipeline.prediction.prediction_output import PARQUET, STDOUT, check_output, resolve_output

if TYPE_CHECKING:
    from src.pipeline.earlier_model import EarlierModel
    from src.pipeline.prediction.mask_filler import MaskFiller
    from src.pipeline.prediction.predictor import Predictor

OPTION_DEFAULTS = {
    "run": "",
    "text": "",
    "pair": "",
    "file": "",
    "column": "",
    "pair_column": "",
    "split": "",
    "output": "",
    "overwrite": "false",
    "strict": "false",
    "batch_tokens": "8192",
    "precision": "auto",
    "backend": "torch",
    "model": "",
    "decision_rule": "true",
    "uri": "",
    "root": "",
}
_DEVICE = (
    "a GPU is taken where torch sees one; CUDA_VISIBLE_DEVICES= before the command leaves it out"
)
_FOREIGN_OPTIONS = {
    **dict.fromkeys(("device", "accelerator", "gpu", "gpus", "no_cuda", "use_cuda"), _DEVICE),
    **dict.fromkeys(("top_k", "topk", "return_all_scores"), "every class has its probability"),
    **dict.fromkeys(
        ("batch_size", "eval_batch_size"), "batches are bounded by tokens: batch_tokens=8192"
    ),
    **dict.fromkeys(
        ("max_length", "max_seq_length", "max_tokens", "truncation"),
        "texts are cut as in training; data.batching.max_tokens says there how long they may be",
    ),
}
_OPTION_NAMES = {
    "data.source.path": "file",
    "data.source.text": "column",
    "data.source.pair": "pair_column",
    "tracking.uri": "uri",
    "tracking.root": "root",
}
PRECISIONS = ("auto", "fp32", "bf16", "int8")
BACKENDS = ("torch", "openvino")
_FILE_OPTIONS = ("column", "pair_column", "split", "output", "strict")
_STDIN = "-"


def main(arguments: Sequence[str]) -> int:
    """Predict a text or a file; returns the exit code."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    source_arguments = [text for text in arguments if text.lstrip("+~").startswith("data.")]
    own = [text for text in arguments if text not in source_arguments]
    options = parse_key_values(own, OPTION_DEFAULTS, _FOREIGN_OPTIONS)
    source_options = _parse_source_options(source_arguments, options)
    given = {text.partition("=")[0] for text in own}
    _check_options(options, given, source_options)
    with contextlib.redirect_stdout(sys.stderr):
        model = _find_model(options)
    if model.inference_config["task"] == "denoising":
        raise UserError(
            "this run trained a network to write what noise has hidden: it fills no masks and "
            "judges no texts; fine-tune it first, with init_from=ID"
        )
    if model.inference_config["task"] in ("masked_lm", "masked_lm_with_next_sentence"):
        _fill_masks(model, options, source_options)
    elif "text" in given:
        _predict_text(model, options, has_pair="pair" in given)
    else:
        _predict_file(model, options, source_options)
    return 0


def _parse_source_options(arguments: Sequence[str], options: dict[str, str]) -> dict[str, Any]:
    """The options of the source that were typed; the file goes to `options`."""
    if not arguments:
        return {}
    from src.config.build_nodes import read_schema
    from src.config.node_overrides import parse_node_overrides
    from src.data.reading.sources import Source

    typed = parse_node_overrides(arguments, "data.source", read_schema(Source).parameters)
    for key, option in (("path", "file"), ("text", "column"), ("pair", "pair_column")):
        if key in typed and options[option]:
            raise UserError(f"{option}= and data.source.{key}= are the same; give one of them")
    if "path" in typed:
        options["file"] = str(typed.pop("path"))
    return typed


def _check_options(
    options: dict[str, str], given: set[str], source_options: dict[str, Any]
) -> None:
    """Refuse what is wrong whatever the run is."""
    _check_model(options)
    if ("text" in given) == bool(options["file"]):
        raise UserError('expected either text="..." or file=FILE')
    if not options["batch_tokens"].isdecimal() or int(options["batch_tokens"]) < 1:
        raise UserError(
            key="batch_tokens", value=options["batch_tokens"], expected="a whole number at least 1"
        )
    for name in ("overwrite", "strict", "decision_rule"):
        if options[name] not in ("true", "false"):
            raise UserError(key=name, value=options[name], expected="true or false")
    if "text" in given:
        for name in _FILE_OPTIONS:
            if options[name] != OPTION_DEFAULTS[name]:
                raise UserError("goes with file=", key=name, value=options[name], colon=False)
        if source_options:
            raise UserError("data.source options go with file=, which they say how to read")
        for name in ("text", "pair"):
            if name in given and not options[name].strip():
                raise UserError("is empty", key=name, expected="a text", colon=False)
        return
    if "pair" in given:
        raise UserError(
            "goes with text=",
            key="pair",
            value=options["pair"],
            hint="the second texts of a file are pair_column=NAME",
            colon=False,
        )
    if options["file"] != _STDIN:
        from src.data.reading.data_path import find_path

        find_path(options["file"])
    output = resolve_output(options["file"], options["output"])
    check_output(output, options["file"], overwrite=options["overwrite"] == "true")


def _check_model(options: dict[str, str]) -> None:
    if not options["run"] and not options["model"]:
        raise UserError("must be given, as run=ID", key="run", hint="`make ui` shows the ids")
    typed = options["run"]
    if typed and (Path(typed).expanduser() / "config.json").is_file():
        raise UserError(f"{typed} is a folder", key="run", hint=did_you_mean(f"model={typed}"))
    for name, known in (("precision", PRECISIONS), ("backend", BACKENDS)):
        if options[name] not in known:
            raise UserError(key=name, value=options[name], expected=f"one of {', '.join(known)}")
    if not options["model"]:
        return
    folder = Path(options["model"]).expanduser()
    for name, is_typed in (("run", options["run"]), ("backend", options["backend"] != "torch")):
        if is_typed:
            raise UserError(
                "does not go with model=FOLDER, which is asked as it is",
                key=name,
                value=options[name],
                colon=False,
            )
    if not folder.is_dir():
        address = RUN_ADDRESS.match(options["model"])
        hint = did_you_mean(f"run={address[1]}") if address else None
        if options["model"].startswith("models:/"):
            hint = "a registered model is asked by the run that made it, as run=ID"
        raise UserError("there is no such folder", key="model", value=options["model"], hint=hint)


def _find_model(options: dict[str, str]) -> "EarlierModel":
    from src.core.startup import silence_transformers
    from src.pipeline.earlier_model import find_earlier_model, read_earlier_model
    from src.tracking.store import Store
    from src.training.cpu_allocators import limit_kernel_cache

    limit_kernel_cache()
    silence_transformers()
    if options["model"]:
        return read_earlier_model(Path(options["model"]).expanduser().absolute(), {})
    store = Store(
        root=options["root"] or str(PROJECT_ROOT),
        uri=choose_tracking_uri(options["uri"]),
        experiment=read_experiment_name(),
    )
    store.check()
    store.announce_environment()
    model = find_earlier_model(store, options["run"])
    if options["backend"] == "torch":
        return model
    from src.pipeline.runtimes.runtime_cache import find_runtime_model

    if options["precision"] == "auto" and options["text"]:
        options["precision"] = "fp32"
    return find_runtime_model(store, options["run"], model, options["precision"])


def _load_filler_or_predictor(
    model: "EarlierModel", options: dict[str, str]
) -> "Predictor | MaskFiller":
    from src.pipeline.prediction.file_prediction import LIST_COLUMNS

    if LIST_COLUMNS.get(model.inference_config["task"]) != "fillings":
        return _load_predictor(model, options)
    from src.pipeline.prediction.mask_filler import MaskFiller

    startup.resume_gc()
    batch_tokens = int(options["batch_tokens"])
    return MaskFiller(model.folder, model.inference_config, batch_tokens=batch_tokens)


def _load_predictor(model: "EarlierModel", options: dict[str, str]) -> "Predictor":
    from src.pipeline.prediction.predictor import Predictor

    startup.resume_gc()
    precision: Any = options["precision"]
    if precision == "auto" and options["text"] and not options["model"]:
        precision = "fp32"
    predictor = Predictor(
        model.folder,
        batch_tokens=int(options["batch_tokens"]),
        precision=precision,
        decision_rule=options["decision_rule"] == "true",
    )
    for line in predictor.describe_rule():
        print_line(line, to_stderr=True)
    return predictor


def _predict_text(model: "EarlierModel", options: dict[str, str], *, has_pair: bool) -> None:
    model.check_pair(has_pair, key="pair", value=options["pair"])
    predictor = _load_predictor(model, options)
    [answer] = predictor.predict_texts([options["text"]], [options["pair"]] if has_pair else None)
    if answer is None:
        raise UserError("nothing is left of the text once it is cleaned as in training")
    print_line(f"precision {predictor.precision_reason.partition(':')[0]}", to_stderr=True)
    if cuts := predictor.describe_cuts():
        print_line(cuts, to_stderr=True)
    if answer.entities is not None:
        for entity in answer.entities:
            place = f"{entity.start}:{entity.end}"
            print_line(f"{entity.type:<10} {place:<9} {entity.score:.4f}  {entity.text}")
        if not answer.entities:
            print_line("no entities")
        return
    print_line(answer.predicted or "none of the labels")
    for name, probability in answer.probabilities.items():
        print_line(f"  {name:<20} {probability:.4f}")


def _fill_masks(
    model: "EarlierModel", options: dict[str, str], source_options: dict[str, Any]
) -> None:
    if model.inference_config.get("head") == "replaced_tokens":
        raise UserError(
            "this run trained an encoder to tell replaced tokens: it fills no masks and judges no "
            "texts; fine-tune it first, with init_from=ID"
        )
    if options["pair"] or options["pair_column"]:
        raise UserError(
            "this run pretrained an encoder and judges nothing; fine-tune it first, with "
            'init_from=ID, or have it fill masks: text="The film was [MASK]."'
        )
    if options["file"]:
        _predict_file(model, options, {**source_options, "pair": None})
        return
    from src.pipeline.prediction.mask_filler import MaskFiller

    startup.resume_gc()
    fillings = MaskFiller(model.folder, model.inference_config).fill_text(options["text"])
    mask = 0
    for filling in fillings:
        if filling.mask > mask and fillings[-1].mask > 1:
            print_line(f"mask {filling.mask}")
        mask = filling.mask
        print_line(f"  {filling.token:<20} {filling.probability:.4f}")


def _predict_file(
    model: "EarlierModel", options: dict[str, str], source_options: dict[str, Any]
) -> None:
    from src.pipeline.prediction.file_prediction import FilePrediction
    from src.pipeline.prediction.parquet_output import ColumnTypes
    from src.pipeline.prediction.prediction_source import find_prediction_source

    for option, key in (("column", "text"), ("pair_column", "pair")):
        if options[option]:
            source_options[key] = options[option]
    with _open_input(options["file"], model, source_options) as path:
        try:
            rows = find_prediction_source(
                path,
                model.run_source,
                source_options,
                split=options["split"],
                keep_bad=options["strict"] == "false",
            )
        except UserError as error:
            # an archive is called as it was typed, and not as the cache calls it
            error.value = options["file"] if str(error.value) == str(path) else error.value
            if options["file"] == _STDIN and "format" not in source_options:
                print_line(
                    f"the standard input is read as {path.suffix[1:]}, like the run's own file; "
                    "data.source.format=text, jsonl or another reads it otherwise",
                    to_stderr=True,
                )
            raise
        model.check_pair(
            rows.source.pair is not None, key="pair_column", value=str(rows.source.pair or "NAME")
        )
        output = _choose_output(model, options)
        types = ColumnTypes(rows.read_types()) if Path(output).suffix.lower() == PARQUET else None
        prediction = FilePrediction.scan(rows, model, types)
        for line in prediction.describe_reading():
            print_line(line, to_stderr=True)
        predictor = _load_filler_or_predictor(model, options)
        for line in prediction.write_answers(predictor, output):
            print_line(line, to_stderr=output == STDOUT)


def _choose_output(model: "EarlierModel", options: dict[str, str]) -> str:
    """Where the answers go; lists are no cells of a table if no name is typed."""
    from src.pipeline.prediction.file_prediction import LIST_COLUMNS

    if model.inference_config["task"] not in LIST_COLUMNS or options["output"]:
        return resolve_output(options["file"], options["output"])
    output = resolve_output(options["file"], "", ".jsonl")
    check_output(output, options["file"], overwrite=options["overwrite"] == "true")
    return output


@contextlib.contextmanager
def _open_input(file: str, model: "EarlierModel", source_options: dict[str, Any]) -> Iterator[Path]:
    """Yield the file or folder; the standard input becomes a file, whose name tells its format."""
    if file != _STDIN:
        from src.data.reading.data_path import find_path

        yield find_path(file)
        return
    from src.pipeline.prediction.prediction_source import choose_stdin_suffix

    with tempfile.TemporaryDirectory() as folder:
        suffix = choose_stdin_suffix(model.run_source, source_options)
        path = Path(folder) / f"stdin{suffix}"
        if sys.stdin.isatty():
            print_line(f"reading the standard input as {suffix[1:]}", to_stderr=True)
        with path.open("wb") as copy:
            shutil.copyfileobj(sys.stdin.buffer, copy)
        yield path


if __name__ == "__main__":
    # so that nothing half written is left behind
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(128 + signal.SIGTERM))
    with startup.run_without_gc():
        sys.exit(main(sys.argv[1:]))
