"""The demo: everything in one command, and nothing left behind."""

from __future__ import annotations

import shutil
import signal
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.harness.command_line import Home, end, wait_until

pytestmark = [
    pytest.mark.usefixtures("redis_server_program"),
    pytest.mark.skipif(
        not Path("/proc/self/cmdline").exists(), reason="no /proc to find processes"
    ),
]


@pytest.fixture
def scratch() -> Iterator[Path]:
    """A temporary folder with a name that is short enough for sockets."""
    folder = Path(tempfile.mkdtemp(prefix="cg-e2e-"))
    yield folder
    shutil.rmtree(folder)


def processes_of(scratch: Path) -> list[int]:
    """Return the processes that were told of this folder."""
    mark = str(scratch).encode()
    found = []
    for folder in Path("/proc").glob("[0-9]*"):
        try:
            if mark in (folder / "cmdline").read_bytes() + (folder / "environ").read_bytes():
                found.append(int(folder.name))
        except OSError:
            continue
    return found


@pytest.fixture
def home(tmp_path: Path) -> Home:
    """An empty folder: the demo needs no config."""
    return Home(tmp_path, "")


@pytest.mark.long
def test_the_demo_runs_shows_its_books_and_leaves_nothing_behind(home: Home, scratch: Path) -> None:
    ended = home.run("demo", "--limit", "40", "--latency-ms", "5", "--json", TMPDIR=str(scratch))
    assert ended.status == 0, ended.stderr
    found = ended.json
    assert (found["people"], found["model"]) == (40, 40)
    assert found["balance"]["granted_mc"] == 100_000_000
    assert found["balance"]["conserved"] is True
    assert found["audit"]["balances"] is True
    assert found["audit"]["entries"] >= 43, "40 settlements, the account, its grant, a name"
    assert found["balance"]["charged_mc"] == found["charged_mc"] > 0
    assert set(found["samples"][0]["values"]) == {"intent", "urgency", "reply"}
    assert processes_of(scratch) == []
    assert list(scratch.iterdir()) == []
    assert list(home.folder.iterdir()) == []


@pytest.mark.long
def test_ctrl_c_ends_the_demo_and_its_processes_and_what_was_kept_can_be_looked_at(
    home: Home, scratch: Path
) -> None:
    demo = home.start("demo", "--latency-ms", "60", "--keep", TMPDIR=str(scratch))
    wait_until(lambda: any(path.stat().st_size for path in scratch.glob("*/results.jsonl")))
    assert len(processes_of(scratch)) >= 3, "the demo, its Redis, its mock provider"
    demo.send_signal(signal.SIGINT)
    ended = end(demo)
    assert ended.status == 130
    assert "The books balance" in ended.stdout
    assert "Traceback" not in ended.stderr
    assert processes_of(scratch) == []

    [command] = [line for line in ended.stderr.splitlines() if "creditgate balance" in line]
    shown = home.run(*command.split()[1:], "--json", TMPDIR=str(scratch)).json
    assert 0 < shown["charged_mc"] < shown["granted_mc"] == 100_000_000
    assert shown["reserved_mc"] == shown["open_reservations"] == 0
    assert processes_of(scratch) == []


@pytest.mark.parametrize("number", [signal.SIGTERM])
def test_a_demo_that_is_ended_while_it_starts_leaves_nothing_behind(
    home: Home, scratch: Path, number: signal.Signals
) -> None:
    demo = home.start("demo", TMPDIR=str(scratch))
    wait_until(lambda: len(processes_of(scratch)) >= 2)
    demo.send_signal(number)
    assert end(demo).status == 130
    assert processes_of(scratch) == []
    assert list(scratch.iterdir()) == []
