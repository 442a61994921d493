"""The benchmarks' plain side sends what the ledger sends, byte for byte."""

from __future__ import annotations

from typing import Any

import pytest

from runtime.credits.identity import Identity
from runtime.credits.ledger import CreditLedger, LedgerSettings
from runtime.redis.transport import bulk
from tests.bench import plain_script
from tests.bench.ledger_stage import COST_MC, RESERVED_MC, LedgerStage

RESERVED_AT_MS = 1_700_000_000_000
ANSWERS = (
    [b"reserved", RESERVED_MC, 0, RESERVED_AT_MS, 1],
    [b"settled", COST_MC, 0, 0, b""],
)


class Wire:
    """A client, its pool and its connection: keeps what is sent, and answers as a server does."""

    max_connections = 2

    def __init__(self) -> None:
        self.connection_pool = self
        self.sent: list[bytes] = []
        self._answers = iter(ANSWERS)
        self._reader = self

    async def get_connection(self) -> Wire:
        return self

    async def release(self, connection: Wire) -> None:
        pass

    def at_eof(self) -> bool:
        return False

    def should_reconnect(self) -> bool:
        return False

    async def send_packed_command(self, packed: bytes, check_health: bool) -> None:
        self.sent.append(packed)

    async def read_response(self, **_: Any) -> Any:
        return [[next(self._answers)], [], b""]

    async def evalsha(self, *arguments: bytes | str | int) -> Any:
        self.sent.append(b"*%d\r\n%b" % (len(arguments) + 1, bulk("EVALSHA", *arguments)))
        return [[next(self._answers)], [], b""]


async def test_it_sends_the_ledgers_keys_and_arguments(monkeypatch: pytest.MonkeyPatch) -> None:
    def clock_ms() -> int:
        return RESERVED_AT_MS

    monkeypatch.setattr(plain_script, "own_clock_ms", clock_ms)
    ledger_wire, plain_wire = Wire(), Wire()
    client: Any = ledger_wire
    settings = LedgerSettings()
    ledger = CreditLedger(client, Identity(bytes(32)), settings, clock_ms=clock_ms)
    stage = LedgerStage(ledger, client, client, "none")
    attempt = stage.attempt()
    await stage.pair(attempt)
    await plain_script.PlainScript(plain_wire, settings).pair(attempt)
    assert len(plain_wire.sent) == 2
    assert plain_wire.sent == ledger_wire.sent
