"""The rows of a `DataConfig`, surveyed once for each content."""

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

from src.core.user_errors import UserError
from src.data.cache import ContentCache
from src.data.preparation.corpus import Corpus
from src.data.preparation.corpus_survey import CorpusSurvey
from src.data.preparation.label_map import LabelMap

if TYPE_CHECKING:
    from src.data.data_config import DataConfig

# The version of what lies in the cache. Raise it when the same inputs would give other content.
CACHE_VERSION = 9


class SurveyedCorpus(NamedTuple):
    """A corpus, what becomes of its rows, and a hash of all that decides on that."""

    corpus: Corpus
    survey: CorpusSurvey
    key: str


def survey_corpus(config: "DataConfig", cache: ContentCache) -> SurveyedCorpus:
    """Read the rows of a config and decide what becomes of them, or find that in the cache.

    Raises:
        UserError: the rows cannot be used, or have another number of labels than the config says.
    """
    label_map = config.label_map
    label_names, label_values = config.find_classes()
    corpus = Corpus(
        task=config.task,
        source=config.source,
        cleaning=config.cleaning,
        split=config.split,
        label_names=label_names,
        label_values=label_values,
        label_map=None if label_map is None else LabelMap(label_map),
        train_rows=config.train_rows,
        train_share=config.train_share,
    )

    def write_survey(folder: Path) -> None:
        survey = corpus.survey_rows()
        # Checked here, before any time is spent on tokens.
        check_num_labels(config.num_labels, survey.data_summary["label_names"])
        survey.save(folder)

    key = _fingerprint_rows(config)
    return SurveyedCorpus(
        corpus, CorpusSurvey.load(cache.get_or_build("rows", key, write_survey)), key
    )


def check_num_labels(declared: int | None, names: Sequence[str]) -> None:
    """Raise UserError if the data have another number of labels than was declared."""
    if declared is not None and declared != len(names):
        raise UserError(
            f"data.num_labels={declared}, but the data have {len(names)} labels: {', '.join(names)}"
        )


def hash_as_json(content: Any) -> str:
    """SHA-256, in hex, of plain values."""
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _fingerprint_rows(config: "DataConfig") -> str:
    """A hash of everything that shapes the rows."""
    parts = {
        split: config.source.fingerprint_split(split) for split in config.source.available_splits()
    }
    label_map = config.label_map
    settings = [
        config.task,
        config.cleaning.compute_fingerprint(),
        repr(config.split),
        *config.find_classes(),
        None if label_map is None else list(label_map.items()),
    ]
    return hash_as_json([CACHE_VERSION, parts, settings, config.train_rows, config.train_share])
