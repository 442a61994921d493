"""Law 1a: what a process was told is kept beside Redis, within bounds."""

from __future__ import annotations

import asyncio
import json
import logging
import os
import stat
from pathlib import Path

import pytest

from runtime.credits.told import MOST_ACCOUNTS, MOST_BYTES, MOST_POINTS, Told, ToldFile, read_told
from tests.harness.bounds import assert_linear, cpu_s, peak_bytes

WEEK_MS = 7 * 24 * 3_600_000


def told(epoch: str, seq: int) -> bytes:
    return f"{epoch}\t{seq}\t{seq:012x}".encode()


async def kept(folder: Path, notes: list[tuple[str, bytes]]) -> Told:
    """Return what is read of a process that was told these things."""
    file = ToldFile(folder, "cg1")
    for account_id, text in notes:
        file.note(account_id, text)
    await file.aclose()
    return read_told([folder], "cg1")


async def test_law_1a_every_answer_of_the_last_seconds_is_kept_by_account_and_epoch(
    tmp_path: Path,
) -> None:
    notes = [("acme", told("e1", seq)) for seq in (3, 5, 4)]
    found = await kept(
        tmp_path / "told", [*notes, ("acme", told("e2", 9)), ("beta", told("e3", 1))]
    )
    assert found.points == {
        "acme": {"e1": {(seq, f"{seq:012x}") for seq in (3, 4, 5)}, "e2": {(9, f"{9:012x}")}},
        "beta": {"e3": {(1, f"{1:012x}")}},
    }
    [path] = (tmp_path / "told").iterdir()
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE(path.parent.stat().st_mode) == 0o700


async def test_a_file_is_written_about_once_a_second_while_something_is_told(
    tmp_path: Path,
) -> None:
    file = ToldFile(tmp_path, "cg1")
    file.start(WEEK_MS)
    file.note("acme", told("e1", 1))
    async with asyncio.timeout(10):
        while not read_told([tmp_path], "cg1").points:  # noqa: ASYNC110  a file is no event
            await asyncio.sleep(0.05)
    [path] = tmp_path.iterdir()
    before = path.stat().st_mtime_ns
    await asyncio.sleep(1.1)
    assert path.stat().st_mtime_ns == before, "nothing was told, so nothing is written"
    await file.aclose()


async def test_the_files_of_another_prefix_are_left_out_and_damaged_ones_are_named(
    tmp_path: Path,
) -> None:
    await kept(tmp_path, [("acme", told("e1", 1))])
    bad = {
        "no.json": b"{",
        "list.json": b"[]",
        "newer.json": b'{"format":2}',
        "points.json": b'{"format":1,"key_prefix":"cg1","accounts":{"acme":{"e":[["1","x"]]}}}',
        "deep.json": b"[" * 100_000,
    }
    for name, content in bad.items():
        (tmp_path / name).write_bytes(content)
    os.mkfifo(tmp_path / "pipe.json")
    found = read_told([tmp_path, tmp_path / "missing"], "cg1")
    assert found.files == 1
    assert found.points["acme"]["e1"] == {(1, f"{1:012x}")}
    assert {line.split("/")[-1].split(":")[0].rstrip("'") for line in found.damaged} == {
        *bad,
        "pipe.json",
    }
    assert read_told([tmp_path], "other").points == {}


async def test_files_that_no_execution_can_be_asked_of_any_more_are_removed_at_a_start(
    tmp_path: Path,
) -> None:
    for name, age_s in (("old.json", 100), ("young.json", 1), ("old.unfinished", 100)):
        (tmp_path / name).write_text(json.dumps({}))
        at = (tmp_path / name).stat().st_mtime - age_s
        os.utime(tmp_path / name, (at, at))
    file = ToldFile(tmp_path, "cg1")
    file.start(50_000)
    await file.aclose()
    assert [path.name for path in tmp_path.iterdir()] == ["young.json"]


async def test_a_folder_that_cannot_be_written_is_told_once_and_stops_nothing(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    (tmp_path / "told").write_text("a file")
    file = ToldFile(tmp_path / "told", "cg1")
    with caplog.at_level(logging.WARNING):
        for seq in (1, 2):
            file.note("acme", told("e1", seq))
            await file.aclose()
    assert len(caplog.records) == 1


def test_law_15_a_file_beyond_its_bound_is_named_and_left_out(tmp_path: Path) -> None:
    with (tmp_path / "huge.json").open("wb") as huge:
        huge.truncate(MOST_BYTES + 1)
    found = read_told([tmp_path], "cg1")
    assert found.points == {}
    assert "huge.json" in found.damaged[0]


async def test_law_15_a_file_has_a_bounded_number_of_accounts_and_answers(tmp_path: Path) -> None:
    many = [(f"a{number}", told("e1", number)) for number in range(MOST_ACCOUNTS + 10)]
    found = await kept(tmp_path / "accounts", many)
    assert len(found.points) == MOST_ACCOUNTS
    assert "a9" not in found.points
    busy = [("acme", told("e1", seq)) for seq in range(MOST_POINTS)]
    found = await kept(tmp_path / "points", [*busy, ("beta", told("e1", 1))])
    assert len(found.points["acme"]["e1"]) == 1, "the one used longest ago keeps its last"
    assert found.points["beta"]["e1"] == {(1, f"{1:012x}")}


def test_law_15_noting_an_answer_takes_the_event_loop_hardly_anything(tmp_path: Path) -> None:
    file, text = ToldFile(tmp_path, "cg1"), told("e1", 1)

    def note() -> None:
        for _ in range(10_000):
            file.note("acme", text)

    assert cpu_s(note) < 0.05, "5 us a call"


def test_law_15_keeping_what_was_told_takes_at_most_32_mb_and_time_in_proportion(
    tmp_path: Path,
) -> None:
    def notes(count: int) -> list[tuple[str, bytes]]:
        return [(f"a{number % MOST_ACCOUNTS}", told("e1", number)) for number in range(count)]

    async def kept_alone(some: list[tuple[str, bytes]]) -> None:
        file = ToldFile(tmp_path, "cg1")
        for account_id, text in some:
            file.note(account_id, text)
        await file.aclose()

    def keep(some: list[tuple[str, bytes]]) -> None:
        asyncio.run(kept_alone(some))

    most = notes(MOST_POINTS)
    assert peak_bytes(lambda: keep(most)) < 32_000_000
    assert_linear(notes, keep, MOST_POINTS // 40)
