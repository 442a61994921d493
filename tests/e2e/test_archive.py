"""``creditgate archive``, as an operator has it."""

from __future__ import annotations

import signal
import sqlite3
from pathlib import Path

from runtime.config import load_config
from tests.harness.command_line import PATIENCE_S, Home


def database(home: Home) -> Path:
    return load_config(home.folder / "config.yaml").data_dir / "archive.db"


def rows(home: Home) -> int:
    with sqlite3.connect(database(home)) as connection:
        [(found,)] = connection.execute("SELECT count(*) FROM entries").fetchall()
    connection.close()
    return int(found)


def test_it_archives_and_says_what(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    before = home.invoke("archive", "--status")
    assert "Behind by 2 entries; the oldest waits for" in before.stdout
    assert before.status == 0

    done = home.invoke("archive")

    assert done.stdout.splitlines() == [
        "Archived 2 entries of 1 account.",
        "Nothing waits to be archived.",
    ]
    assert (done.status, rows(home)) == (0, 2)
    assert home.invoke("archive", "--status").stdout == "Nothing waits to be archived.\n"


def test_json_has_the_lag_by_account_and_in_all(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    status = home.invoke("archive", "--status", "--json").json
    [account] = status["lag"]["accounts"]
    assert (account["account_id"], account["entries"]) == ("acme", 2)
    assert 0 <= account["seconds"] == status["lag"]["seconds"] < PATIENCE_S
    assert (status["lag"]["entries"], status["forked"], status["fault"]) == (2, [], None)
    assert home.invoke("archive", "--json").json == {
        "accounts": 1,
        "entries": 2,
        "left": [],
        "lag": {"entries": 0, "seconds": 0.0, "accounts": []},
    }


def test_an_archive_that_cannot_be_reached_is_an_error_and_the_lag_is_told_all_the_same(
    home: Home,
) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    config = home.folder / "config.yaml"
    away = config.read_text().replace("url: sqlite\n", "url: postgresql://127.0.0.1:9/none\n")
    config.write_text(away)
    refused = home.invoke("archive")
    assert refused.status == 2
    assert "postgresql://127.0.0.1:9/none can't be opened" in refused.stderr
    status = home.invoke("archive", "--status", "--json")
    assert status.status == 2
    assert status.json["lag"]["entries"] == 2
    assert "127.0.0.1:9" in status.json["fault"]


def test_status_and_every_are_not_used_together(home: Home) -> None:
    refused = home.invoke("archive", "--status", "--every", "5")
    assert refused.status == 2
    assert "can't be used together" in refused.stderr


def test_every_archives_again_and_again_until_it_is_stopped(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    process = home.start("archive", "--every", "1")
    assert process.stdout is not None
    try:
        assert process.stdout.readline() == "Archived 2 entries of 1 account.\n"
        home.open_account("beta", amount_mc=1_000_000)
        assert process.stdout.readline() == "Archived 2 entries of 1 account.\n"
        process.send_signal(signal.SIGTERM)
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    finally:
        process.kill()
    assert (process.returncode, stdout, stderr) == (130, "", "Stopped.\n")
    assert rows(home) == 4


def test_many_at_once_make_one_archive(home: Home) -> None:
    home.open_account("acme", amount_mc=1_000_000)
    processes = [home.start("archive", "--json") for _ in range(3)]
    ended = [process.communicate(timeout=PATIENCE_S) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], ended
    assert rows(home) == 2
