"""Settings of two allocators on a CPU: glibc's malloc, and oneDNN's cache of kernels.

glibc gives large freed blocks back to the kernel, which hands out zeroed pages again, with one page
fault each. That takes a tenth of a small encoder's step, so blocks that every step needs are kept.
If steps ask for different sizes, a heap that never shrinks would fill with holes, so then nothing
is changed.

oneDNN compiles a kernel for each new shape of a bf16 product and would keep a thousand of them,
which is a gigabyte. It keeps fewer here.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

# Of <malloc.h>, see mallopt(3).
_TRIM_THRESHOLD, _MMAP_MAX = -1, -4
# Free bytes at the top of the heap from which they are given back all the same.
_TRIM_THRESHOLD_BYTES = 2**30
_MALLOPT_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65_536}
# Some for each of the shapes that batches of similar lengths have.
_KERNEL_CACHE_CAPACITY = 256


def limit_kernel_cache() -> None:
    """Let oneDNN keep few compiled kernels, unless the environment says how many.

    Must be called before torch is imported.
    """
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(_KERNEL_CACHE_CAPACITY))


@contextmanager
def retain_freed_memory(enabled: bool) -> Iterator[bool]:
    """Keep freed memory inside the `with` block, and give it back at its end.

    Args:
        enabled: False does nothing.

    Yields:
        True if memory is kept; False also where this system's allocator cannot.
    """
    library = ctypes.CDLL(None) if enabled else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield False
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _TRIM_THRESHOLD_BYTES)
    try:
        yield True
    finally:
        for name, value in _MALLOPT_DEFAULTS.items():
            library.mallopt(name, value)
        library.malloc_trim(0)
