"""Opens the archive of an installation. Nothing imports SQLAlchemy before this is called."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from sqlalchemy import URL, select

from runtime.config import Config
from runtime.store.database import (
    Database,
    StoreError,
    any_row,
    database_url,
    open_database,
    shown,
)
from runtime.store.schema import accounts, installation

_FILE = "archive.db"


@asynccontextmanager
async def open_archive(config: Config, key_check: str) -> AsyncIterator[Database]:
    """Open the configured archive, which it makes at its first use.

    Args:
        key_check: ``Identity.check_value()`` of the installation key.

    Raises:
        StoreUnavailable: the database can't be reached.
        StoreError: it has a newer schema, or is the archive of another installation.
    """
    url = _url(config)
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
    if config.archive.url == "sqlite" and not (config.data_dir / _FILE).exists():
        yield None
        return
    async with open_archive(config, key_check) as database:
        yield database


async def has_accounts(config: Config) -> bool:
    """Return whether the configured archive has accounts. Makes nothing.

    Raises:
        StoreUnavailable: the database can't be reached, so that nobody knows.
    """
    if config.archive.url == "sqlite" and not (config.data_dir / _FILE).exists():
        return False
    return await any_row(_url(config), accounts)


def _url(config: Config) -> URL:
    section = config.archive
    if section.url == "sqlite":
        return database_url(f"sqlite:///{(config.data_dir / _FILE).absolute()}")
    password = None if section.password is None else section.password.get_secret_value()
    return database_url(section.url, section.username, password)


async def _check_installation(database: Database, expected: dict[str, str], where: str) -> None:
    async with database.engine.begin() as connection:
        found = {row.name: row.value for row in await connection.execute(select(installation))}
        if not found:
            rows = [{"name": name, "value": value} for name, value in expected.items()]
            await connection.execute(installation.insert(), rows)
            return
    for name, value in expected.items():
        if found.get(name) != value:
            told = "installation key" if name == "key_check" else "redis.key_prefix"
            raise StoreError(
                f"{where} is the archive of another installation: its {told} differs. Configure "
                "that one, or another archive.url"
            )
