"""What of the process's memory is kept, and how much.

Freed blocks that every step needs again are kept: glibc gives large ones back to the kernel, which then hands out
zeroed pages again, one fault each: a tenth of a small encoder's step. That is safe where every step asks for the same
sizes; where they vary, a heap that never shrinks fills with holes, so there it stays as it is. And the kernels that
oneDNN compiles, one for each new shape of a bf16 product, are bounded in number: it would keep a thousand, a gigabyte.
"""

import ctypes
import os
from collections.abc import Iterator
from contextlib import contextmanager

_TRIM_THRESHOLD, _MMAP_MAX = -1, -4  # mallopt(3): names of <malloc.h>
_KEPT = 2**30  # bytes free at the top of the heap from which they are given back all the same
_DEFAULTS = {_TRIM_THRESHOLD: 128 * 1024, _MMAP_MAX: 65_536}


_KERNELS = 256  # some for each of the shapes that batches of like lengths have


def bound_kernels() -> None:
    """Let oneDNN keep few compiled kernels, unless the environment says how many; before torch is imported."""
    for name in ("ONEDNN_PRIMITIVE_CACHE_CAPACITY", "LRU_CACHE_CAPACITY"):
        os.environ.setdefault(name, str(_KERNELS))


@contextmanager
def kept_between_steps(wanted: bool) -> Iterator[bool]:
    """Keep freed memory inside the block, where that is wanted and this system's allocator can; yields whether it does.

    What is kept goes back at the end.
    """
    library = ctypes.CDLL(None) if wanted else None
    if library is None or not hasattr(library, "mallopt") or not hasattr(library, "malloc_trim"):
        yield False
        return
    library.mallopt(_MMAP_MAX, 0)
    library.mallopt(_TRIM_THRESHOLD, _KEPT)
    try:
        yield True
    finally:
        for name, value in _DEFAULTS.items():
            library.mallopt(name, value)
        library.malloc_trim(0)
