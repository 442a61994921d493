"""What an operator does about charges that were not booked and accounts that were stopped."""

from __future__ import annotations

import asyncio
import stat
import time
from pathlib import Path

import pytest

from runtime.config import load_config
from runtime.credits.endings import Settlement
from runtime.credits.results import Reserved
from runtime.executions.spool import Replay, Spool
from runtime.ledger_opening import open_ledger
from tests.harness.command_line import Home

SECRET = b"Dear Ms Example, your card is on its way"
TOO_OLD = "older than executions.spool_max_age_hours"
WHO = ("--reason", "settled by hand", "--actor", "ann@example.com")


async def bury(home: Home, count: int) -> None:
    """Leave so many dead endings behind, each of 70 credits."""
    async with open_ledger(load_config(home.folder / "config.yaml")) as ledger:
        spool = Spool(folder(home), max_age_ms=0)
        for number in range(count):
            attempt = ledger.attempt(
                account_id="acme",
                execution_id=f"journey-{number}:step:1",
                workspace_id="retail",
                campaign_id="welcome",
                person_id=f"person-{number}",
                action="route",
                source="live",
                action_version="v1",
                model="writer",
            )
            reserved = await ledger.reserve(attempt, 100_000, 60_000)
            assert isinstance(reserved, Reserved)
            at_ms = reserved.reserved_at_ms
            await spool.put(Settlement(attempt, 70_000, 100_000, at_ms, "1", "v1", outcome=SECRET))
        assert await spool.replay(ledger) == Replay(done=0, dead=count, left=0)


def folder(home: Home) -> Path:
    return load_config(home.folder / "config.yaml").data_dir / "spool"


@pytest.fixture
def dead(home: Home) -> list[str]:
    """The names of three dead endings."""
    home.open_account("acme", amount_mc=1_000_000)
    asyncio.run(bury(home, 3))
    return sorted(path.name for path in (folder(home) / "dead").glob("*.json"))


def test_law_3c_dead_endings_are_listed_replayed_and_retired(home: Home, dead: list[str]) -> None:
    listed = home.invoke("spool", "list")
    assert listed.status == 0
    assert "acme" in listed.stdout
    assert TOO_OLD in listed.stdout
    found = home.invoke("spool", "list", "--json")
    assert [each["name"] for each in found.json["dead"]] == dead
    assert found.json["waiting"] == []
    first = found.json["dead"][0]
    assert (first["account_id"], first["kind"], first["cost_mc"]) == ("acme", "settlement", 70_000)
    assert first["why"] == TOO_OLD
    assert first["age_s"] < 120
    assert "Example" not in found.stdout + listed.stdout

    one = home.invoke("spool", "replay", dead[0], "--json")
    assert one.status == 0
    assert one.json["booked"] == 1
    retired = home.invoke("spool", "retire", dead[1], *WHO)
    assert retired.status == 0
    rest = home.invoke("spool", "replay")
    assert (rest.status, rest.stdout) == (0, "Booked: 1. Still waiting: 0. Dead: 0.\n")
    assert home.invoke("spool", "list").stdout == "The spool is empty.\n"
    assert list((folder(home) / "dead").iterdir()) == []

    assert home.balance("acme").charged_mc == 140_000
    log = folder(home) / "retired.log"
    assert stat.S_IMODE(log.stat().st_mode) == 0o600
    assert dead[1] in log.read_text()
    assert "settled by hand" in log.read_text()
    assert "Example" not in log.read_text()


def test_what_the_ledger_still_does_not_take_stays_dead_and_the_status_says_so(
    home: Home, dead: list[str]
) -> None:
    (folder(home) / "dead" / dead[0]).write_text("not an ending")
    replayed = home.invoke("spool", "replay", dead[0])
    assert replayed.status == 2
    assert "not an ending that this release can read" in replayed.stdout
    (listed, *_) = home.invoke("spool", "list", "--json").json["dead"]
    assert (listed["name"], listed["account_id"]) == (dead[0], None)
    assert home.balance("acme").charged_mc == 0


@pytest.mark.parametrize(
    "args, words",
    [
        (("replay", "../config.yaml"), "is not a dead ending"),
        (("retire", "nothing.json", *WHO), "is not a dead ending"),
        (("retire", *WHO), "Missing argument"),
        (("retire", "nothing.json"), "Missing option '--reason'"),
        (("retire", "nothing.json", "--reason", ""), "reason"),
        (("list", "--config", "nowhere.yaml"), "nowhere.yaml"),
    ],
)
def test_what_can_not_be_done_with_the_spool_is_refused(
    home: Home, args: tuple[str, ...], words: str
) -> None:
    ended = home.invoke("spool", *args)
    assert ended.status == 2
    assert words in ended.stderr


def test_a_waiting_ending_is_listed_with_its_age(home: Home) -> None:
    spool = folder(home)
    spool.mkdir(parents=True, mode=0o700)
    hours_ago_ns = time.time_ns() - 3 * 3_600_000_000_000
    (spool / f"{hours_ago_ns:020d}-ab.json").write_text("{}")
    assert " 3 h " in home.invoke("spool", "list").stdout
    assert "waiting" in home.invoke("spool", "list").stdout


def test_an_account_is_repaired_with_an_actor_and_a_reason(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    accepted = home.invoke("repair", "loss", "--account", "acme", *WHO, "--json")
    assert accepted.status == 0
    assert accepted.json["journal_seq"] == home.balance("acme").journal_seq
    in_time = home.invoke("repair", "clock", "--account", "acme", *WHO)
    assert in_time.stdout == "The clock of account acme is not ahead; nothing was changed.\n"
    for args, words in (
        (("loss", "--account", "acme"), "Missing option '--reason'"),
        (("loss", "--account", "nobody", *WHO), "unknown"),
        (("clock", "--account", "a b", *WHO), "account_id"),
    ):
        ended = home.invoke("repair", *args)
        assert ended.status == 2
        assert words in ended.stderr
