"""The installation key: configured, or the data folder's own."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from runtime.config import Config
from runtime.credits.identity import Identity
from runtime.files.private import make_private_folder, read_private_file

_LONGEST_KEY_BYTES = 4_096


def identity_of(config: Config) -> Identity:
    """Return the identity of the configured installation.

    Raises:
        InstallationKeyTooShort: its key is easy to guess.
        NotPrivate: others can read the key's file.
    """
    return Identity(_installation_key(config))


def _installation_key(config: Config) -> bytes:
    """The configured key, or one of this data folder's own, made at its first use."""
    if config.installation_key is not None:
        return config.installation_key.get_secret_value().encode()
    path = config.data_dir / "installation.key"
    try:
        return read_private_file(path, most_bytes=_LONGEST_KEY_BYTES)
    except FileNotFoundError:
        return _make_key(path)


def _make_key(path: Path) -> bytes:
    make_private_folder(path.parent)
    unfinished = path.with_name(f"{path.name}.{secrets.token_hex(4)}")
    handle = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(handle, "wb") as file:
        file.write(secrets.token_hex(32).encode())
    try:
        # Of several processes that start at once, one key wins and all of them use it.
        os.link(unfinished, path)
    except FileExistsError:
        pass
    finally:
        unfinished.unlink()
    return read_private_file(path, most_bytes=_LONGEST_KEY_BYTES)
