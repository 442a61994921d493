"""``creditgate usage`` and ``balance --at``: reports out of the archive; and bad input."""

from __future__ import annotations

import asyncio
import csv
import io
import shlex
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from fallback.reasons import FallbackReason
from pricing.offers import GrantKind
from runtime.config import load_config
from runtime.credits.endings import Settlement
from runtime.credits.results import Reserved
from runtime.ledger_opening import open_ledger
from tests.harness.command_line import Home, new_home
from tests.harness.pages import blocks

USAGE = ("usage", "--account", "acme")
FORMULA = "=1+1"


async def _live(folder: Path) -> int:
    """Run three executions on an account; return the time before them, in milliseconds."""
    config = load_config(folder / "config.yaml")
    async with open_ledger(config) as ledger:
        await ledger.accounts.open_account("acme", plan="growth", timezone="Europe/Berlin")
        await ledger.accounts.grant(
            "acme", amount_mc=30_000, kind=GrantKind.PROMOTIONAL, reference="first"
        )
        granted_ms = (await ledger.accounts.balance("acme")).at_ms
        await asyncio.sleep(0.002)
        for number, campaign in enumerate(("welcome", "welcome", FORMULA)):
            attempt = ledger.attempt(
                account_id="acme",
                execution_id=f"j{number}:s:1",
                workspace_id="retail",
                campaign_id=campaign,
                person_id="p1",
                action="route_message",
                source="live",
                action_version=config.actions["route_message"].version,
                model="writer",
            )
            reserved = await ledger.reserve(attempt, 10_000, 60_000)
            assert isinstance(reserved, Reserved)
            await ledger.settle(
                Settlement(
                    attempt,
                    cost_mc=1_500,
                    reserved_mc=10_000,
                    reserved_at_ms=reserved.reserved_at_ms,
                    tokens="100,,,20",
                    rate_card_version="2026-01",
                    outcome=b"{}",
                    reason=FallbackReason.OUTPUT_INVALID if number == 1 else None,
                    choices=((0, 1),),
                )
            )
    return granted_ms


@pytest.fixture(scope="module")
def lived(redis_url: str, tmp_path_factory: pytest.TempPathFactory) -> Home:
    """A home that tests only read from."""
    home = new_home(tmp_path_factory.mktemp("lived"), redis_url, "http://127.0.0.1:9")
    granted_ms = asyncio.run(_live(home.folder))
    home.write("granted_ms", str(granted_ms))
    assert home.invoke("archive").status == 0
    return home


def test_usage_is_a_table_with_its_total(lived: Home) -> None:
    shown = lived.invoke(*USAGE, "--by", "campaign,outcome")
    assert shown.status == 0, shown.stderr
    title, header, *lines = (line.split() for line in shown.stdout.splitlines())
    assert title[:2] == ["Account", "acme,"]
    assert header[:4] == ["campaign", "outcome", "executions", "charged"]
    assert lines[0][:4] == [FORMULA, "answered", "1", "1.5"]
    assert lines[1][:4] == ["welcome", "answered", "1", "1.5"]
    assert lines[2][:4] == ["welcome", "fell_back", "1", "1.5"]
    assert lines[3] == ["total", "3", "4.5", "300", "60"]
    assert "prompt_error, is not here" in shown.stdout


def test_usage_as_json_and_csv_says_the_same_without_formulas(lived: Home) -> None:
    found = lived.invoke(*USAGE, "--by", "campaign", "--json").json
    assert found["total"]["charged_mc"] == 4_500
    assert [row["charged_mc"] for row in found["rows"]] == [1_500, 3_000]
    text = lived.invoke(*USAGE, "--by", "campaign", "--csv").stdout
    rows = list(csv.DictReader(io.StringIO(text)))
    assert [row["campaign"] for row in rows] == [f"'{FORMULA}", "welcome"]
    assert [row["charged_mc"] for row in rows] == ["1500", "3000"]


def test_performance_names_reasons_and_options(lived: Home) -> None:
    shown = lived.invoke(*USAGE, "--performance").stdout
    version = load_config(lived.folder / "config.yaml").actions["route_message"].version
    assert ["route_message", version, "writer", "3", "2", "(", "67%)", "2.250"] in [
        line.split()[:8] for line in shown.splitlines()
    ]
    assert "output_invalid" in shown
    [action] = lived.invoke(*USAGE, "--performance", "--json").json["actions"]
    assert (action["runs"], action["answered"]) == (3, 2)
    assert action["fell_back"] == {"output_invalid": 1}
    assert action["charged_mc_per_answer"] == 2_250
    [option] = action["options"]
    assert (option["output"], option["option"], option["count"]) == (0, 1, 3)
    assert option["output_name"] == "intent"
    assert f" intent = {option['option_name']} " in shown
    [row] = csv.DictReader(io.StringIO(lived.invoke(*USAGE, "--performance", "--csv").stdout))
    assert (row["fell_back"], row["options"]) == ("output_invalid:1", "0.1:3")


def test_a_past_balance_is_what_the_account_had_then(lived: Home) -> None:
    granted_ms = int((lived.folder / "granted_ms").read_text())
    granted = datetime(1970, 1, 1, tzinfo=UTC) + timedelta(milliseconds=granted_ms)
    asked = ("balance", "--account", "acme", "--at", granted.isoformat())
    found = lived.invoke(*asked, "--json").json
    assert (found["granted_mc"], found["left_mc"], found["charged_mc"]) == (30_000, 30_000, 0)
    assert found["grants"][0]["reference"] == "first"
    now = lived.invoke("balance", "--account", "acme", "--at", datetime.now(UTC).isoformat())
    assert now.status == 0, now.stderr
    assert [line.split()[:2] for line in now.stdout.splitlines()[1:4]] == [
        ["granted", "30"],
        ["left", "25.5"],
        ["charged", "4.5"],
    ]


@pytest.mark.parametrize(
    "args, message",
    [
        ((*USAGE, "--by", "person"), "--by: there is no 'person'"),
        ((*USAGE, "--tz", "Mars/X"), "--tz: there is no time zone 'Mars/X'"),
        (
            (*USAGE, "--from", "2026-05-02", "--to", "2026-05-01"),
            "--to: 2026-04-30 22:00:00 UTC is not after",
        ),
        ((*USAGE, "--from", "3026-01-01"), "--from: 3025-12-31 23:00:00 UTC is in the future"),
        ((*USAGE, "--from", "May"), "--from: found 'May'"),
        ((*USAGE, "--csv", "--json"), "--csv and --json exclude each other"),
        ((*USAGE, "--performance", "--by", "day"), "--performance is by action"),
        (("usage", "--account", "nobody"), "the archive has no account 'nobody'"),
        (("balance", "--account", "acme", "--at", "3026-01-01"), "--at: 3025-12-31"),
        (("balance", "--account", "acme", "--at", "1999-01-01"), "was opened later"),
        (("balance", "--account", "acme", "--tz", "UTC"), "--tz is the time zone of --at"),
    ],
)
def test_what_can_t_be_reported_is_refused(
    lived: Home, args: tuple[str, ...], message: str
) -> None:
    ended = lived.invoke(*args)
    assert ended.status == 2, ended.stdout
    assert message in ended.stderr + ended.stdout


def test_without_an_archive_nothing_is_made(redis_url: str, tmp_path: Path) -> None:
    home = new_home(tmp_path, redis_url, "http://127.0.0.1:9")
    ended = home.invoke(*USAGE)
    assert ended.status == 2
    assert "nothing was archived yet" in ended.stderr
    assert list(tmp_path.rglob("archive.db*")) == []


def test_the_commands_of_the_page_run(lived: Home) -> None:
    commands = [line for block in blocks("docs/reports.md", "sh") for line in block.splitlines()]
    assert len(commands) == 7
    for command in commands:
        name, *args = shlex.split(command)
        assert name == "creditgate"
        ended = lived.invoke(*args)
        # The account was opened after the instants of past balances on the page.
        expected = (2, "was opened later") if "--at" in args else (0, "")
        assert ended.status == expected[0], (command, ended.stderr)
        assert expected[1] in ended.stderr
