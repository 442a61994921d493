"""The pages' workers for people with workers of their own, each run as it stands there."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tests.harness.command_line import PROCESS_ENV, Home, wait_until
from tests.harness.lean_home import lean_home, request_lines
from tests.harness.paths import ROOT
from tests.harness.servers import OLDEST, Server, free_ports, program

PATIENCE_S = 110.0
RAY_PEOPLE = 10_000
RAY_STARTS_WITHIN_S = 150.0


@pytest.fixture
def home(tmp_path: Path, redis_url: str, mock_url: str) -> Home:
    """A home whose account can pay for everybody."""
    home = lean_home(tmp_path, redis_url, mock_url)
    home.open_account("acme", amount_mc=10**12)
    return home


def save(home: Home, page: str, *names: str, **changes: str) -> None:
    """Save programs of a page under the names that their first lines have."""
    text = (ROOT / "docs" / page).read_text("utf-8")
    for name in names:
        [source] = re.findall(
            rf"^```python\n(# {re.escape(name)}\n.*?)^```", text, re.MULTILINE | re.DOTALL
        )
        for old, new in changes.items():
            source = source.replace(ADDRESSES[old], new)
        home.write(name, source)


ADDRESSES = {"broker": "redis://127.0.0.1:6379"}


def start(home: Home, *command: str, stdin: Any = None, **env: str) -> subprocess.Popen[str]:
    """Start a program of the home, as a leader of its own processes."""
    return subprocess.Popen(
        [sys.executable, *command],
        cwd=home.folder,
        env={**os.environ, **PROCESS_ENV, **env},
        stdin=stdin or subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        encoding="utf-8",
        start_new_session=True,
    )


@contextmanager
def ended_at_last(process: subprocess.Popen[str]) -> Iterator[subprocess.Popen[str]]:
    """End a program, and what it started, however the test ends."""
    try:
        yield process
    finally:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate()


def run(home: Home, *command: str, stdin: str | None = None, **env: str) -> list[dict[str, Any]]:
    """Run a program to its end; return the lines that it printed."""
    with ended_at_last(start(home, *command, stdin=subprocess.PIPE, **env)) as process:
        stdout, stderr = process.communicate(stdin, timeout=PATIENCE_S)
    assert process.returncode == 0, stderr[-3000:]
    return [json.loads(line) for line in stdout.splitlines()]


def assert_once(home: Home, answers: Sequence[dict[str, Any]], people: int) -> None:
    """Assert that everybody has one answer, which was charged once."""
    assert len(answers) == len({answer["person_id"] for answer in answers}) == people
    balance = home.balance("acme")
    assert balance.conserved
    assert balance.reserved_mc == balance.open_reservations == 0
    assert balance.charged_mc == sum(answer["charged_mc"] for answer in answers) > 0


def test_the_plain_worker_answers_once_though_killed_and_started_again(home: Home) -> None:
    save(home, "own-workers.md", "worker.py")
    lines = request_lines(60)
    calls = home.calls()
    with ended_at_last(start(home, "worker.py", stdin=subprocess.PIPE)) as killed:
        assert killed.stdin is not None
        assert killed.stdout is not None
        killed.stdin.write(lines[: lines.index("\n") + 1])
        killed.stdin.flush()
        first = json.loads(killed.stdout.readline())
    answers = run(home, "worker.py", stdin="no request\n" + lines)
    assert_once(home, answers, 60)
    assert first in answers
    assert home.calls() == calls + 60
    assert set(answers[0]["attributes"]["journey"]) == {"urgency", "reply"}


@pytest.mark.long
def test_the_plain_worker_ends_what_it_took_when_it_is_told_to_stop(home: Home) -> None:
    save(home, "own-workers.md", "worker.py")
    with ended_at_last(start(home, "worker.py", stdin=subprocess.PIPE)) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(request_lines(40))
        process.stdin.flush()
        answers = [json.loads(process.stdout.readline())]
        process.send_signal(signal.SIGTERM)
        # Like a consumer, it waits for the next message; what comes now is delivered again later.
        stdout, stderr = process.communicate(request_lines(1), timeout=PATIENCE_S)
    assert process.returncode == 0, stderr
    answers += [json.loads(line) for line in stdout.splitlines()]
    assert_once(home, answers, len(answers))


@pytest.mark.long
def test_the_http_client_answers_everybody_once_and_again_for_free(home: Home) -> None:
    save(home, "own-workers.md", "client.py")
    key = home.invoke("keys", "create", "--name", "worker", "--scope", "execute", "--json")
    assert key.status == 0, key.stderr
    with ended_at_last(
        start(home, "-m", "runtime.cli", "serve", "--port", "0", "--json")
    ) as service:
        assert service.stdout is not None
        url = json.loads(service.stdout.readline())["url"]
        env = {"CREDITGATE_URL": url, "CREDITGATE_KEY": key.json["secret"]}
        lines = request_lines(80)
        answers = run(home, "client.py", stdin=lines, **env)
        assert_once(home, answers, 80)
        again = run(home, "client.py", stdin=lines, **env)
        assert_once(home, again, 80)


@pytest.mark.long
def test_celery_answers_everybody_once_though_a_process_is_killed(
    home: Home, tmp_path: Path
) -> None:
    people = 640
    broker = Server(program(OLDEST), tmp_path / "broker", port=free_ports(1)[0])
    broker.start()
    worker = None
    try:
        save(home, "own-workers.md", "campaign_tasks.py", "send.py", broker=broker.url)
        command = ("-m", "celery", "-A", "campaign_tasks", "worker", "--concurrency", "2")
        with ended_at_last(start(home, *command, "--loglevel", "WARNING")) as worker:
            sender = start(home, "send.py", stdin=subprocess.PIPE)
            with ended_at_last(sender):
                assert sender.stdin is not None
                sender.stdin.write(request_lines(people))
                sender.stdin.close()
                sender.stdin = None
                calls = home.calls()
                wait_until(lambda: home.calls() > calls + 40)
                os.kill(_children_of(worker.pid)[-1], signal.SIGKILL)
                stdout, stderr = sender.communicate(timeout=PATIENCE_S)
            assert sender.returncode == 0, stderr[-3000:]
        assert_once(home, [json.loads(line) for line in stdout.splitlines()], people)
    finally:
        broker.stop()


@pytest.mark.long
@pytest.mark.timeout(300)
def test_ray_answers_10000_people_once_though_an_actor_is_killed(home: Home) -> None:
    save(home, "ray.md", "ray_campaign.py")
    people = "".join(
        json.dumps({"person_id": f"p{number:05}", "message": f"Where is my card {number}?"}) + "\n"
        for number in range(RAY_PEOPLE)
    )
    home.write("people.jsonl", people)
    calls = home.calls()
    # Paths of Unix sockets are short, and Ray's are long beneath its folder.
    folder = tempfile.mkdtemp(prefix="r", dir="/tmp")
    env = {
        "RAY_TMPDIR": folder,
        "RAY_USAGE_STATS_ENABLED": "0",
        "RAY_DATA_DISABLE_PROGRESS_BARS": "1",
    }
    command = ("ray_campaign.py", "people.jsonl", "results", "acme", "autumn", "route_message")
    try:
        with ended_at_last(start(home, *command, **env)) as process:
            give_up_s = time.monotonic() + RAY_STARTS_WITHIN_S
            while home.calls() < calls + 2_000 and process.poll() is None:
                assert time.monotonic() < give_up_s, "Ray's actors never came to 2,000 calls"
                time.sleep(0.1)
            assert process.poll() is None, process.communicate()[1][-3000:]
            actor = _actors(process.pid)[0]
            os.kill(actor, signal.SIGKILL)
            _, stderr = process.communicate(timeout=250)
            assert process.returncode == 0, stderr[-3000:]
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    answers = [
        json.loads(json.loads(line)["answer"])
        for file in sorted((home.folder / "results").iterdir())
        for line in file.read_text("utf-8").splitlines()
    ]
    assert_once(home, answers, RAY_PEOPLE)
    assert {answer["status"] for answer in answers} == {"model"}


def _processes() -> Iterator[tuple[int, int, str]]:
    """Yield id, parent and command of every process."""
    for folder in Path("/proc").iterdir():
        with suppress(OSError, ValueError):
            parent = (folder / "stat").read_text("utf-8").rpartition(")")[2].split()[1]
            yield int(folder.name), int(parent), (folder / "cmdline").read_text("utf-8")


def _children_of(pid: int) -> list[int]:
    return sorted(child for child, parent, _ in _processes() if parent == pid)


def _actors(root: int) -> list[int]:
    """Return the processes of a run on Ray that hold a runtime."""
    found = {pid: (parent, command) for pid, parent, command in _processes()}

    def is_ours(pid: int) -> bool:
        while pid in found and pid != root:
            pid = found[pid][0]
        return pid == root

    return [
        pid
        for pid, (_, command) in found.items()
        if "Campaign" in command and command.startswith("ray::") and is_ours(pid)
    ]
