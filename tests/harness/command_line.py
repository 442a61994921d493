"""The command line as real processes, each in a home of its own."""

from __future__ import annotations

import asyncio
import contextlib
import http.client
import json
import os
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from pricing.offers import GrantKind
from runtime.cli import cli
from runtime.config import load_config
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Balance
from runtime.ledger_opening import open_ledger
from tests.harness.paths import ROOT

PATIENCE_S = 60.0


PROCESS_ENV = {"PYTHONPATH": str(ROOT)}


if sys.dont_write_bytecode:
    # Without it LiteLLM would be compiled by every process that a test starts.
    PROCESS_ENV |= {
        "PYTHONDONTWRITEBYTECODE": "",
        "PYTHONPYCACHEPREFIX": str(Path(tempfile.gettempdir()) / f"creditgate-pyc-{os.getuid()}"),
    }


@dataclass(frozen=True)
class Ended:
    """A command that has come to its end."""

    status: int
    stdout: str
    stderr: str

    @property
    def json(self) -> Any:
        return json.loads(self.stdout)


class Home:
    """A folder with a config, in which commands are run, and what their ledger holds."""

    def __init__(self, folder: Path, mock_url: str) -> None:
        self.folder = folder
        self.mock_url = mock_url

    def start(self, *args: str, **env: str) -> subprocess.Popen[str]:
        """Start a command."""
        return subprocess.Popen(
            [sys.executable, "-m", "runtime.cli", *args],
            cwd=self.folder,
            env={**os.environ, **PROCESS_ENV, **env},
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            encoding="utf-8",
        )

    def run(self, *args: str, **env: str) -> Ended:
        """Run a command to its end."""
        return end(self.start(*args, **env))

    def invoke(self, *args: str) -> Ended:
        """Run a command in this process: where a process of its own would only take time."""
        with contextlib.chdir(self.folder):
            ended = CliRunner().invoke(cli, args, prog_name="creditgate")
        return Ended(ended.exit_code, ended.stdout, ended.stderr)

    def write(self, name: str, content: str | bytes) -> str:
        """Write a file into the folder; return its name."""
        data = content.encode() if isinstance(content, str) else content
        (self.folder / name).write_bytes(data)
        return name

    def people(self, count: int, name: str = "people.csv") -> str:
        """Write a people file of so many messages, like no other test's; return its name."""
        mark = uuid.uuid4().hex
        rows = [f'p{i:04},"Where is my card, {mark} {i}?"' for i in range(count)]
        return self.write(name, "\n".join(["person_id,message", *rows]))

    def results(self, name: str = "results.jsonl") -> dict[str, dict[str, Any]]:
        """Return the lines of a results file by person."""
        lines = (self.folder / name).read_text("utf-8").splitlines()
        found = [json.loads(line) for line in lines]
        return {line["person_id"]: line for line in found}

    def open_account(self, account_id: str, *, amount_mc: int = 0, plan: str = "growth") -> None:
        """Open an account and give it this much."""

        async def ask(ledger: CreditLedger) -> None:
            await ledger.accounts.open_account(account_id, plan=plan)
            if amount_mc:
                await ledger.accounts.grant(
                    account_id,
                    amount_mc=amount_mc,
                    kind=GrantKind.ADJUSTMENT,
                    reference="test",
                )

        self._ask(ask)

    def balance(self, account_id: str) -> Balance:
        """Return an account's balance."""
        [found] = self.balances(account_id)
        return found

    def balances(self, *account_ids: str) -> list[Balance]:
        """Return the balances of some accounts."""

        async def ask(ledger: CreditLedger) -> list[Balance]:
            return [await ledger.accounts.balance(account_id) for account_id in account_ids]

        found: list[Balance] = self._ask(ask)
        return found

    def calls(self) -> int:
        """Return how many requests the mock provider has had so far."""
        address = self.mock_url.removeprefix("http://")
        with contextlib.closing(http.client.HTTPConnection(address)) as connection:
            connection.request("GET", "/stats")
            return int(json.load(connection.getresponse())["requests"])

    def _ask(self, ask: Callable[[CreditLedger], Any]) -> Any:
        async def run() -> Any:
            async with self._ledger() as ledger:
                return await ask(ledger)

        return asyncio.run(run())

    @asynccontextmanager
    async def _ledger(self) -> AsyncIterator[CreditLedger]:
        async with open_ledger(load_config(self.folder / "config.yaml")) as ledger:
            yield ledger


def end(process: subprocess.Popen[str]) -> Ended:
    """Wait until a command has come to its end."""
    try:
        stdout, stderr = process.communicate(timeout=PATIENCE_S)
    except subprocess.TimeoutExpired:
        process.kill()
        stdout, stderr = process.communicate()
        pytest.fail(f"it did not end; stderr: {stderr[-2000:]}")
    return Ended(process.returncode, stdout, stderr)


def wait_until(true: Callable[[], bool]) -> None:
    """Wait until something is so."""
    give_up_s = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < give_up_s, "it never came to that"
        time.sleep(0.02)


def new_home(folder: Path, redis_url: str, mock_url: str, scenario: str = "") -> Home:
    """Return a home with the example config, but for its offers, on the session's servers.

    ``scenario`` is what happens to each request that the mock provider gets from it.
    """
    config = (ROOT / "config.example.yaml").read_text("utf-8")
    offers, alerts = config.index("\noffers:"), config.index("\nalerts:")
    config = config[:offers] + config[alerts:]
    for old, new in (
        ("url: embedded", f"url: {redis_url}"),
        ("key_prefix: cg1", f"key_prefix: t{uuid.uuid4().hex[:12]}"),
        ("http://127.0.0.1:8377/v1", f"{mock_url}/v1"),
        ("openai/gpt-4.1 ", f"openai/gpt-4.1#{scenario} " if scenario else "openai/gpt-4.1 "),
    ):
        assert config.count(old) == 1, f"the example config has no {old!r} any more"
        config = config.replace(old, new)
    (folder / "config.yaml").write_text(config, "utf-8")
    return Home(folder, mock_url)
