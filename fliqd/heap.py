"""The process's memory once it has started: what stays is set apart, what the start needed is given back."""

import ctypes
import gc


def settle() -> None:
    """Have what lives from now on as long as the process not looked at again, and freed memory go to the system.

    The C library keeps what has been freed for the next who asks: a megabyte and a half after a start
    (malloc_trim(3), of glibc alone).
    """
    gc.collect()
    gc.freeze()
    trim = getattr(ctypes.CDLL(None), "malloc_trim", None)
    if trim is not None:
        trim(0)
