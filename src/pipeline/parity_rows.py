"""The rows by which an exported model is compared with its own: those of the run's validation."""

from itertools import islice
from typing import TYPE_CHECKING

from src.core.user_errors import UserError

if TYPE_CHECKING:
    from src.pipeline.earlier_model import EarlierModel


def read_validation_rows(model: "EarlierModel", count: int) -> tuple[list[list[str]], str]:
    """The first texts, or pairs, of the validation split of a run, or of test or train if it has
    none; and the name of the split.

    Raises:
        UserError: the data of the run are not there.
    """
    from src.config.build_nodes import build_node
    from src.data.cache import ContentCache
    from src.data.surveyed_corpus import survey_corpus

    if not model.config:
        raise UserError("the config of the run is not known, so its validation rows cannot be read")
    config = build_node(model.config["data"])
    corpus, survey, _ = survey_corpus(config, ContentCache(config.cache))
    for split in ("validation", "test", "train"):
        rows = [
            [record.text] if record.pair is None else [record.text, record.pair]
            for _, _, _, record in islice(corpus.iter_raw_rows(survey, (split,)), count)
        ]
        if rows:
            return rows, split
    raise UserError("the run has no rows by which an export could be compared with its model")
