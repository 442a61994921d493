"""Every command on the page about the archive does what it is there for, on real servers."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from runtime.redis.embedded_binary import find_server
from tests.harness.command_line import PROCESS_ENV, end, new_home, wait_until
from tests.harness.pages import blocks, section
from tests.harness.postgres import QUICK, PostgresServer, PostgresUnavailable, refuse_or_skip
from tests.harness.servers import free_ports

PAGE = "docs/archive.md"
EXAMPLE_REDIS = "6379"
EXAMPLE_POSTGRES = "127.0.0.1:5432"


def commands(title: str) -> list[str]:
    """Return the lines that a section tells its reader to type."""
    typed = [line for block in section(PAGE, title, "console") for line in block.splitlines()]
    assert typed, title
    assert all(line.startswith("$ ") for line in typed)
    return [line.removeprefix("$ ") for line in typed]


class Reader:
    """Somebody who follows the page beside a ledger and a Redis of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = str(free_ports(1)[0])
        self.postgres = EXAMPLE_POSTGRES
        self.home = new_home(folder, f"redis://127.0.0.1:{self.port}", "http://127.0.0.1:9")
        [program] = [text for text in blocks(PAGE, "python") if "check_books" in text]
        self.home.write("check_books.py", program)
        self.redis: subprocess.Popen[bytes] | None = None

    def type(self, line: str) -> str:
        """Run a line as it stands on the page, on the reader's own ports; return its output."""
        line = re.sub(rf"\b{EXAMPLE_REDIS}\b", self.port, line)
        words = shlex.split(line.replace(EXAMPLE_POSTGRES, self.postgres))
        if words[0] == "creditgate":
            words[:1] = [sys.executable, "-m", "runtime.cli"]
        elif words[0] == "python":
            words[0] = sys.executable
        elif words[0] == "redis-server":
            words[0] = str(find_server().path)
        process = subprocess.Popen(
            words,
            cwd=self.folder,
            env={**os.environ, **PROCESS_ENV},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        ended = end(process)
        assert ended.status == 0, f"{line}\n{ended.stdout}{ended.stderr}"
        return ended.stdout

    def start_redis(self) -> None:
        """Start an empty server, with an append-only file in memory's place."""
        data = self.folder / "first-redis"
        data.mkdir(exist_ok=True)
        self.redis = subprocess.Popen(
            [find_server().path, "--port", self.port, "--dir", str(data), "--appendonly", "yes"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        self.wait_for_redis()

    def wait_for_redis(self) -> None:
        wait_until(self._answers)

    def stop_redis(self) -> None:
        """Stop whichever server is there."""
        if self._answers():
            with socket.create_connection(("127.0.0.1", int(self.port))) as connection:
                connection.sendall(b"SHUTDOWN NOSAVE\r\n")
                connection.recv(100)
        if self.redis is not None:
            self.redis.wait(20)
            self.redis = None
        wait_until(lambda: not self._answers())

    def _answers(self) -> bool:
        try:
            with socket.create_connection(("127.0.0.1", int(self.port)), timeout=5) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(100).startswith(b"+PONG")
        except OSError:
            return False

    def balance(self) -> dict[str, object]:
        found = json.loads(self.type("creditgate balance --account acme --json"))
        return {name: found[name] for name in found if name not in {"at", "at_ms"}}


@pytest.fixture
def reader(redis_server_program: None, tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path)
    reader.start_redis()
    reader.home.open_account("acme", amount_mc=5_000)
    reader.type("creditgate purchase --account acme --credits 100000 --reference invoice-7")
    reader.type("creditgate archive")
    yield reader
    reader.stop_redis()


def needs(program: str) -> None:
    """Skip where a program is missing, but never in CI."""
    if shutil.which(program) is None:
        refuse_or_skip(PostgresUnavailable(f"{program} is not installed"))


@pytest.mark.long
def test_an_archive_in_sqlite_is_backed_up_and_restored_as_the_page_says(reader: Reader) -> None:
    shown = [
        line for line in commands("Checking the books without creditgate") if "psql" not in line
    ]
    before = reader.type(shown[0])
    assert before.startswith("acme granted=100005000 available=100005000 ")
    typed = commands("The archive in SQLite")
    lost = typed.index(next(line for line in typed if line.startswith("rm ")))
    for line in typed[:lost]:
        reader.type(line)
    told = {line: reader.type(line) for line in typed[lost:]}
    assert told["python check_books.py creditgate-data/archive.db"] == before
    assert "purchase" in told["creditgate statement --account acme --limit 1"]
    assert (reader.folder / "backup/installation.key").read_bytes() == (
        reader.folder / "creditgate-data/installation.key"
    ).read_bytes()


@pytest.fixture
def postgres() -> Iterator[PostgresServer]:
    """A PostgreSQL of the test's own."""
    try:
        server = PostgresServer(QUICK)
        server.start()
    except PostgresUnavailable as error:
        refuse_or_skip(error)
        raise
    yield server
    server.stop()


@pytest.mark.long
def test_an_archive_in_postgresql_is_exported_backed_up_and_restored(
    reader: Reader, postgres: PostgresServer
) -> None:
    for program in ("psql", "pg_dump", "pg_restore", "createdb"):
        needs(program)
    postgres.sql("CREATE DATABASE creditgate")
    reader.postgres = f"127.0.0.1:{postgres.port}"
    config = (reader.folder / "config.yaml").read_text("utf-8")

    def archive_in(database: str) -> None:
        url = f"postgresql://{reader.postgres}/{database}"
        reader.home.write("config.yaml", re.sub(r"(?m)^  url: sqlite\b", f"  url: {url}", config))

    archive_in("creditgate")
    # What was archived in SQLite is trimmed in Redis: another account is for this one.
    reader.home.open_account("beta", amount_mc=7)
    reader.home.run("archive")
    (reader.folder / "backup").mkdir()
    export, check = commands("Checking the books without creditgate")[1:]
    reader.type(export)
    assert reader.type(check).startswith("beta granted=7 available=7 ")
    before = reader.type("creditgate statement --account beta --json")
    for line in commands("The archive in PostgreSQL"):
        reader.type(line)
    postgres.sql("DROP DATABASE creditgate")
    archive_in("creditgate_restored")
    assert reader.type("creditgate statement --account beta --json") == before


@pytest.mark.long
def test_a_snapshot_of_redis_is_restored_as_the_page_says(reader: Reader) -> None:
    needs("redis-cli")
    (reader.folder / "backup").mkdir()
    before = reader.balance()
    snapshot, *restore = commands("Redis")
    reader.type(snapshot)
    reader.stop_redis()
    for line in restore:
        reader.type(line)
        if line.startswith("redis-server"):
            reader.wait_for_redis()
    assert reader.balance() == before
    wait_until(lambda: b"acme" in _append_only(reader.folder / "redis-data"))
    reader.stop_redis()


def _append_only(data: Path) -> bytes:
    time.sleep(0.1)
    return b"".join(path.read_bytes() for path in data.rglob("*.aof*") if path.is_file())


@pytest.mark.long
def test_a_ledger_whose_redis_is_gone_is_rebuilt_as_the_page_says(reader: Reader) -> None:
    before = reader.balance()
    reader.stop_redis()
    shutil.rmtree(reader.folder / "first-redis")
    reader.start_redis()
    plan, rebuild, audit = commands("Redis is gone")
    assert "acme" in reader.type(plan)
    reader.type(rebuild)
    assert reader.type(audit)
    after = reader.balance()
    for name in ("granted_mc", "available_mc", "charged_mc", "plan", "timezone"):
        assert after[name] == before[name]
    # What comes after it continues what was archived before.
    reader.type("creditgate purchase --account acme --credits 100000 --reference invoice-8")
    reader.type("creditgate archive")
    lines = json.loads(reader.type("creditgate statement --account acme --json"))["lines"]
    assert lines[0]["left_mc"] == reader.balance()["available_mc"] == 200_005_000
    assert "repair" in {line["what"] for line in lines}
    checked = reader.type("python check_books.py creditgate-data/archive.db")
    assert checked.startswith("acme granted=200005000 available=200005000 ")


def test_no_command_of_the_page_is_left_out() -> None:
    run = ["Checking the books without creditgate", "The archive in SQLite"]
    run += ["The archive in PostgreSQL", "Redis", "Redis is gone"]
    all_of_them = [line for block in blocks(PAGE, "console") for line in block.splitlines()]
    assert [f"$ {line}" for title in run for line in commands(title)] == all_of_them
