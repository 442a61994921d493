"""Tells where the archive is. Imports nothing of SQLAlchemy, so that every start may ask."""

from __future__ import annotations

from pathlib import Path

from runtime.config import Config

_FILE = "archive.db"
_SQLITE = "sqlite:///"


def archive_file(config: Config) -> Path | None:
    """Return the file that is the archive, or ``None`` where a server has it."""
    url = config.archive.url
    if url == "sqlite":
        return (config.data_dir / _FILE).absolute()
    return Path(url.removeprefix(_SQLITE)) if url.startswith(_SQLITE) else None
