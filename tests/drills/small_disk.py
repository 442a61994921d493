"""A disk that is soon full: a file system in memory, of a size of its own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path
from types import TracebackType
from typing import Self


def missing() -> str:
    """Return what this machine lacks for such a disk, or ""."""
    if sys.platform != "linux" or not shutil.which("mount"):
        return "it needs Linux's mount"
    return "" if os.geteuid() == 0 else "only root can mount a small disk"


class SmallDisk:
    """A folder on a disk of so many kilobytes. Use it as a context manager."""

    def __init__(self, folder: Path, kilobytes: int) -> None:
        self._folder = folder
        self._kilobytes = kilobytes

    def __enter__(self) -> Self:
        self._folder.mkdir(parents=True, mode=0o700)
        self._mount(f"size={self._kilobytes}k,mode=700")
        return self

    def grow(self, kilobytes: int) -> None:
        """Make the disk larger, as an operator does who frees space."""
        self._mount(f"remount,size={kilobytes}k")

    def used_kilobytes(self) -> int:
        found = os.statvfs(self._folder)
        return (found.f_blocks - found.f_bfree) * found.f_frsize // 1024

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        # Lazily: a process that is being killed may still have a file open.
        subprocess.run(["umount", "-l", self._folder], check=True)

    def _mount(self, options: str) -> None:
        subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", self._folder], check=True)
