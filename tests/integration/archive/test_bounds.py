"""Law 15: archiving holds up nobody else in its process, and takes little memory."""

from __future__ import annotations

import gc
import tracemalloc

import pytest

from runtime.archive.copier import BATCH_ENTRIES
from tests.harness.archive import ArchiveDesk, made_journal, put_journal
from tests.harness.bounds import loop_holds_s

MOST_GRANTS = 1_000


async def put(desk: ArchiveDesk, account_id: str, executions: int, grants: int = 1) -> int:
    journal = made_journal(executions, grants=grants)
    await put_journal(desk.client, desk.keys, account_id, journal)
    return len(journal)


@pytest.mark.parametrize("executions, grants", [(8_000, 1), (100, MOST_GRANTS)])
async def test_law_15_archiving_never_holds_the_event_loop_for_50_ms(
    archive_desk: ArchiveDesk, executions: int, grants: int
) -> None:
    desk, copier = archive_desk, archive_desk.copier()
    await copier.run_once()  # imports, caches and compiled statements
    written = await put(desk, "acme", executions, grants)
    archived, holds_s = await loop_holds_s(copier.run_once())
    assert archived.entries == written
    assert max(holds_s) <= 0.05


@pytest.mark.long
@pytest.mark.parametrize("executions, grants", [(2 * BATCH_ENTRIES, 1), (60, MOST_GRANTS)])
async def test_law_15_archiving_takes_at_most_64_mb_however_much_waits(
    archive_desk: ArchiveDesk, executions: int, grants: int
) -> None:
    desk, copier = archive_desk, archive_desk.copier()
    await copier.run_once()
    written = await put(desk, "acme", executions, grants)
    gc.collect()
    tracemalloc.start()
    try:
        archived = await copier.run_once()
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert archived.entries == written
    assert peak <= 64_000_000
