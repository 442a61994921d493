"""The file of ``--out``: no other file is replaced by accident, and nobody else can read it."""

from __future__ import annotations

import json
import os
import stat
from pathlib import Path
from typing import TextIO

import click

from runtime.cli.options import BadInput

_MODE = 0o600
_LONGEST_LINE_BYTES = 16 * 1024 * 1024
_RESULT_KEYS = frozenset({"person_id", "execution_id", "status", "values", "origins"})


def check_output(path: Path, *, force: bool) -> None:
    """Check that results can be written there, and change nothing.

    Raises:
        BadInput: it is no plain file, or holds something else than results (and not ``force``).
        OSError: it can't be opened, or its folder is missing.
    """
    if _is_there(path):
        os.close(_opened(path, os.O_RDWR, force=force))
    elif not path.parent.is_dir():
        raise BadInput(f"--out: there is no folder {click.format_filename(path.parent)}")


def open_output(path: Path, *, force: bool) -> TextIO:
    """Open the file for new results, empty and with mode 0600.

    Raises:
        BadInput, OSError: as ``check_output``.
    """
    _is_there(path)
    handle = _opened(path, os.O_RDWR | os.O_CREAT, force=force)
    try:
        os.lseek(handle, 0, os.SEEK_SET)
        os.ftruncate(handle, 0)
        if os.fstat(handle).st_uid == os.geteuid():
            os.fchmod(handle, _MODE)
    except BaseException:
        os.close(handle)
        raise
    # What has no UTF-8 form becomes \ud800 and the like, which is how JSON writes it anyway.
    return os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace")


def _is_there(path: Path) -> bool:
    """Return whether there is a file; refuse what is none before it is opened."""
    try:
        _refuse_others(path, path.lstat())
    except FileNotFoundError:
        return False
    return True


def _opened(path: Path, flags: int, *, force: bool) -> int:
    # O_NONBLOCK: what became a pipe in the meantime must not hold us up.
    flags |= os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
    handle = os.open(path, flags, _MODE)
    try:
        _refuse_others(path, os.fstat(handle))
        if not force and not _holds_results(handle):
            raise BadInput(
                f"--out: {click.format_filename(path)} is there already, and does not look like "
                "results of a run; name another file, or replace it with --force"
            )
    except BaseException:
        os.close(handle)
        raise
    return handle


def _refuse_others(path: Path, found: os.stat_result) -> None:
    if stat.S_ISREG(found.st_mode):
        return
    if stat.S_ISLNK(found.st_mode):
        what = "a link"
    elif stat.S_ISDIR(found.st_mode):
        what = "a folder"
    else:
        what = "a pipe, a socket or a device"
    raise BadInput(
        f"--out: {click.format_filename(path)} is {what}; results need a plain file of their own"
    )


def _holds_results(handle: int) -> bool:
    """Return whether the file is empty, or begins with a person's result."""
    with os.fdopen(os.dup(handle), "rb") as file:
        line = file.readline(_LONGEST_LINE_BYTES)
    if not line:
        return True
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        return False
    return isinstance(found, dict) and found.keys() >= _RESULT_KEYS
