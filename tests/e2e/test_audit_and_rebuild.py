"""Law 1a: what an operator runs after Redis lost data, and what it tells."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from redis import Redis

from runtime.config import load_config
from tests.harness.command_line import PROCESS_ENV, Home

WHO = ("--reason", "redis-1 lost its disk", "--actor", "ann@example.com")


def lose(home: Home) -> None:
    """Remove all that Redis has under the home's prefix."""
    config = load_config(home.folder / "config.yaml")
    with Redis.from_url(config.redis.url) as redis:
        redis.delete(*redis.scan_iter(f"{config.redis.key_prefix}:*", count=1_000))


@pytest.fixture
def spent(home: Home) -> Home:
    """A home in which a campaign ran, and its account is archived."""
    home.open_account("acme", amount_mc=1_000_000)
    home.open_account("beta", amount_mc=5_000)
    people = home.people(3)
    run = ("run", "--account", "acme", "--campaign", "c1", "--action", "route_message")
    ended = home.invoke(*run, "--people", people, "--out", "results.jsonl", "--yes")
    assert ended.status == 0, ended.stderr
    assert home.invoke("archive").status == 0
    return home


def test_law_1a_after_a_loss_a_start_is_refused_and_one_command_makes_the_ledger_again(
    spent: Home,
) -> None:
    before = {name: spent.balance(name) for name in ("acme", "beta")}
    audited = spent.invoke("audit", "--json")
    assert audited.status == 0, audited.stdout
    assert audited.json["balances"] is True
    assert (audited.json["accounts"], audited.json["told_files"]) == (2, 1)
    lose(spent)

    refused = spent.invoke("balance", "--account", "acme")
    assert refused.status == 2
    assert "creditgate rebuild --all" in refused.stderr
    missing = spent.invoke("audit", "--json")
    assert missing.status == 1
    assert {one["account_id"] for one in missing.json["differences"]} == {"acme", "beta"}
    [lost] = missing.json["lost"]
    assert (lost["account_id"], lost["first_seq"]) == ("acme", 1)
    assert "creditgate rebuild --all" in spent.invoke("balance", "--account", "acme").stderr, (
        "neither stored anything"
    )

    would = spent.invoke("rebuild", "--all", "--dry-run", *WHO)
    assert would.status == 0, would.stderr
    assert "would be restored up to entry" in would.stdout
    done = spent.invoke("rebuild", "--all", *WHO, "--json")
    assert done.status == 0, done.stderr
    assert [one["account_id"] for one in done.json["rebuilt"]] == ["acme", "beta"]
    assert done.json["rebuilt"][0]["outcomes"] == 3
    for name, balance in before.items():
        found = spent.balance(name)
        assert (found.available_mc, found.charged_mc) == (balance.available_mc, balance.charged_mc)
    audited = spent.invoke("audit")
    assert audited.status == 0, audited.stdout
    assert "The books balance: 2 accounts" in audited.stdout
    again = spent.invoke("rebuild", "--all", *WHO)
    assert again.stdout == "2 accounts are in Redis, and not touched.\n"


def test_law_1a_one_account_that_redis_lost_is_told_by_the_archiver_too(spent: Home) -> None:
    config = load_config(spent.folder / "config.yaml")
    with Redis.from_url(config.redis.url) as redis:
        redis.delete(*redis.scan_iter(f"{config.redis.key_prefix}:*:beta:*"))
        [bucket] = [
            key
            for key in redis.scan_iter(f"{config.redis.key_prefix}:*:accounts")
            if redis.sismember(key, "beta")
        ]
        redis.srem(bucket, "beta")
    ended = spent.invoke("archive")
    assert ended.status == 2
    assert "beta: Redis has no such account: creditgate rebuild --account beta" in ended.stdout
    assert spent.invoke("rebuild", "--account", "beta", *WHO).status == 0
    assert spent.invoke("archive").status == 0
    assert spent.invoke("audit").status == 0


def test_law_3c_people_who_were_answered_before_the_loss_are_not_charged_again(
    spent: Home,
) -> None:
    lose(spent)
    assert spent.invoke("rebuild", "--all", *WHO).status == 0
    charged, calls = spent.balance("acme").charged_mc, spent.calls()
    run = ("run", "--account", "acme", "--campaign", "c1", "--action", "route_message")
    ended = spent.invoke(*run, "--people", "people.csv", "--out", "again.jsonl", "--yes")
    assert ended.status == 0, ended.stderr
    assert (spent.balance("acme").charged_mc, spent.calls()) == (charged, calls)
    origins = [line["origins"] for line in spent.results("again.jsonl").values()]
    assert len(origins) == 3
    assert all("outcome_lost" in json.dumps(origin) for origin in origins)


def test_law_2c_a_fork_is_shown_resolved_and_gone(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000)
    config = load_config(home.folder / "config.yaml")
    with Redis.from_url(config.redis.url) as redis:
        names = list(redis.scan_iter(f"{config.redis.key_prefix}:*", count=1_000))
        old = {name: redis.dump(name) for name in names}
        bought = ("purchase", "--account", "acme", "--credits", "100000")
        assert home.invoke(*bought, "--reference", "invoice 1").status == 0
        assert home.invoke("archive").status == 0
        lose(home)
        for name, value in old.items():
            redis.restore(name, 0, value)
    told = home.invoke("audit")
    assert told.status == 1
    assert "creditgate repair fork --account acme" in told.stdout
    repair = ("repair", "fork", "--account", "acme", *WHO)
    would = home.invoke(*repair, "--dry-run")
    assert would.status == 0, would.stderr
    assert "agree up to entry 2; 1 archived entries after it were lost" in would.stdout
    assert home.balance("acme").granted_mc == 1_000
    done = home.invoke(*repair, "--json")
    assert done.status == 0, done.stderr
    assert (done.json["common_seq"], done.json["lost"], done.json["grants"]) == (2, 1, 1)
    assert home.balance("acme").granted_mc == 100_001_000
    assert home.invoke("archive").status == 0
    assert home.invoke("audit").status == 0
    again = home.invoke(*repair)
    assert again.stdout == "Ledger and archive of account acme agree; nothing was changed.\n"


def test_an_audit_finds_what_was_changed_behind_the_ledger_and_exits_with_1(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000)
    config = load_config(home.folder / "config.yaml")
    with Redis.from_url(config.redis.url) as redis:
        [journal] = redis.scan_iter(f"{config.redis.key_prefix}:*:acme:journal")
        [(_, entry)] = redis.xrange(journal, "0-2", "0-2")
        redis.xdel(journal, "0-2")
        assert entry
    ended = home.invoke("audit", "--account", "acme")
    assert ended.status == 1
    assert "Account acme, entry 2:" in ended.stdout
    assert "The books do not balance" in ended.stdout


def test_bad_input_is_refused_with_2_and_changes_nothing(home: Home, tmp_path: Path) -> None:
    for args in (
        ("audit", "--account", "nobody"),
        ("audit", "--account", "no/body"),
        ("audit", "--told", str(tmp_path / "missing")),
        ("rebuild", *WHO),
        ("rebuild", "--account", "acme", "--all", *WHO),
        ("rebuild", "--account", "nobody", *WHO),
        ("rebuild", "--account", "no/body", *WHO),
        ("rebuild", "--account", "nobody", "--reason", "", "--actor", "ann"),
        ("repair", "fork", "--account", "nobody", *WHO),
        ("repair", "fork", "--account", "no/body", *WHO),
    ):
        ended = home.invoke(*args)
        assert ended.status == 2, (args, ended)
        assert ended.stderr.startswith(("Error: ", "Usage: ")), ended.stderr


KILLED_AT = """
import os, signal, sys
from runtime.credits.script_client import ScriptClient

left = int(sys.argv.pop(1))

def counted(ask):
    async def asked(*args):
        global left
        left -= 1
        if left == 0:
            os.kill(os.getpid(), signal.SIGKILL)
        answer = await ask(*args)
        return answer
    return asked

ScriptClient.ask = counted(ScriptClient.ask)
ScriptClient.ask_all = counted(ScriptClient.ask_all)
from runtime.cli import main
main()
"""


@pytest.mark.long
def test_law_1a_a_rebuild_that_is_killed_anywhere_can_be_repeated(spent: Home) -> None:
    before = spent.balance("acme")
    lose(spent)
    args = ("rebuild", "--account", "acme", *WHO)
    statuses = []
    # After begin, references, dimensions and outcomes, before the account, and not at all.
    for calls in (2, 3, 4, 5, 100):
        ended = subprocess.run(
            [sys.executable, "-c", KILLED_AT, str(calls), *args],
            cwd=spent.folder,
            env={**os.environ, **PROCESS_ENV},
            capture_output=True,
            check=False,
        )
        statuses.append(ended.returncode)
        if ended.returncode == -signal.SIGKILL:
            assert spent.invoke("audit", "--account", "acme").status == 1, "not there yet"
    assert statuses == [-signal.SIGKILL] * 4 + [0]
    assert spent.invoke("audit", "--account", "acme").status == 0
    assert spent.invoke("rebuild", "--all", *WHO).status == 0
    assert spent.balance("acme").charged_mc == before.charged_mc
