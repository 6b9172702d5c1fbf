"""The part of a report that shows by which words a few answers were made: integrated gradients of
the same kinds of test rows in every run.
"""

import time
from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.retry import describe_error
from src.pipeline.run_parts import RunParts

if TYPE_CHECKING:
    from src.evaluation.judgement import Answers, Judgement
    from src.pipeline.explanation import Explanation

# no further row is explained after that
_MOST_SECONDS = 5.0
_SEED = 0
# of the words of a text, in its cell of the table
_SHOWN_WORDS = 8
_HOW = (
    "integrated gradients of the answer: blue words speak for it, orange ones against it "
    "(docs/explain.md)"
)


class ProbeRow(NamedTuple):
    """A row to explain: its place among the answers, and why it was chosen."""

    place: int
    kind: str


def choose_probe_rows(answers: "Answers", rows: list[int], count: int) -> list[ProbeRow]:
    """Rows that are right and sure, wrong and sure, and unsure, a third of `count` of each.

    They are drawn by a fixed seed from the numbers of the rows, so that models which answer alike
    show the same rows.

    Args:
        rows: the number of each row, in the source.
    """
    import numpy as np

    confidence, right = answers.confidence, answers.right
    order = np.argsort(rows, kind="stable")
    order = order[np.random.default_rng(_SEED).permutation(len(order))]
    wrong = confidence[~right]
    kinds = {
        "right and sure": right & (confidence >= np.quantile(confidence, 0.75)),
        "wrong and sure": ~right & (confidence >= (np.median(wrong) if len(wrong) else 0)),
        "unsure": confidence <= np.quantile(confidence, 0.1),
    }
    chosen: list[ProbeRow] = []
    taken: set[int] = set()
    for number, (kind, is_of_kind) in enumerate(kinds.items()):
        share = count // 3 + (number < count % 3)
        found = [place for place in order[is_of_kind[order]].tolist() if place not in taken][:share]
        chosen += [ProbeRow(place, kind) for place in found]
        taken.update(found)
    return chosen


def add_probe_explanations(
    parts: RunParts,
    judged: "Judgement",
    answers: "Answers",
    chosen: list[ProbeRow],
    texts: Mapping[int, tuple[str, str | None]],
    *,
    rows: list[int],
    folder: Path,
) -> None:
    """Add the explanations of some rows to the report, or a line that says why there are none.

    Args:
        texts: text and second text of rows of the test, by their numbers.
        rows: the number of each row that was answered.
        folder: the model.
    """
    from src.evaluation.report_page import Section

    title = "By which words a few rows were answered"
    known = [row for row in chosen if rows[row.place] in texts]
    if not known:
        return
    if find_spec("captum") is None:
        said = "explanations need captum: pip install -e '.[explain]'"
        judged.sections.append(Section(title, (said,)))
        return
    try:
        found = _explain_rows(
            parts, answers, known, [texts[rows[row.place]] for row in known], folder
        )
    except Exception as error:
        # of a family that cannot be explained
        said = f"there are no explanations: {describe_error(error)}"
        judged.sections.append(Section(title, (said,)))
        return
    from src.evaluation.token_heat_map import build_heat_map_html, plot_heat_maps

    shown = [
        (
            f"row {rows[row.place]}, {row.kind}: {answers.predicted[row.place]}, "
            f"{answers.confidence[row.place]:.3f}; label {answers.truth[row.place]}",
            [word.text for word in one.words if not word.is_special],
            [word.score for word in one.words if not word.is_special],
        )
        for row, one in zip(known, found, strict=False)
    ]
    lines = [_HOW]
    if left := len(known) - len(found):
        lines.append(f"{left} more were left out after {_MOST_SECONDS:g} seconds")
    if missing := sum(not one.is_complete for one in found):
        lines.append(f"of {missing} of them the parts do not add up: do not rely on their sizes")
    judged.tables["explanations"] = _tabulate(known[: len(found)], answers, rows, shown)
    judged.figures["explanations"] = plot_heat_maps(shown)
    maps = "".join(build_heat_map_html(*one, level=3) for one in shown)
    judged.sections.append(Section(title, tuple(lines), html=maps))


def _explain_rows(
    parts: RunParts,
    answers: "Answers",
    chosen: list[ProbeRow],
    texts: list[tuple[str, str | None]],
    folder: Path,
) -> "list[Explanation]":
    """As many explanations as there is time for, at least one."""
    from src.pipeline.explanation import Explainer
    from src.pipeline.export import read_inference_config

    begin = time.monotonic()
    explainer = Explainer(folder, read_inference_config(folder))
    names = parts.datamodule.dataset_info.label_names
    found: list[Explanation] = []
    for row, (text, pair) in zip(chosen, texts, strict=True):
        answer = answers.predicted[row.place]
        label = answer if answer in names else None
        found.append(explainer.explain(text, pair, label, gradients_alone=True))
        if time.monotonic() - begin > _MOST_SECONDS:
            break
    return found


def _tabulate(
    chosen: list[ProbeRow],
    answers: "Answers",
    rows: list[int],
    shown: list[tuple[str, list[str], list[float]]],
) -> dict[str, list[Any]]:
    """What was explained, with the words that count most."""
    strongest = []
    for _, words, scores in shown:
        by_weight = sorted((-abs(score), place) for place, score in enumerate(scores))
        kept = sorted(place for _, place in by_weight[:_SHOWN_WORDS])
        strongest.append(", ".join(f"{words[place]} {scores[place]:+.3f}" for place in kept))
    places = [row.place for row in chosen]
    return {
        "row": [rows[place] for place in places],
        "kind": [row.kind for row in chosen],
        "label": [answers.truth[place] for place in places],
        "predicted": [answers.predicted[place] for place in places],
        "confidence": [float(answers.confidence[place]) for place in places],
        "strongest_words": strongest,
        "text": [" ".join(words) for _, words, _ in shown],
    }
