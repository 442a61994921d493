"""A ledger of release 0.1 beside one of today, on the same Redis.

Its scripts are those that the release shipped, byte for byte. What Python sent them is made of
today's code: a settlement without its reason and choices, and a header without ``max_lag``.
"""

from __future__ import annotations

from typing import Any
from unittest import mock

from runtime.credits import decoding, ledger
from runtime.credits.endings import Settlement
from runtime.credits.identity import Identity
from runtime.credits.installation import OnFirst, begin
from runtime.credits.ledger import Commerce, CreditLedger
from runtime.credits.results import Existing, NotBooked, Settled
from runtime.credits.scripts import Scripts, batch_scripts
from runtime.credits.settings import LedgerSettings
from runtime.redis.keys import BUCKETS, Keys
from runtime.redis.script import Script
from tests.harness.earlier_release import FIXTURE
from tests.harness.ledger.desk import INSTALLATION_KEY, PLANS

_SCRIPTS = FIXTURE / "scripts"
_BEFORE_OUTCOME = 8


class OlderSettings(LedgerSettings):
    """The settings that release 0.1 has."""

    @property
    def header(self) -> Any:
        """The first three: it knows no more."""
        return super().header[:3]


class OlderKeys(Keys):
    """The keys that release 0.1 knows."""

    def of_account(self, account_id: str) -> tuple[str, ...]:
        """Return the thirteen that its scripts declare: nobody was forgotten then."""
        own = Keys(self.prefix).of_account(account_id)
        return tuple(name for name in own if not name.endswith(":forgotten"))


class OlderLedger(CreditLedger):
    """A ledger of release 0.1, as a process of that release has it."""

    def __init__(self, client: Any, prefix: str) -> None:
        self._client: Any = client
        with mock.patch.object(ledger, "Keys", OlderKeys):
            super().__init__(
                client,
                Identity(INSTALLATION_KEY),
                OlderSettings(key_prefix=prefix, timeout_ms=10_000, alert_cooldown_ms=0),
                Commerce(PLANS),
                scripts=Scripts(
                    Script.of((_SCRIPTS / "executions.lua").read_text("utf-8")),
                    Script.of((_SCRIPTS / "accounts.lua").read_text("utf-8")),
                    batch_scripts().erasure,
                ),
            )
        self._check = Identity(INSTALLATION_KEY).check_value()

    async def check_installation(self, on_first: OnFirst = begin) -> None:
        """Store what that release stores: it knows no schema of an installation."""
        name = Keys(self.settings.key_prefix).installation
        for field, value in (("buckets", str(BUCKETS)), ("key_check", self._check)):
            await self._client.hsetnx(name, field, value)
            assert (await self._client.hget(name, field)).decode() == value

    async def settle(self, settlement: Settlement) -> Settled | Existing | NotBooked:
        """Settle as that release does."""
        *own, _, _, outcome = settlement.arguments()
        assert len(own) == _BEFORE_OUTCOME
        answer = await self._ask("settle", settlement.attempt, (*own, outcome), ends=True)
        assert answer[0] != b"more_due"
        return decoding.settlement(settlement.attempt, answer)
