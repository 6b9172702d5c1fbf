"""The node `callbacks.probe`: how well the vectors of an encoder that is being trained tell the
labels of a data set that it never learns from.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

from src.core.user_errors import UserError
from src.core.validation import Bound, PositiveInt, validate_init
from src.data.reading.sources import Source
from src.data.rows.records import DataSource
from src.evaluation.probe_errors import PROBE_KEY, name_probe_keys

if TYPE_CHECKING:
    from lightning.pytorch import Callback


@validate_init
@dataclass(frozen=True, kw_only=True)
class EmbeddingProbe:
    """Logs at every validation, and before the first step, what the mean of a text's hidden states
    tells of its label: `probe/knn_accuracy` and `probe/linear_accuracy` of rows that neither the
    neighbours nor the linear model were taken from, and `probe/rankme`, the number of dimensions
    that the means fill (Garrido et al., 2023). The encoder learns nothing from these rows, and the
    training is the same to the last bit as without them.

    Args:
        source: labelled texts, with the options of `data.source`; its training rows are taken.
            Texts are cleaned and cut as those of `data`.
        rows: how many, evenly from all labels: two thirds to learn from, one third to judge.
        neighbors: whose labels are asked for the label of a text.
    """

    source: DataSource
    rows: Annotated[int, Bound(least=30)] = 3000
    neighbors: PositiveInt = 10

    def check_source(self) -> None:
        """Raise UserError if the rows are not there, or have no label."""
        if isinstance(self.source, Source) and self.source.label is None:
            raise UserError(
                "the probe is about labels",
                key=f"{PROBE_KEY}.source.label",
                value="null",
                hint="{key}=COLUMN names theirs; files without columns have any name",
            )
        try:
            self.source.check()
        except UserError as error:
            raise name_probe_keys(error) from error

    def build(self, folder: Path, hooks: object = None) -> "list[Callback]":
        """One callback.

        Args:
            folder: of checkpoints, not used.
            hooks: to the run's record, not used.
        """
        from src.evaluation.probe_callback import EmbeddingProbeCallback

        source = self.source
        if isinstance(source, Source):
            # its training rows alone are read
            source = dataclasses.replace(source, validation=None, test=None)
        return [EmbeddingProbeCallback(source, rows=self.rows, neighbors=self.neighbors)]
