"""Folders and files that belong to the user who runs creditgate, and to nobody else."""

from __future__ import annotations

import os
import pwd
import shlex
import stat
from pathlib import Path

from pricing.errors import CreditgateError
from runtime.files.bounded import read_bounded

_FOLDER_MODE = 0o700
_FILE_MODE = 0o600
_WRITABLE_BY_OTHERS = stat.S_IWGRP | stat.S_IWOTH
_OPEN_TO_OTHERS = stat.S_IRWXG | stat.S_IRWXO


class NotPrivate(CreditgateError, PermissionError):
    """Others can change, or read, what must be ours alone; the message says what to run."""


def make_private_folder(path: Path) -> None:
    """Make a folder, and those above it that are missing, each with mode 0700.

    Raises:
        NotPrivate: it is there, and others own it or can write to it.
        OSError: it can't be made.
    """
    for folder in (*reversed(path.parents), path):
        if not folder.exists():
            # The mode is set once more, since a umask may have taken from it.
            try:
                folder.mkdir(mode=_FOLDER_MODE)
            except FileExistsError:
                continue  # another process was faster
            folder.chmod(_FOLDER_MODE)
    check_private_folder(path)


def check_private_folder(path: Path) -> None:
    """Check that a folder, if it is there, is ours, and that only we can write to it.

    Raises:
        NotPrivate: others own it or can write to it, or it is no folder.
    """
    try:
        found = path.stat()
    except FileNotFoundError:
        return
    if not stat.S_ISDIR(found.st_mode):
        raise NotPrivate(f"{path} must be a folder")
    _check(path, found, forbidden=_WRITABLE_BY_OTHERS, mode=_FOLDER_MODE)


def check_data_folders(data_dir: Path) -> None:
    """Check that the data folder and the spool, where they are there, are ours alone.

    Raises:
        NotPrivate: others own one of them or can write to it, and so could book charges.
    """
    for folder in (data_dir, data_dir / "spool", data_dir / "spool" / "dead"):
        check_private_folder(folder)


def read_private_file(path: Path, *, most_bytes: int) -> bytes:
    """Return the content of a file that is ours, and that only we can read.

    Raises:
        FileNotFoundError: there is none.
        NotPrivate: others own it or can use it.
        OSError: it can't be read, is not a regular file, or is larger than ``most_bytes``.
    """

    def check(found: os.stat_result) -> None:
        _check(path, found, forbidden=_OPEN_TO_OTHERS, mode=_FILE_MODE)

    return read_bounded(path, most_bytes, check=check)


def use_by_everybody(path: Path) -> str | None:
    """Return what every user of the machine can do with a file: "read" or "change" it.

    Raises:
        OSError: there is no such file.
    """
    mode = path.stat().st_mode
    if mode & stat.S_IWOTH:
        return "change"
    return "read" if mode & stat.S_IROTH else None


def _check(path: Path, found: os.stat_result, *, forbidden: int, mode: int) -> None:
    quoted = shlex.quote(str(path))
    if found.st_uid != os.geteuid():
        me = _user(os.geteuid())
        raise NotPrivate(
            f"{path} belongs to {_user(found.st_uid)}, and creditgate runs as {me}. If you trust "
            f"what is in it, run:\n  sudo chown -R {me} {quoted}"
        )
    if found.st_mode & forbidden:
        others = "write to" if found.st_mode & _WRITABLE_BY_OTHERS else "read"
        raise NotPrivate(
            f"{path} has mode {stat.S_IMODE(found.st_mode):04o}, so others can {others} it. If you "
            f"trust what is in it, run:\n  chmod {mode:o} {quoted}"
        )


def _user(number: int) -> str:
    try:
        return pwd.getpwuid(number).pw_name
    except KeyError:
        return str(number)
