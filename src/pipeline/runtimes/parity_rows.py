"""Rows of a run for its exported model: those of validation, by which it is compared with its own,
and those of training that fix the scales of its int8 form.
"""

from collections.abc import Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.data.surveyed_corpus import SurveyedCorpus
    from src.pipeline.earlier_model import EarlierModel


class ParityRows(NamedTuple):
    """Texts, or pairs, as the source has them.

    Args:
        labels: the right label of each; None where it is not known or there is not just one.
        split: the name of their split, or of their file.
    """

    texts: list[list[str]]
    labels: Sequence[str | None]
    split: str


def read_validation_rows(model: "EarlierModel", count: int) -> ParityRows:
    """The first rows of the validation split of a run, or of test or train if it has none.

    Raises:
        UserError: the data of the run are not there.
    """
    corpus, survey, _ = _survey_run(model)
    has_labels = model.inference_config.get("task") == "classification"
    names = survey.data_summary["label_names"]
    for split in ("validation", "test", "train"):
        texts: list[list[str]] = []
        labels: list[str | None] = []
        for _, source_split, number, record in islice(
            corpus.iter_raw_rows(survey, (split,)), count
        ):
            texts.append([record.text] if record.pair is None else [record.text, record.pair])
            target = int(survey.targets[source_split][number]) if has_labels else -1
            labels.append(names[target] if target >= 0 else None)
        if texts:
            return ParityRows(texts, labels, split)
    raise UserError("the run has no rows by which an export could be compared with its model")


def sample_training_texts(model: "EarlierModel", count: int) -> list[list[str]]:
    """Texts, or pairs, of the training rows of a run, at equal distances from each other.

    Raises:
        UserError: the data of the run are not there.
    """
    from src.data.preparation.corpus_survey import TRAIN_CODE

    corpus, survey, _ = _survey_run(model)
    total = sum(int((places == TRAIN_CODE).sum()) for places in survey.places.values())
    chosen = set(_spread(total, count))
    return [
        [record.text] if record.pair is None else [record.text, record.pair]
        for place, (*_, record) in enumerate(corpus.iter_raw_rows(survey, ("train",)))
        if place in chosen
    ]


def read_file_rows(
    model: "EarlierModel", file: Path, count: int, most: int
) -> tuple[list[list[str]], ParityRows]:
    """Some texts, or pairs, of a file, at equal distances, and the first of its other rows. It is
    read as `src.predict` reads a file.

    Args:
        count: of the first ones.
        most: of the others.

    Raises:
        UserError: the file cannot be read, or has not enough rows.
    """
    from src.pipeline.prediction.prediction_source import find_prediction_source

    source = find_prediction_source(file, model.run_source, {})
    has_pairs = source.source.pair is not None
    model.check_pair(has_pairs, key="pair_column", value="NAME")
    texts = [
        [record.text, record.pair or ""] if has_pairs else [record.text]
        for record, _ in source.iter_rows()
        if record.text.strip()
    ]
    chosen = set(_spread(len(texts), count))
    others = [row for place, row in enumerate(texts) if place not in chosen][:most]
    return (
        [texts[place] for place in sorted(chosen)],
        ParityRows(others, [None] * len(others), file.name),
    )


def _spread(total: int, count: int) -> list[int]:
    """Numbers below `total` at equal distances, at most so many."""
    return sorted({place * total // count for place in range(min(count, total) and count)})


def _survey_run(model: "EarlierModel") -> "SurveyedCorpus":
    from src.config.build_nodes import build_node
    from src.data.cache import ContentCache
    from src.data.surveyed_corpus import survey_corpus

    if not model.config:
        raise UserError("the config of the run is not known, so its rows cannot be read")
    config = build_node(model.config["data"])
    return survey_corpus(config, ContentCache(config.cache))
