"""A network in the format of ONNX or OpenVINO, which `src.export` writes, and how it is asked: with
numpy, torch, and onnxruntime or openvino.

This file is copied into the folder of such a model, beside palimpsest_model.py.
"""

import contextlib
import ctypes
import json
import os
import sys
import threading
from bisect import bisect_right
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

# What is known of the network, its precision among other things. Exports of earlier versions are
# all in fp32.
RUNTIME_CONFIG_NAME = "runtime.json"
# A runtime takes time and keeps memory for every shape of a batch that it meets. So a batch has a
# power of four of rows, and there are eight lengths between one power of two and the next, none
# nearer than this.
_LENGTH_STEP = 8
# padded tokens of a batch; larger ones are hardly faster on a CPU, and need memory
RUNTIME_BATCH_TOKENS = 512


class _SignalStack(ctypes.Structure):
    """`stack_t` of C: where a thread's signal handlers run."""

    _fields_ = (
        ("address", ctypes.c_void_p),
        ("flags", ctypes.c_int),
        ("size", ctypes.c_size_t),
    )


@contextlib.contextmanager
def keep_signal_stack() -> Iterator[None]:
    """Give this thread its own signal stack back, which OpenVINO replaces when it loads its plugin
    for CPUs. The replacement is freed with the last network, and where another thread frees that,
    the next signal, such as a SIGTERM, would end the process without a word.
    """
    if sys.platform != "linux":
        yield
        return
    exchange = ctypes.CDLL(None).sigaltstack
    before = _SignalStack()
    exchange(None, ctypes.byref(before))
    try:
        yield
    finally:
        exchange(ctypes.byref(before), None)


@contextlib.contextmanager
def without_reports() -> Iterator[None]:
    """Without the reports on their use that OpenVINO and its tools send to their makers unasked,
    already when they are imported: by a fork of this process, which may crash where it trains.
    """
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


def import_openvino() -> Any:
    """The module, which reports nothing. Raises ImportError where it is not installed."""
    with without_reports():
        import openvino
    return openvino


class RuntimeNetwork:
    """A network in the format of another runtime, on as many threads of the CPU as torch has.

    Args:
        path: of its file, in the folder of the export.
        tokenizer: of transformers, which knows how rows are padded.
        max_tokens: of the longest row.
    """

    def __init__(self, path: Path, tokenizer: Any, max_tokens: int) -> None:
        description = path.with_name(RUNTIME_CONFIG_NAME)
        known = json.loads(description.read_text("utf-8")) if description.is_file() else {}
        self.precision: str = known.get("precision", "fp32")
        self.name = "ONNX" if path.suffix == ".onnx" else "OpenVINO"
        self.max_tokens = max_tokens
        self._padding = {"input_ids": tokenizer.pad_token_id, "attention_mask": 0}
        self._padding["token_type_ids"] = tokenizer.pad_token_type_id
        self._is_left = tokenizer.padding_side == "left"
        self._lock = threading.Lock()
        if path.suffix == ".onnx":
            import onnxruntime

            options = onnxruntime.SessionOptions()
            options.intra_op_num_threads = torch.get_num_threads()
            session = onnxruntime.InferenceSession(
                path, options, providers=["CPUExecutionProvider"]
            )
            self.inputs = [one.name for one in session.get_inputs()]
            self._run: Any = lambda inputs: session.run(["logits"], inputs)[0]
        else:
            openvino = import_openvino()
            settings = {
                # else processors take bf16 where they have it, also for what is not in int8
                "INFERENCE_PRECISION_HINT": "bf16" if self.precision == "bf16" else "f32",
                "INFERENCE_NUM_THREADS": torch.get_num_threads(),
                "NUM_STREAMS": 1,
            }
            with keep_signal_stack():
                compiled = openvino.compile_model(path, "CPU", settings)
            self.inputs = [one.any_name for one in compiled.inputs]
            self._run = lambda inputs: compiled(inputs)["logits"]

    def compute_logits(
        self,
        rows: Sequence[Mapping[str, Any]],
        batch_tokens: int = RUNTIME_BATCH_TOKENS,
        on_batch_done: Callable[[int], object] = lambda count: None,
    ) -> torch.Tensor:
        """The outputs for each row of ids, [N, C], in their order. They do not depend on the other
        rows: those of one padded length go through the network together.

        Args:
            rows: `input_ids`, and `token_type_ids` if the network takes them.
            batch_tokens: with padding; a longer row is a batch by itself.
            on_batch_done: called after each batch with the number of rows in it.
        """
        lengths = [self._round_length(len(row["input_ids"])) for row in rows]
        order = sorted(range(len(rows)), key=lambda place: -lengths[place])
        outputs = []
        done = 0
        while done < len(rows):
            length = lengths[order[done]]
            # with others of its length alone: what padding does to its last bits does not depend
            # on the rows beside it
            same = bisect_right(order, -length, done, key=lambda place: -lengths[place]) - done
            room = min(same, batch_tokens // length)
            count = 4 ** ((max(1, room).bit_length() - 1) // 2)
            inputs = self._pad([rows[place] for place in order[done : done + count]], length)
            with self._lock:
                outputs.append(self._run(inputs))
            done += count
            on_batch_done(count)
        logits = np.concatenate(outputs)
        in_order = np.empty_like(logits)
        in_order[order] = logits
        return torch.from_numpy(in_order).float()

    def _round_length(self, length: int) -> int:
        step = max(_LENGTH_STEP, (1 << (length - 1).bit_length()) // 16)
        # there may be no positions beyond the limit
        return max(length, min(-(-length // step) * step, self.max_tokens))

    def _pad(self, rows: Sequence[Mapping[str, Any]], length: int) -> dict[str, np.ndarray]:
        shape = (len(rows), length)
        padded = {name: np.full(shape, self._padding[name], np.int64) for name in self.inputs}
        for place, row in enumerate(rows):
            tokens = len(row["input_ids"])
            filled = slice(length - tokens, length) if self._is_left else slice(tokens)
            for name, content in padded.items():
                content[place, filled] = 1 if name == "attention_mask" else row[name]
        return padded
