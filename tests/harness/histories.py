"""Random histories of an account through a real ledger, with what the ledger said as they went."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field

from fallback.reasons import FallbackReason
from runtime.credits.endings import Release, Settlement
from runtime.credits.identity import Dimensions, ExecutionAttempt
from runtime.credits.results import Balance, NotBooked, Refused, Reserved, Settled
from tests.harness.ledger.desk import Desk
from tests.harness.ledger.dice import Dice
from tests.harness.ledger.instants import ZONES, turns

MINUTE_MS, HOUR_MS = 60_000, 3_600_000
DAY_MS = 24 * HOUR_MS
_PASSING_MS = (1, 1_000, 5 * MINUTE_MS, 15 * MINUTE_MS, 7 * HOUR_MS, DAY_MS, 9 * DAY_MS)
_TTLS_MS = (1_000, 10 * MINUTE_MS, 30 * HOUR_MS)
_LIFETIMES_MS = (None, None, 1_000, 10 * MINUTE_MS, 30 * HOUR_MS)
_REASONS = (None, None, FallbackReason.OUTPUT_INVALID, FallbackReason.CONTENT_REFUSED)


@dataclass(frozen=True, slots=True)
class Ended:
    """An execution that ended: when, with what, and what the ledger said that it charged."""

    at_ms: int
    dimensions: Dimensions
    outcome: str
    reason: str
    charged_mc: int


@dataclass
class History:
    """What happened, and the balance after the last thing that happened at each instant."""

    account_id: str
    ended: list[Ended] = field(default_factory=list)
    balances: dict[int, Balance] = field(default_factory=dict)
    timezone: str = "UTC"

    @property
    def charged_mc(self) -> int:
        """Everything that the ledger said that it charged."""
        return sum(ended.charged_mc for ended in self.ended)


async def live(
    desk: Desk, account_id: str, dice: Dice, steps: int, archive: Callable[[], Awaitable[object]]
) -> History:
    """Let random things happen to an account; at random moments it is archived.

    At the end nothing runs any more, and everything that is due is written.
    """
    history = History(account_id, timezone=dice.pick(ZONES))
    await desk.ledger.accounts.open_account(account_id, plan="growth", timezone=history.timezone)
    life = _Life(desk, dice, history)
    await life.grant()
    for _ in range(steps):
        await dice.pick(
            (
                *(life.reserve, life.reserve, life.settle, life.settle, life.pass_time),
                *(life.pass_time, life.release, life.refuse, life.grant, life.void),
                *(life.change_timezone, archive),
            )
        )()
        await life.note_balance()
    await desk.pass_time(2 * max(_TTLS_MS))
    await desk.write_what_is_due(account_id)
    await life.note_balance()
    await archive()
    return history


class _Life:
    def __init__(self, desk: Desk, dice: Dice, history: History) -> None:
        self._desk, self._dice, self._history = desk, dice, history
        self._open: list[tuple[ExecutionAttempt, Reserved]] = []
        self._granted = 0

    async def note_balance(self) -> None:
        balance = await self._desk.balance(self._history.account_id)
        self._history.balances[self._desk.now_ms] = balance

    async def grant(self) -> None:
        self._granted += 1
        await self._desk.grant(
            self._dice.pick((1_000, 5_000, 1)),
            account_id=self._history.account_id,
            expires_in_ms=self._dice.pick(_LIFETIMES_MS),
        )

    async def reserve(self) -> None:
        attempt = self._attempt()
        answer = await self._desk.ledger.reserve(
            attempt, self._dice.pick((100, 700, 1)), self._dice.pick(_TTLS_MS)
        )
        if isinstance(answer, Reserved):
            self._open.append((attempt, answer))

    async def settle(self) -> None:
        if not self._open:
            return
        attempt, reserved = self._open.pop(self._dice.below(len(self._open)))
        reason = self._dice.pick(_REASONS)
        answer = await self._desk.ledger.settle(
            Settlement(
                attempt,
                cost_mc=reserved.amount_mc
                * self._dice.pick((1, 0, 3))
                // (1 + self._dice.below(3)),
                reserved_mc=reserved.amount_mc,
                reserved_at_ms=reserved.reserved_at_ms,
                tokens=f"{self._dice.below(200)},,,{self._dice.below(50)}",
                rate_card_version="2026-01",
                outcome=b"answered",
                reason=reason,
                choices=((0, self._dice.below(3)),),
            )
        )
        if isinstance(answer, NotBooked):
            return  # it came after the horizon, so that nobody was charged
        assert isinstance(answer, Settled), answer
        outcome = "fell_back" if reason else "answered"
        self._note(attempt, outcome, reason or "", answer.charged_mc)

    async def release(self) -> None:
        if not self._open:
            return
        attempt, _ = self._open.pop(self._dice.below(len(self._open)))
        reason = FallbackReason.PROVIDER_ERROR
        await self._desk.ledger.release(Release(attempt, reason=reason, outcome=b"fell back"))
        self._note(attempt, "fell_back", reason, 0)

    async def refuse(self) -> None:
        attempt = self._attempt()
        answer = await self._desk.ledger.reserve(attempt, 10**9, MINUTE_MS, final=True)
        assert isinstance(answer, Refused), answer
        self._note(attempt, "fell_back", answer.reason, 0)

    async def void(self) -> None:
        await self._desk.ledger.accounts.void(
            self._history.account_id,
            f"g{1 + self._dice.below(self._granted)}",
            reference=f"void-{next(self._desk.numbers)}",
            reason="paid back",
        )

    async def change_timezone(self) -> None:
        self._history.timezone = self._dice.pick(ZONES)
        await self._desk.ledger.accounts.change_timezone(
            self._history.account_id,
            timezone=self._history.timezone,
            reference=f"zone-{next(self._desk.numbers)}",
        )

    async def pass_time(self) -> None:
        now_ms = self._desk.now_ms
        if self._dice.once_in(3):
            turn = self._dice.pick(turns(now_ms, self._history.timezone) or [now_ms + 1])
            await self._desk.set_clock(max(now_ms, turn - self._dice.below(2)))
        else:
            await self._desk.pass_time(self._dice.pick(_PASSING_MS))

    def _attempt(self) -> ExecutionAttempt:
        return self._desk.attempt(
            account_id=self._history.account_id,
            workspace_id=self._dice.pick(("retail", "bank")),
            campaign_id=self._dice.pick(("welcome", "winback")),
            action=self._dice.pick(("route", "greet")),
            model=self._dice.pick(("writer", "thinker")),
            source=self._dice.pick(("live", "preview")),
        )

    def _note(self, attempt: ExecutionAttempt, outcome: str, reason: str, charged_mc: int) -> None:
        ended = Ended(self._desk.now_ms, attempt.dimensions, outcome, str(reason), charged_mc)
        self._history.ended.append(ended)
