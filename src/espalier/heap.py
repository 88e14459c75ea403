"""What this process does with memory that it has freed."""

import ctypes
import sys

M_TRIM_THRESHOLD, M_MMAP_MAX = -1, -4  # malloc.h of glibc
NEVER, NONE = -1, 0


def keep_freed_memory() -> None:
    """From now on freed blocks serve the next tensors of this process; what it held at its peak it holds to its end.

    By its defaults glibc gives large blocks back to the kernel, which zeroes every page again at its next use: 2,700 pages in each step of a tiny student on a
    CPU, a sixth of the step's time (LOG.md). Other C libraries are left alone. Source: mallopt(3).
    """
    library = ctypes.CDLL(None) if sys.platform == "linux" else None
    if hasattr(library, "mallopt"):
        library.mallopt(M_MMAP_MAX, NONE)
        library.mallopt(M_TRIM_THRESHOLD, NEVER)
