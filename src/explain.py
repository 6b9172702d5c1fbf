"""Why a model answered so: `python -m src.explain run=ID text="A great film."`

run=ID        the run, by its id, the beginning of it, its name, or latest
text=TEXT     one text; pair=TEXT as well where the model judges pairs; of a pretraining run, \
text="The film was [MASK]."
label=LABEL   the label, or of a pretraining run the word, to explain; default: the likeliest
output=FILE   .html or .png with the coloured text, or .json with all numbers
overwrite=true  replace such a file
uri=          a store other than mlruns/mlflow.db
root=FOLDER   the folder whose mlruns/ has the run, if it is another than here

Shown is the part of each token in the answer's score, by integrated gradients; how far the parts
are from adding up to it; and what becomes of the answer when the tokens that count most are taken
away (comprehensiveness) or kept alone (sufficiency), beside tokens drawn by chance. docs/explain.md
says how to read it. Needs captum: pip install -e '.[explain]'.
"""

import contextlib
import html
import importlib.util
import json
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if __package__ is None:
    # typed as a file where the program is not installed: python src/explain.py
    sys.path.append(str(Path(__file__).resolve().parents[1]))

from src.config.command_line import parse_key_values, run_command_line
from src.core import startup
from src.core.files import PROJECT_ROOT
from src.core.mlflow_environment import choose_tracking_uri, read_experiment_name
from src.core.printing import print_line
from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.pipeline.explanation import Explanation

OPTION_DEFAULTS = dict.fromkeys(("run", "text", "pair", "label", "output", "uri", "root"), "") | {
    "overwrite": "false"
}
_OPTION_NAMES = {"tracking.uri": "uri", "tracking.root": "root"}
_SUFFIXES = (".html", ".png", ".json")
# of the terminal's list
_MAX_SHOWN = 20
_ROLLOUT_WARNING = (
    "How much of each word could flow through the attention of all layers to the place that is "
    "judged. It is the same for every answer and speaks neither for nor against one: it is no "
    "reason for the answer."
)


def main(arguments: Sequence[str]) -> int:
    """Explain one answer; returns the exit code."""
    return run_command_line(
        arguments, _handle_arguments, help_text=__doc__, option_names=_OPTION_NAMES
    )


def _handle_arguments(arguments: Sequence[str]) -> int:
    options = parse_key_values(arguments, OPTION_DEFAULTS)
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
    if model.inference_config["task"] not in ("masked_lm", "masked_lm_with_next_sentence"):
        model.check_pair(bool(options["pair"]), key="pair", value=options["pair"])
    from src.model.decision_rule import DecisionRule
    from src.pipeline.explanation import Explainer

    startup.resume_gc()
    label_names = model.inference_config.get("label_names") or []
    if said := DecisionRule.read(model.folder, len(label_names)).describe(label_names):
        print_line(f"left out here, where the plain outputs are explained: {said}", to_stderr=True)
    explainer = Explainer(model.folder, model.inference_config)
    found = explainer.explain(options["text"], options["pair"] or None, options["label"] or None)
    for line in describe_explanation(found):
        print_line(line)
    if options["output"]:
        _write(found, Path(options["output"]))
        print_line(f"written to {options['output']}", to_stderr=True)
    return 0


def describe_explanation(found: "Explanation") -> list[str]:
    """The answer, the tokens that count most, and how far to trust them."""
    from src.evaluation.token_heat_map import format_score_bars

    words = [word for word in found.words if not word.is_special]
    by_weight = sorted(range(len(words)), key=lambda place: -abs(words[place].score))
    shown = sorted(by_weight[:_MAX_SHOWN])
    texts, scores = [word.text for word in words], [word.score for word in words]
    lines = [_name_answer(found), *format_score_bars(texts, scores, shown)]
    if len(words) > len(shown):
        lines.append(f"  and {len(words) - len(shown)} words that count less")
    return [*lines, *_describe_trust(found)]


def _name_answer(found: "Explanation") -> str:
    if found.faithfulness is None:
        return f"value {found.probability:.4g}"
    return f"{found.answer}, probability {found.probability:.4f}"


def _describe_trust(found: "Explanation") -> list[str]:
    total = found.gradients.scores.sum().item()
    lines = [
        f"the parts add up to {total:+.4f} of {found.gradients.difference:+.4f}, the score less "
        f"that of a text of {found.baseline} alone ({found.gradients.completeness_error:.1%} off)"
    ]
    if not found.is_complete:
        lines.append(
            "note: the parts do not add up, so do not rely on their sizes (a network with corners "
            "such as ReLU, or a score that hardly differs from the baseline's)"
        )
    if found.faithfulness is not None and found.chance is not None:
        lines += [
            f"without the tokens that count most the probability changes by "
            f"{-found.faithfulness.comprehensiveness:+.4f} (drawn by chance: "
            f"{-found.chance.comprehensiveness:+.4f})",
            f"with these alone it changes by {-found.faithfulness.sufficiency:+.4f} (drawn by "
            f"chance: {-found.chance.sufficiency:+.4f})",
        ]
    return lines


def _write(found: "Explanation", path: Path) -> None:
    from src.core.files import atomic_write
    from src.core.html_page import render_table, wrap_page
    from src.core.pictures import save_figure
    from src.evaluation import token_heat_map

    words = [word for word in found.words if not word.is_special]
    texts, scores = [word.text for word in words], [word.score for word in words]
    title = _name_answer(found)
    with atomic_write(path) as partial:
        if path.suffix == ".json":
            numbers = json.dumps(_to_plain(found), ensure_ascii=False, indent=2)
            partial.write_text(numbers, encoding="utf-8")
        elif path.suffix == ".png":
            save_figure(token_heat_map.plot_heat_map(title, texts, scores), partial)
        else:
            parts = [token_heat_map.build_heat_map_html(title, texts, scores)]
            parts += [f"<p>{html.escape(line)}</p>" for line in _describe_trust(found)]
            flows = [word.rollout for word in words if word.rollout is not None]
            if flows:
                parts.append(token_heat_map.build_heat_map_html("Attention rollout", texts, flows))
                parts.append(f"<p>{_ROLLOUT_WARNING}</p>")
            columns = ("word", "integrated gradients", *(["attention rollout"] if flows else []))
            rows = [
                [word.text, f"{word.score:+.4f}"]
                + ([] if word.rollout is None else [f"{word.rollout:.4f}"])
                for word in words
            ]
            parts.append(render_table(columns, rows, numbers_from=1))
            page = wrap_page(title, parts, style=token_heat_map.HEAT_MAP_STYLE)
            partial.write_text(page, encoding="utf-8")


def _to_plain(found: "Explanation") -> dict[str, Any]:
    """All numbers, for JSON."""
    return found._asdict() | {
        "gradients": found.gradients.scores.tolist(),
        "difference": found.gradients.difference,
        "steps": found.gradients.steps,
        "completeness_error": found.gradients.completeness_error,
        "faithfulness": found.faithfulness and found.faithfulness._asdict(),
        "chance": found.chance and found.chance._asdict(),
        "words": [word._asdict() for word in found.words],
    }


def _check_options(options: dict[str, str]) -> None:
    """Refuse what is wrong whatever the run is."""
    if not options["run"]:
        raise UserError("must be given, as run=ID", key="run", hint="python -m src.runs lists them")
    if not options["text"].strip():
        raise UserError('must be given, as text="..."', key="text")
    if options["overwrite"] not in ("true", "false"):
        raise UserError(key="overwrite", value=options["overwrite"], expected="true or false")
    if output := options["output"]:
        path = Path(output)
        if path.suffix not in _SUFFIXES:
            raise UserError(
                key="output", value=output, expected=f"a name that ends in {', '.join(_SUFFIXES)}"
            )
        if not path.parent.is_dir():
            raise UserError(f"there is no folder {path.parent}", key="output", value=output)
        if path.exists() and options["overwrite"] != "true":
            raise UserError(
                "exists already", key="output", value=output, hint="overwrite=true replaces it"
            )
    if importlib.util.find_spec("captum") is None:
        raise UserError("explanations need captum", hint="pip install -e '.[explain]'")


if __name__ == "__main__":
    with startup.run_without_gc():
        sys.exit(main(sys.argv[1:]))
