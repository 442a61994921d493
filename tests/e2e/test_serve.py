"""``creditgate serve`` as a real process: its address, its logs, its signals and its end."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from runtime.api_keys.keys import Scope
from runtime.api_keys.stored import StoredKeys
from runtime.archive.opening import open_archive
from runtime.config import load_config
from runtime.credits.installation_key import identity_of
from runtime.store.reopening import Store
from tests.harness.command_line import PATIENCE_S, PROCESS_ENV, Home, new_home, wait_until

ACCOUNT = "acme"
SECRET = "Where is my card, said the very private customer?"


class Serving:
    """A service that runs, its address, and a key of the account's."""

    def __init__(self, home: Home, process: subprocess.Popen[str], url: str, key: str) -> None:
        self.home, self.process, self.url, self.key = home, process, url, key

    @property
    def logs(self) -> list[dict[str, Any]]:
        lines = (self.home.folder / "errors.txt").read_text("utf-8").splitlines()
        return [json.loads(line) for line in lines]

    def ready(self) -> int:
        """The status of /readyz; 0 where nobody listens any more."""
        try:
            return httpx.get(f"{self.url}/readyz", trust_env=False).status_code
        except httpx.TransportError:
            return 0

    def execute(self, answers: list[httpx.Response]) -> threading.Thread:
        """Ask for an execution from a thread, which adds the answer."""

        def ask() -> None:
            answer = httpx.post(
                f"{self.url}/v1/executions",
                headers={"Authorization": f"Bearer {self.key}"},
                json={
                    "execution_id": "jane-doe:route:1",
                    "workspace_id": "retail",
                    "campaign_id": "welcome",
                    "person_id": "jane-doe",
                    "action": "route_message",
                    "data": {"customer": {"message": SECRET}},
                },
                timeout=PATIENCE_S,
                trust_env=False,
            )
            answers.append(answer)

        before = self.home.calls()
        thread = threading.Thread(target=ask, daemon=True)
        thread.start()
        wait_until(lambda: self.home.calls() > before)
        return thread


def make_key(home: Home) -> str:
    config = load_config(home.folder / "config.yaml")
    key_check = identity_of(config).check_value()

    async def make() -> str:
        store = Store(lambda: open_archive(config, key_check))
        try:
            _, text = await StoredKeys(store).make(
                account_id=ACCOUNT, name="test", scopes=[Scope.EXECUTE], created_by="test"
            )
        finally:
            await store.aclose()
        return text

    return asyncio.run(make())


@contextmanager
def serving(home: Home) -> Iterator[Serving]:
    """Serve on a free port, in a session of its own: without a controlling terminal."""
    home.open_account(ACCOUNT, amount_mc=1_000_000_000)
    key = make_key(home)
    with (home.folder / "errors.txt").open("wb") as stderr:
        process = subprocess.Popen(
            [sys.executable, "-m", "runtime.cli", "serve", "--port", "0", "--json"],
            cwd=home.folder,
            env={**os.environ, **PROCESS_ENV},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
            start_new_session=True,
        )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert line, (home.folder / "errors.txt").read_text("utf-8")
        yield Serving(home, process, json.loads(line)["url"], key)
    finally:
        process.kill()
        process.wait(PATIENCE_S)
        process.stdout.close()


@pytest.mark.long
def test_the_first_signal_lets_the_running_request_have_its_answer(
    tmp_path: Path, redis_url: str, mock_url: str
) -> None:
    home = new_home(tmp_path, redis_url, mock_url, "delay_ms=3000")
    answers: list[httpx.Response] = []
    with serving(home) as served:
        assert served.ready() == 200
        thread = served.execute(answers)
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: served.ready() == 503)
        wait_until(lambda: served.ready() == 0)
        assert not answers, "no more connections are taken before the last answer"
        thread.join(PATIENCE_S)
        [answer] = answers
        assert (answer.status_code, answer.json()["status"]) == (200, "model")
        assert served.process.wait(PATIENCE_S) == 0
        balance = home.balance(ACCOUNT)
        assert (balance.reserved_mc, balance.charged_mc) == (0, answer.json()["charged_mc"])

        assert [line["event"] for line in served.logs if line["logger"] == "creditgate.serve"] == [
            "listening",
            "ending: answering what runs; a second signal ends it at once",
            "ended",
        ]
        [line] = [line for line in served.logs if line.get("route") == "/v1/executions"]
        assert (line["event"], line["method"], line["status"]) == ("request", "POST", 200)
        assert line["request_id"] == answer.headers["x-request-id"]
        assert line["key_id"] in served.key
        assert line["duration_ms"] >= 2_000
        assert len(line["execution_key"]) == 22
        logged = (home.folder / "errors.txt").read_text("utf-8")
        for private in ("jane-doe", SECRET, served.key, str(answer.json()["values"]["reply"])):
            assert private not in logged


@pytest.mark.long
def test_a_second_signal_ends_it_at_once_and_nothing_stays_reserved(
    tmp_path: Path, redis_url: str, mock_url: str
) -> None:
    home = new_home(tmp_path, redis_url, mock_url, "delay_ms=25000")
    with serving(home) as served:
        served.execute([])
        assert home.balance(ACCOUNT).reserved_mc > 0
        served.process.send_signal(signal.SIGTERM)
        wait_until(lambda: served.ready() == 503)
        served.process.send_signal(signal.SIGTERM)
        assert served.process.wait(15) == 130, "long before the model answers"
    balance = home.balance(ACCOUNT)
    assert (balance.reserved_mc, balance.charged_mc) == (0, 0)


@pytest.mark.long
def test_hangup_reads_the_config_again(home: Home) -> None:
    with serving(home) as served:
        config = home.folder / "config.yaml"
        text = config.read_text("utf-8").replace("version: 2026-01", "version: edited")
        config.write_text(text, "utf-8")
        served.process.send_signal(signal.SIGHUP)
        wait_until(lambda: any("was read again" in line["event"] for line in served.logs))
        answers: list[httpx.Response] = []
        served.execute(answers).join(PATIENCE_S)
        assert answers[0].json()["rate_card_version"] == "edited"


def test_the_embedded_server_is_refused_without_the_demo(home: Home) -> None:
    config = home.folder / "config.yaml"
    text = config.read_text("utf-8")
    redis = next(line for line in text.splitlines() if line.startswith("  url: "))
    config.write_text(text.replace(redis, "  url: embedded"), "utf-8")
    ended = home.invoke("serve")
    assert ended.status == 2
    assert "redis.url is embedded" in ended.stderr
    assert "--demo" in ended.stderr


def test_an_address_in_use_is_told(home: Home) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        ended = home.invoke("serve", "--port", str(port), "--json")
    assert ended.status == 2
    assert f"can't listen on 127.0.0.1:{port}: Address already in use" in ended.stderr
    assert "can't listen" in ended.json["error"]["message"]


def test_the_demo_takes_no_config(home: Home) -> None:
    ended = home.invoke("serve", "--demo", "--config", "config.yaml")
    assert ended.status == 2
    assert "--demo brings its own config" in ended.stderr


@pytest.mark.long
def test_the_demo_serves_two_accounts_and_leaves_nothing_behind(
    redis_server_program: None, tmp_path: Path
) -> None:
    process = subprocess.Popen(
        [sys.executable, "-m", "runtime.cli", "serve", "--demo", "--port", "0", "--json"],
        cwd=tmp_path,
        env={**os.environ, **PROCESS_ENV, "TMPDIR": str(tmp_path)},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    assert process.stdout is not None
    try:
        access = json.loads(process.stdout.readline())
        assert list(tmp_path.glob("creditgate-serve-*"))
        headers = {"Authorization": f"Bearer {access['operator_key']}"}
        with httpx.Client(base_url=access["url"], headers=headers, trust_env=False) as operator:
            left = {
                account_id: operator.get(f"/v1/accounts/{account_id}/balance").json()
                for account_id in (access["account_id"], access["low_account_id"])
            }
            assert left["acme"]["available_mc"] > 99_000_000
            low = left["corner-shop"]
            assert 0 < low["available_mc"] < low["granted_mc"] / 5
            assert operator.get("/docs").status_code == 200
        process.send_signal(signal.SIGINT)
        _, stderr = process.communicate(timeout=PATIENCE_S)
        assert process.returncode == 0, stderr
        assert not list(tmp_path.iterdir())
        assert access["operator_key"] not in stderr
    finally:
        process.kill()
        process.communicate()
