"""Memory kept between steps: asked of the allocator, and given back after; few compiled kernels."""

import os
from types import SimpleNamespace

import pytest

from src.training.callbacks import keep_freed_memory
from src.training.cpu_allocators import limit_kernel_cache, retain_freed_memory


class Allocator:
    def __init__(self):
        self.said = []

    def mallopt(self, name, value):
        self.said.append((name, value))
        return 1

    def malloc_trim(self, pad):
        self.said.append("trimmed")


def test_blocks_are_kept_inside_and_given_back_after(monkeypatch):
    allocator = Allocator()
    monkeypatch.setattr("ctypes.CDLL", lambda name: allocator)
    with pytest.raises(KeyError), retain_freed_memory(True) as keeps:
        # no block of its own mapping, none handed back
        assert keeps and allocator.said == [(-4, 0), (-1, 2**30)]
        raise KeyError
    assert allocator.said[2:] == [(-1, 131_072), (-4, 65_536), "trimmed"]


def test_nothing_is_asked_where_it_is_not_wanted(monkeypatch):
    allocator = Allocator()
    monkeypatch.setattr("ctypes.CDLL", lambda name: allocator)
    with retain_freed_memory(False) as keeps:
        assert not keeps
    assert not allocator.said


def test_a_system_without_that_allocator_trains_all_the_same(monkeypatch):
    monkeypatch.setattr("ctypes.CDLL", lambda name: object())
    with retain_freed_memory(True) as keeps:
        assert not keeps


def test_kernels_are_few_unless_told_otherwise(monkeypatch):
    monkeypatch.delenv("ONEDNN_PRIMITIVE_CACHE_CAPACITY", raising=False)
    monkeypatch.setenv("LRU_CACHE_CAPACITY", "7")
    limit_kernel_cache()
    assert (
        os.environ["ONEDNN_PRIMITIVE_CACHE_CAPACITY"] == "256"
        and os.environ["LRU_CACHE_CAPACITY"] == "7"
    )


@pytest.mark.parametrize(
    ("uses_fast_path", "run_kind", "device", "kept"),
    [
        (True, "finetune", "cpu", True),
        (False, "pretrain", "cpu", True),
        # shapes vary
        (False, "finetune", "cpu", False),
        # torch keeps that memory itself
        (True, "pretrain", "cuda", False),
    ],
)
@pytest.mark.parametrize("end", ["on_train_end", "on_exception"])
def test_training_keeps_memory_where_shapes_are_few(
    uses_fast_path, run_kind, device, kept, end, monkeypatch
):
    allocator = Allocator()
    monkeypatch.setattr("ctypes.CDLL", lambda name: allocator)
    module = SimpleNamespace(
        encoder=SimpleNamespace(uses_fast_path=uses_fast_path),
        objective=SimpleNamespace(run_kind=run_kind),
        device=SimpleNamespace(type=device),
    )
    callback = keep_freed_memory()
    callback.on_train_start(None, module)
    assert bool(allocator.said) == kept
    getattr(callback, end)(None, module, *([ValueError()] if end == "on_exception" else []))
    assert ("trimmed" in allocator.said) == kept
