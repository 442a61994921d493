"""Opens the archive of an installation. Nothing imports SQLAlchemy before this is called."""

from __future__ import annotations

import os
from asyncio import to_thread
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from sqlalchemy import URL, select

from runtime.archive.location import archive_file
from runtime.archive.writing import insert
from runtime.config import Config
from runtime.files.private import NotPrivate, make_private_folder
from runtime.store.database import (
    Database,
    StoreError,
    any_row,
    database_url,
    open_database,
    shown,
)
from runtime.store.schema import accounts, installation


@asynccontextmanager
async def open_archive(config: Config, key_check: str) -> AsyncIterator[Database]:
    """Open the configured archive, which it makes at its first use.

    Args:
        key_check: ``Identity.check_value()`` of the installation key.

    Raises:
        StoreUnavailable: the database can't be reached.
        StoreError: it has a newer schema, or is the archive of another installation.
        NotPrivate: others can write to the data folder.
    """
    url = _url(config)
    if config.archive.url == "sqlite":
        await to_thread(_make_data_folder, config.data_dir)
    async with open_database(url) as database:
        await _check_installation(
            database,
            {"key_check": key_check, "key_prefix": config.redis.key_prefix},
            shown(url),
        )
        yield database


@asynccontextmanager
async def open_archive_if_any(config: Config, key_check: str) -> AsyncIterator[Database | None]:
    """Open the configured archive, or yield ``None`` where its file was never made.

    Raises:
        StoreUnavailable, StoreError: as ``open_archive``.
    """
    if not await _is_made(_url(config)):
        yield None
        return
    async with open_archive(config, key_check) as database:
        yield database


@asynccontextmanager
async def open_written_archive(config: Config, key_check: str) -> AsyncIterator[Database]:
    """Open the configured archive to read from it: unlike ``open_archive`` it makes no file.

    Raises:
        StoreError: nothing was archived yet, or as ``open_archive``.
    """
    url = _url(config)
    if not await _is_made(url):
        raise StoreError(f"nothing was archived yet: there is no {url.database}")
    async with open_archive(config, key_check) as database:
        yield database


async def has_accounts(config: Config) -> bool:
    """Return whether the configured archive has accounts. Makes nothing.

    Raises:
        StoreUnavailable: the database can't be reached, so that nobody knows.
    """
    url = _url(config)
    return await _is_made(url) and await any_row(url, accounts)


async def _is_made(url: URL) -> bool:
    """Return whether a database is there to be asked: a server's is, a file perhaps not yet."""
    is_file = url.drivername.startswith("sqlite")
    return not is_file or await to_thread(os.path.isfile, url.database or "")


def _make_data_folder(path: Path) -> None:
    try:
        make_private_folder(path)
    except NotPrivate:
        raise
    except OSError as exc:
        raise StoreError(f"the data folder {path} can't be made: {exc.strerror}") from None


def _url(config: Config) -> URL:
    section = config.archive
    if section.url == "sqlite":
        return database_url(f"sqlite:///{archive_file(config)}")
    password = None if section.password is None else section.password.get_secret_value()
    return database_url(section.url, section.username, password)


async def _check_installation(database: Database, expected: dict[str, str], where: str) -> None:
    rows = [{"name": name, "value": value} for name, value in expected.items()]
    async with database.begin() as connection:
        # Another process may open a new archive at the same time.
        await connection.execute(insert(database, installation).on_conflict_do_nothing(), rows)
        found = {row.name: row.value for row in await connection.execute(select(installation))}
    for name, value in expected.items():
        if found.get(name) != value:
            told = "installation key" if name == "key_check" else "redis.key_prefix"
            raise StoreError(
                f"{where} is the archive of another installation: its {told} differs. Configure "
                "that one, or another archive.url"
            )
