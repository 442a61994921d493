"""Statements take little of the event loop and of memory, however much is archived."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.archive.statement import MOST_LINES, Statements
from tests.harness.archives import archive, fill, open_pages
from tests.harness.bounds import assert_linear, loop_holds_s, peak_bytes
from tests.harness.ledger.desk import ACCOUNT, open_desk

HELD_S = 0.05
MOST_BYTES = 64_000_000


@pytest.fixture
def filled(redis_url: str, key_prefix: str, tmp_path: Path) -> Path:
    """An archive with more entries than a page may have."""

    async def live() -> None:
        async with open_desk(redis_url, key_prefix) as desk:
            await desk.open(1_000)
            await desk.spend(1)
            await archive(desk, tmp_path / "a.db")

    asyncio.run(live())
    fill(tmp_path / "a.db", 2 * MOST_LINES)
    return tmp_path / "a.db"


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as runner:
        yield runner


@pytest.mark.long
def test_law_15_a_page_of_a_statement_does_not_hold_the_event_loop(
    filled: Path, runner: asyncio.Runner
) -> None:
    async def look() -> list[float]:
        async with open_pages(filled) as statements:
            held_s: list[float] = []
            for _ in range(3):
                page, held_s = await loop_holds_s(statements.page(ACCOUNT, limit=MOST_LINES))
                assert len(page.lines) == MOST_LINES
                if max(held_s) <= HELD_S:
                    break
            return held_s

    assert max(runner.run(look())) <= HELD_S


@pytest.mark.long
def test_law_15_a_page_of_a_statement_takes_memory_and_time_in_proportion_to_its_lines(
    filled: Path, runner: asyncio.Runner
) -> None:
    async def opened() -> Statements:
        return await pages.__aenter__()

    pages = open_pages(filled)
    statements = runner.run(opened())

    def read(lines: int) -> None:
        page = runner.run(statements.page(ACCOUNT, limit=lines))
        assert len(page.lines) == lines

    try:
        assert peak_bytes(lambda: read(MOST_LINES)) <= MOST_BYTES
        assert_linear(int, read, 1_000)
    finally:
        runner.run(pages.__aexit__(None, None, None))
