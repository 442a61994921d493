"""Reading files whose size, and end, somebody else decides."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable
from pathlib import Path


class FileTooLarge(OSError):
    """A file is larger than its reader takes. ``strerror`` says how much that is."""


def read_bounded(
    path: Path,
    most_bytes: int,
    *,
    check: Callable[[os.stat_result], object] = lambda found: None,
) -> bytes:
    """Return the content of a regular file.

    A FIFO, a device or a socket is refused: reading one may wait, or go on, forever.

    Args:
        check: called with the status of the open file before it is read; it may raise.

    Raises:
        FileTooLarge: the file has more than ``most_bytes``.
        OSError: it can't be read, or is not a regular file.
    """
    # O_NONBLOCK: opening a FIFO that nobody writes to would wait.
    handle = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
    with os.fdopen(handle, "rb", closefd=True) as file:
        found = os.fstat(handle)
        if not stat.S_ISREG(found.st_mode):
            raise OSError(errno.EINVAL, "is not a regular file", str(path))
        check(found)
        content = file.read(most_bytes + 1)
    if len(content) > most_bytes:
        raise FileTooLarge(errno.EFBIG, f"is larger than {most_bytes:,} bytes", str(path))
    return content
