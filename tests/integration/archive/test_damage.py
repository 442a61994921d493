"""A damaged record leaves its own account behind, with an error that names it, and no other."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from sqlalchemy import URL

from runtime.credits.journal import chain_of
from runtime.store.database import database_url
from tests.harness.archive import ArchiveDesk, fill

Entries = list[list[bytes]]


@pytest.fixture
def archive_url(tmp_path: Path) -> URL:
    """SQLite alone: what is damaged never reaches the database."""
    return database_url(f"sqlite:///{tmp_path}/archive.db")


def set_column(entries: Entries, at: int, column: int, text: bytes) -> None:
    columns = entries[at][1].split(b"\t")
    columns[column - 1] = text
    entries[at][1] = b"\t".join(columns)


def chained(entries: Entries) -> None:
    """Make the chains anew, as somebody does who knows how."""
    chain = ""
    for entry in entries:
        chain = chain_of(chain, entry[1].decode(errors="surrogateescape"))
        entry[2] = chain.encode()


async def left_behind(desk: ArchiveDesk, change: Callable[[Entries], None]) -> tuple[str, int]:
    """Return why acme stays behind after a change, and how many of its entries are archived."""
    await fill(desk.ledger, "acme", 20)
    await fill(desk.ledger, "beta", 20)
    await desk.rewrite("acme", change)
    archived = await desk.copier().run_once()
    assert list(archived.left) == ["acme"]
    assert desk.stopped == []
    assert await desk.in_redis("beta") == []
    assert len(await desk.archived("beta")) == 23
    return archived.left["acme"], len(await desk.archived("acme"))


async def test_an_entry_edited_by_hand_is_named(archive_desk: ArchiveDesk) -> None:
    why, archived = await left_behind(
        archive_desk, lambda entries: set_column(entries, 9, 6, b"g1:rc:1")
    )
    assert "journal entry 0-10: chain" in why
    assert archived == 9
    assert len(await archive_desk.in_redis("acme")) == 14, "what was archived is trimmed"


async def test_an_entry_taken_out_by_hand_is_named(archive_desk: ArchiveDesk) -> None:
    def change(entries: Entries) -> None:
        del entries[9]

    why, archived = await left_behind(archive_desk, change)
    assert "journal entry 0-10 is missing, found 0-11" in why
    assert archived == 9


@pytest.mark.parametrize(
    "column, text, told",
    [
        (1, b"99", "newer release"),
        (3, b"Q", "there is no kind 'Q'"),
        (4, b"then", "invalid literal"),
        (6, b"g1:rc", "not enough values"),
        (6, b"g1:zz:10", "KeyError"),
        (6, b"g1:ac:99999999999999999999", "too large"),
        (8, b"99999999999", "too large"),
        (9, b"many", "invalid literal"),
        (12, b"no\0reason", "NUL"),
    ],
)
async def test_an_entry_that_cannot_be_read_is_named_though_its_chain_is_right(
    archive_desk: ArchiveDesk, column: int, text: bytes, told: str
) -> None:
    def change(entries: Entries) -> None:
        [at, *_] = [i for i, entry in enumerate(entries) if entry[1].split(b"\t")[2] == b"s"][5:]
        columns = entries[at][1].split(b"\t") + [b""] * 18
        entries[at] = [entries[at][0], b"\t".join(columns[:18]), b""]
        set_column(entries, at, column, text)
        chained(entries)

    why, archived = await left_behind(archive_desk, change)
    assert f"journal entry 0-{archived + 1}: " in why
    assert told in why
    assert archived >= 7


@pytest.mark.parametrize("part", ["journal", "account"])
async def test_a_key_of_a_foreign_type_leaves_its_account_behind(
    archive_desk: ArchiveDesk, part: str
) -> None:
    desk = archive_desk
    await fill(desk.ledger, "acme", 5)
    await fill(desk.ledger, "beta", 5)
    await desk.client.set(desk.key(part, "acme"), "something else")
    archived = await desk.copier().run_once()
    assert "WRONGTYPE" in archived.left["acme"]
    assert await desk.in_redis("beta") == []


async def test_a_bucket_whose_news_cannot_be_read_leaves_its_accounts_behind(
    archive_desk: ArchiveDesk,
) -> None:
    desk = archive_desk
    await fill(desk.ledger, "acme", 5)
    await fill(desk.ledger, "beta", 5)
    news = desk.keys.news("acme")
    await desk.client.delete(news)
    await desk.client.set(news, "something else")
    archived = await desk.copier().run_once()
    assert "can't be read" in archived.left[news]
    assert await desk.in_redis("beta") == []


async def test_an_account_that_is_gone_is_not_made_again(archive_desk: ArchiveDesk) -> None:
    desk = archive_desk
    await fill(desk.ledger, "acme", 5)
    await desk.client.delete(desk.key("account", "acme"))
    await desk.copier().run_once()
    assert not await desk.client.exists(desk.key("account", "acme"))


async def test_a_repaired_account_is_archived_by_the_next_round(archive_desk: ArchiveDesk) -> None:
    desk, copying = archive_desk, archive_desk.copier()
    await fill(desk.ledger, "acme", 20)
    sound = await desk.snapshot("acme")
    await desk.rewrite("acme", lambda entries: set_column(entries, 5, 6, b"g1:rc:1"))
    assert "acme" in (await copying.run_once()).left
    await desk.lose_since("acme", sound)
    assert (await copying.run_once()).left == {}
    assert await desk.in_redis("acme") == []
