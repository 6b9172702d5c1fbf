"""Does a model treat groups alike, and what does it give away? `python -m src.audit run=ID \
file=FILE group=COLUMN`

run=ID          the run, by its id, the beginning of it, its name, or latest
file=FILE       a table, read as the run read its own data; data.source.KEY=VALUE changes how
group=COLUMN    compare the groups that this column names: the share of each answer and, where the \
labels are there, of each error, with intervals and the largest gap
template=COLUMN  with group=: rows of one template differ in the group alone; how often the answer \
changes then
label=LABEL     the answer whose rates are compared; default: the last of the model's labels
first=COLUMN second=COLUMN  of a pretraining run: which of two sentences it finds likelier, by the \
words that both have; group= names the kind of a pair
membership=true  how much better the model knows its training rows than its test rows
decision_rule=true  false leaves out the temperature and the thresholds that the run has fitted
output=FILE     all numbers as .json
overwrite=true  replace such a file
uri=            a store other than mlruns/mlflow.db
root=FOLDER     the folder whose mlruns/ has the run, if it is another than here

docs/audit.md says how to read it.
"""

import contextlib
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

if __package__ is None:
    # typed as a file where the program is not installed: python src/audit.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import parse_key_values, run_command_line
from src.core import startup
from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import choose_tracking_uri, read_experiment_name
from src.core.printing import print_line
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.pipeline.earlier_model import EarlierModel
    from src.pipeline.prediction.prediction_source import PredictionSource
    from src.pipeline.prediction.predictor import Predictor
    from src.tracking.store import Store

OPTION_DEFAULTS = dict.fromkeys(
    ("run", "file", "group", "template", "label", "first", "second", "output", "uri", "root"), ""
) | {"membership": "false", "overwrite": "false", "decision_rule": "true"}
_OPTION_NAMES = {
    "data.source.path": "file",
    "tracking.uri": "uri",
    "tracking.root": "root",
}
_MASKED_TASKS = ("masked_lm", "masked_lm_with_next_sentence")


def main(arguments: Sequence[str]) -> int:
    """Audit a model; returns the exit code."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    source_arguments = [text for text in arguments if text.startswith("data.")]
    own = [text for text in arguments if text not in source_arguments]
    options = parse_key_values(own, OPTION_DEFAULTS)
    _check_options(options)
    from src.pipeline.earlier_model import find_earlier_model
    from src.tracking.store import Store

    startup.silence_transformers()
    store = Store(
        root=options["root"] or str(PROJECT_ROOT),
        uri=choose_tracking_uri(options["uri"]),
        experiment=read_experiment_name(),
    )
    store.check()
    store.announce_environment()
    with contextlib.redirect_stdout(sys.stderr):
        model = find_earlier_model(store, options["run"])
    startup.resume_gc()
    fills_masks = model.inference_config["task"] in _MASKED_TASKS
    if options["membership"] == "true":
        answer = _audit_membership(store, model, options)
    elif options["first"]:
        answer = _audit_pairs(model, options, source_arguments, fills_masks=fills_masks)
    else:
        answer = _audit_groups(model, options, source_arguments, fills_masks=fills_masks)
    if options["output"]:
        from src.core.files import atomic_write

        with atomic_write(Path(options["output"])) as partial:
            partial.write_text(json.dumps(answer, ensure_ascii=False, indent=2), encoding="utf-8")
        print_line(f"written to {options['output']}", to_stderr=True)
    return 0


def _audit_groups(
    model: "EarlierModel",
    options: dict[str, str],
    source_arguments: Sequence[str],
    *,
    fills_masks: bool,
) -> Any:
    if fills_masks:
        raise UserError(
            "this run pretrained an encoder and judges nothing",
            hint="first=COLUMN second=COLUMN compares which sentence it finds likelier",
        )
    task = model.inference_config["task"]
    if task not in ("classification", "multi_label"):
        raise UserError(
            f"groups are compared by the labels that whole texts get, and this is a run of {task}",
            key="run",
            value=options["run"],
            expected="a run of classification",
        )
    from src.pipeline.audit import audit_groups
    from src.pipeline.prediction.file_prediction import FilePrediction

    prediction = FilePrediction.scan(_find_rows(model, options, source_arguments), model)
    for line in prediction.describe_reading():
        print_line(line, to_stderr=True)
    found = audit_groups(
        prediction,
        _load_predictor(model, options),
        group=options["group"],
        template=options["template"],
        label=options["label"],
    )
    print_line(f"{found.rows:,} rows answered", to_stderr=True)
    return _tell(found)


def _audit_pairs(
    model: "EarlierModel",
    options: dict[str, str],
    source_arguments: Sequence[str],
    *,
    fills_masks: bool,
) -> Any:
    if not fills_masks:
        raise UserError(
            "first= and second= compare how likely a masked language model finds two sentences, "
            "and this run judges texts",
            hint="group=COLUMN compares its answers",
        )
    from src.pipeline.audit import audit_pairs

    typed = [f"data.source.text={options['first']}", *source_arguments]
    try:
        rows = _find_rows(model, options, typed)
    except UserError as error:
        raise error.with_renamed_keys({"data.source.text": "first"}) from None
    return _tell(
        audit_pairs(
            [columns for record, columns in rows.iter_rows() if record.unreadable is None],
            model,
            first=options["first"],
            second=options["second"],
            group=options["group"],
        )
    )


def _audit_membership(store: "Store", model: "EarlierModel", options: dict[str, str]) -> Any:
    from src.pipeline.audit import audit_membership, audit_text_membership, describe_membership
    from src.pipeline.build_parts import build_parts

    reading = model.inference_config
    is_filler = (
        reading["task"] in ("masked_lm", "masked_lm_with_next_sentence")
        and reading.get("head") != "replaced_tokens"
    )
    if reading["task"] not in ("classification", "multi_label") and not is_filler:
        raise UserError("membership is probed by the losses of labels or masked words", key="run")
    if not model.config:
        raise UserError("the run holds no config, so its training rows are not known", key="run")
    datamodule = build_parts(model.config, store, is_trial=False).datamodule
    with contextlib.redirect_stdout(sys.stderr):
        datamodule.prepare_data()
    if is_filler:
        from src.model.stored_encoder import load_encoder

        encoder = load_encoder(model.folder, "masked_lm").eval()
        found = audit_text_membership(datamodule, encoder, reading["max_tokens"])
    else:
        found = audit_membership(datamodule, _load_predictor(model, options, precision="fp32"))
    for line in describe_membership(found):
        print_line(line)
    return _to_plain(found)


def _load_predictor(
    model: "EarlierModel", options: dict[str, str], *, precision: Literal["auto", "fp32"] = "auto"
) -> "Predictor":
    from src.pipeline.prediction.predictor import Predictor

    predictor = Predictor(
        model.folder, precision=precision, decision_rule=options["decision_rule"] == "true"
    )
    for line in predictor.describe_rule():
        print_line(line, to_stderr=True)
    return predictor


def _find_rows(
    model: "EarlierModel", options: dict[str, str], source_arguments: Sequence[str]
) -> "PredictionSource":
    """The rows of the file, read as the run read its own data."""
    from src.config.build_nodes import read_schema
    from src.config.node_overrides import parse_node_overrides
    from src.data.reading.data_path import find_path
    from src.data.reading.sources import Source
    from src.pipeline.prediction.prediction_source import find_prediction_source

    typed = parse_node_overrides(source_arguments, "data.source", read_schema(Source).parameters)
    return find_prediction_source(
        find_path(options["file"]), model.run_source, typed, keep_bad=True
    )


def _tell(found: Any) -> Any:
    for line in found.describe():
        print_line(line)
    return _to_plain(found)


def _to_plain(value: Any) -> Any:
    """Named tuples as mappings, for JSON."""
    if hasattr(value, "_asdict"):
        return {name: _to_plain(item) for name, item in value._asdict().items()}
    if isinstance(value, dict):
        return {name: _to_plain(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_to_plain(item) for item in value]
    return value


def _check_options(options: dict[str, str]) -> None:
    """Refuse what is wrong whatever the run is."""
    if not options["run"]:
        raise UserError("must be given, as run=ID", key="run", hint="python -m src.runs lists them")
    for name in ("membership", "overwrite", "decision_rule"):
        if options[name] not in ("true", "false"):
            raise UserError(key=name, value=options[name], expected="true or false")
    given = [name for name in ("file", "group", "template", "first", "second") if options[name]]
    if options["membership"] == "true":
        if given:
            raise UserError(
                f"membership=true reads the run's own rows: leave {given[0]}= out",
            )
    elif bool(options["first"]) != bool(options["second"]):
        raise UserError("first= and second= go together, two columns of sentences")
    elif not options["file"] or not (options["group"] or options["first"]):
        raise UserError(
            "expected file=FILE group=COLUMN, or file=FILE first=COLUMN second=COLUMN, or "
            "membership=true"
        )
    if options["template"] and not options["group"]:
        raise UserError("goes with group=", key="template", value=options["template"], colon=False)
    if output := options["output"]:
        path = Path(output)
        if path.suffix != ".json":
            raise UserError(key="output", value=output, expected="a name that ends in .json")
        if not path.parent.is_dir():
            raise UserError(f"there is no folder {path.parent}", key="output", value=output)
        if path.exists() and options["overwrite"] != "true":
            raise UserError(
                "exists already", key="output", value=output, hint="overwrite=true replaces it"
            )


if __name__ == "__main__":
    with startup.run_without_gc():
        sys.exit(main(sys.argv[1:]))
