"""Weights and products of an OpenVINO network in eight bits, with scales that some texts fix
beforehand. So an answer depends neither on the texts beside it nor on padding.
"""

import contextlib
import io
import logging
import os
import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import numpy as np

from src.pipeline.palimpsest_runtime import keep_signal_stack

# Texts that set the scales. With 300 instead of 32 of them one answer in 1,821 more stayed what it
# was (MiniLM, SST-2), at four times the time.
CALIBRATION_TEXTS = 50


def quantize_statically(network: Any, rows: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """The network (`openvino.Model`) with linear layers and embeddings in int8.

    Args:
        rows: the inputs of some texts, one text a row, [1, T] int64 and not padded.
    """
    with (
        without_reports(),
        keep_signal_stack(),
        contextlib.redirect_stdout(io.StringIO()),
        warnings.catch_warnings(),
    ):
        warnings.simplefilter("ignore")
        import nncf

        logging.getLogger("nncf").setLevel(logging.ERROR)
        return nncf.quantize(
            network,
            nncf.Dataset(list(rows)),
            subset_size=len(rows),
            # without it MiniLM loses 10 points of accuracy on SST-2
            model_type=nncf.ModelType.TRANSFORMER,
        )


@contextlib.contextmanager
def without_reports() -> Iterator[None]:
    """Without the reports on their use that OpenVINO's tools send to their makers unasked."""
    names = ("CI", "NNCF_CI")
    before = {name: os.environ.get(name) for name in names}
    os.environ |= dict.fromkeys(names, "true")
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
