"""Opens the SQL database, and brings its schema up to date."""

from __future__ import annotations

import sqlite3
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config as AlembicConfig
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import URL, Connection, Table, event, inspect, make_url, select
from sqlalchemy.exc import (
    ArgumentError,
    DataError,
    DBAPIError,
    IntegrityError,
    NotSupportedError,
    ProgrammingError,
)
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine

from pricing.errors import CreditgateError

_MIGRATIONS = Path(__file__).with_name("migrations")
_DRIVERS = {"sqlite": "sqlite+aiosqlite", "postgresql": "postgresql+asyncpg"}
_BUSY_S = 30
_CONNECT_S = 10
_ANSWER_S = 120
_SCHEMA_LOCK = 0x63726564  # of this database alone; any number that nothing else takes


class StoreError(CreditgateError):
    """The database is not one that this release can use; nothing was changed in it."""


class StoreUnavailable(StoreError):
    """The database can't be reached, or did not answer."""


@dataclass(frozen=True, slots=True)
class Database:
    """An open database; ``is_postgres`` tells the two dialects apart where they differ."""

    engine: AsyncEngine
    is_postgres: bool
    driver_errors: tuple[type[Exception], ...] = ()

    @asynccontextmanager
    async def begin(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection in a transaction, which is committed at the end.

        Raises:
            StoreUnavailable: the database can't be reached, or did not answer.
            StoreError: it refuses what it was asked.
        """
        with self._errors():
            async with self.engine.begin() as connection:
                yield connection

    @asynccontextmanager
    async def connect(self) -> AsyncIterator[AsyncConnection]:
        """Yield a connection to read with; errors as ``begin``."""
        with self._errors():
            async with self.engine.connect() as connection:
                yield connection

    @contextmanager
    def _errors(self) -> Iterator[None]:
        try:
            yield
        except (DataError, IntegrityError, NotSupportedError, ProgrammingError) as exc:
            raise StoreError(f"{shown(self.engine.url)}: {reason_of(exc)}") from exc
        except (TimeoutError, OSError, DBAPIError) as exc:
            raise StoreUnavailable(f"{shown(self.engine.url)}: {reason_of(exc)}") from exc
        except self.driver_errors as exc:
            raise StoreUnavailable(f"{shown(self.engine.url)}: {reason_of(exc)}") from exc


@asynccontextmanager
async def open_database(url: URL) -> AsyncIterator[Database]:
    """Open a database with the newest schema, and close it at the end.

    Args:
        url: as ``database_url`` returns it.

    Raises:
        StoreUnavailable: it can't be reached.
        StoreError: its schema was made by a newer release.
    """
    engine = _engine(url)
    try:
        try:
            async with engine.begin() as connection:
                await connection.run_sync(_upgrade)
        except (TimeoutError, OSError, DBAPIError) as exc:
            raise StoreUnavailable(f"{shown(url)} can't be opened: {reason_of(exc)}") from exc
        yield Database(engine, engine.dialect.name == "postgresql", _driver_errors(engine))
    finally:
        await engine.dispose()


async def any_row(url: URL, table: Table) -> bool:
    """Return whether a table is there and has a row. Makes and changes nothing.

    Raises:
        StoreUnavailable: the database can't be reached.
    """
    engine = _engine(url)
    try:
        async with engine.connect() as connection:
            there = await connection.run_sync(lambda bare: inspect(bare).has_table(table.name))
            return there and (await connection.execute(select(table).limit(1))).first() is not None
    except (TimeoutError, OSError, DBAPIError) as exc:
        raise StoreUnavailable(f"{shown(url)} can't be opened: {reason_of(exc)}") from exc
    finally:
        await engine.dispose()


def database_url(text: str, username: str | None = None, password: str | None = None) -> URL:
    """Return the URL for SQLAlchemy's asynchronous engine.

    Args:
        text: ``sqlite:///PATH`` or ``postgresql://HOST/NAME``.

    Raises:
        StoreError: it is neither, or its driver is not installed.
    """
    try:
        url = make_url(text)
    except ArgumentError:
        raise StoreError("the database's URL can't be read") from None
    driver = _DRIVERS.get(url.drivername)
    if driver is None:
        raise StoreError(
            f"the database's URL begins with {url.drivername}://, allowed are "
            "sqlite:///PATH and postgresql://HOST/NAME"
        )
    if driver.endswith("asyncpg") and find_spec("asyncpg") is None:
        raise StoreError('PostgreSQL needs another package: pip install "creditgate[postgres]"')
    url = url.set(drivername=driver)
    if username is not None:
        url = url.set(username=username)
    return url if password is None else url.set(password=password)


def shown(url: URL) -> str:
    """Return the URL for messages, without its password."""
    return url.set(drivername=url.get_backend_name()).render_as_string(hide_password=True)


def reason_of(exc: BaseException) -> str:
    """Return a driver's own words about an error, in one line, without statement and values."""
    cause = exc.orig if isinstance(exc, DBAPIError) and exc.orig is not None else exc
    return " ".join(str(cause).split())[:300] or type(cause).__name__


def _engine(url: URL) -> AsyncEngine:
    if not url.drivername.startswith("sqlite"):
        # A server that is frozen must not keep its callers for ever.
        bounds = {"timeout": _CONNECT_S, "command_timeout": _ANSWER_S}
        return create_async_engine(
            url, pool_pre_ping=True, hide_parameters=True, connect_args=bounds
        )
    engine = create_async_engine(url, connect_args={"timeout": _BUSY_S}, hide_parameters=True)
    event.listen(engine.sync_engine, "connect", _set_up_sqlite)
    return engine


def _driver_errors(engine: AsyncEngine) -> tuple[type[Exception], ...]:
    """Return what the driver raises where SQLAlchemy is passed by."""
    if engine.dialect.name != "postgresql":
        return ()
    import asyncpg

    return (asyncpg.PostgresError, asyncpg.InterfaceError)


def _set_up_sqlite(connection: Any, _: Any) -> None:
    cursor = connection.cursor()
    try:
        cursor.execute("PRAGMA journal_mode=WAL")
    except sqlite3.OperationalError as exc:
        # Of processes that open a new file at once, one sets the mode, which is the file's; others
        # are refused at once, however long they would wait for other locks.
        if "locked" not in str(exc):
            raise
    # What is committed is on the disk: the journal in Redis is cut off behind it.
    cursor.execute("PRAGMA synchronous=FULL")
    cursor.close()


def _upgrade(connection: Connection) -> None:
    # Of processes that open a new database at once, one makes the tables and the others wait.
    if connection.dialect.name == "postgresql":
        connection.exec_driver_sql(f"SELECT pg_advisory_xact_lock({_SCHEMA_LOCK})")
    else:
        connection.exec_driver_sql("BEGIN IMMEDIATE")
    config = AlembicConfig()
    config.set_main_option("script_location", str(_MIGRATIONS).replace("%", "%%"))
    config.attributes["connection"] = connection
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    found = set(MigrationContext.configure(connection).get_current_heads())
    if newer := found - known:
        raise StoreError(
            f"{shown(connection.engine.url)} has schema {', '.join(sorted(newer))}, which a newer "
            f"release made; this one reads up to {max(known)}: run the newer release"
        )
    command.upgrade(config, "head")
