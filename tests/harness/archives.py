"""Archives in SQLite files, as the copier fills them from a test's own ledger."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

from runtime.archive.copier import Copier
from runtime.archive.statement import Statements
from runtime.credits.journal import chain_of
from runtime.store.database import Database, database_url, open_database
from tests.harness.ledger.desk import ACCOUNT, Desk
from tests.harness.pages import blocks


@asynccontextmanager
async def open_file(path: Path) -> AsyncIterator[Database]:
    """Open a file as an archive, which belongs to no installation yet."""
    async with open_database(database_url(f"sqlite:///{path}")) as database:
        yield database


@asynccontextmanager
async def open_pages(path: Path, installation: str = "here") -> AsyncIterator[Statements]:
    """Open the statements of a file."""
    async with open_file(path) as database:
        yield Statements(database, installation)


async def archive(desk: Desk, path: Path, *account_ids: str) -> None:
    """Archive what is new of some accounts, or of the usual one, in a file."""
    async with open_file(path) as database:
        copier = Copier(database, desk.client, desk.keys, timeout_ms=10_000)
        for account_id in account_ids or (ACCOUNT,):
            archived = await copier.archive_account(account_id)
            assert not archived.left, archived


def fill(path: Path, count: int) -> None:
    """Add a grant and so many charges to the archived account, as its ledger would write them."""
    with closing(sqlite3.connect(path)) as file:
        found = file.execute(
            "SELECT no, epoch, a.seq, a.chain, a.left_mc, at_ms FROM accounts a JOIN entries e"
            " ON a.no = e.account AND a.seq = e.seq WHERE account_id = 'acme'"
        )
        no, epoch, seq, chain, left_mc, at_ms = found.fetchone()

        def entries() -> Iterator[tuple[Any, ...]]:
            nonlocal seq, chain, left_mc
            granted = f"1\t{epoch}\tg\t{at_ms}\t\tg3:na:{10**10}" + "\t" * 10 + "ops\tbig"
            charged = f"1\t{epoch}\ts\t{at_ms}\tkey\tg3:rc:100\t250\t1\t120,20\t2026-01"
            for number in range(count + 1):
                body = charged if number else f"{granted}\tplan;30;0"
                seq, chain = seq + 1, chain_of(chain, body)
                left_mc += -100 if number else 10**10
                kind = "s" if number else "g"
                yield no, seq, chain, kind, at_ms, at_ms, 1 if number else 0, 0, left_mc, body

        file.executemany("INSERT INTO entries VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?)", entries())
        last = (seq, chain, left_mc, no)
        file.execute("UPDATE accounts SET seq = ?, chain = ?, left_mc = ? WHERE no = ?", last)
        file.commit()


def check_books(folder: Path, books: Path) -> subprocess.CompletedProcess[str]:
    """Run the page's program on an archive or a CSV of it, with nothing but Python itself."""
    [text] = [block for block in blocks("docs/archive.md", "python") if "check_books" in block]
    program = folder / "check_books.py"
    program.write_text(text, "utf-8")
    command = [sys.executable, "-I", "-S", str(program), str(books)]
    return subprocess.run(command, check=False, capture_output=True, text=True)
