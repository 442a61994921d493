"""Signals end a command gently, a lost terminal as well."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Iterator

import pytest

from runtime.cli.interruption import Interruption


@pytest.fixture
def ignored_hangup() -> Iterator[None]:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    yield
    signal.signal(signal.SIGHUP, before)


async def raised(number: signal.Signals) -> bool:
    """Return whether the signal stops what runs."""
    with Interruption() as interruption:
        stopped: list[signal.Signals] = []
        interruption.steps = [lambda: stopped.append(number)]
        signal.raise_signal(number)
        await asyncio.sleep(0.01)
        assert interruption.happened == bool(stopped)
        return bool(stopped)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
async def test_ctrl_c_sigterm_and_a_lost_terminal_stop_a_command(number: signal.Signals) -> None:
    assert await raised(number)


@pytest.mark.usefixtures("ignored_hangup")
async def test_under_nohup_a_command_outlives_its_terminal() -> None:
    assert not await raised(signal.SIGHUP)
    assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
