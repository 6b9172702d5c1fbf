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

# Texts that set the scales. More of them cost time, and change hardly an answer
# (docs/results/predict_int8.md).
CALIBRATION_TEXTS = 50


def quantize_statically(network: Any, rows: Sequence[Mapping[str, np.ndarray]]) -> Any:
    """The network (`openvino.Model`) with linear layers and embeddings in int8.

    Args:
        rows: the inputs of some texts, one text a row, [1, T] int64 and not padded.
    """
    with _quiet_nncf():
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
def _quiet_nncf() -> Iterator[None]:
    """Without progress bars and warnings, and without the reports on its use that it would send to
    its makers unasked.
    """
    before = os.environ.get("NNCF_CI")
    os.environ["NNCF_CI"] = "1"
    try:
        with contextlib.redirect_stdout(io.StringIO()), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        if before is None:
            del os.environ["NNCF_CI"]
        else:
            os.environ["NNCF_CI"] = before
