"""Estimates of what a campaign will cost, without calling a model."""

from __future__ import annotations

import asyncio
import json
import math
import random
import time
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass
from enum import StrEnum
from typing import Any, Self

from fallback.reasons import FallbackReason
from runtime.actions.prompts import PromptError
from runtime.actions.spec import ActionSpec
from runtime.catalog.models import Model
from runtime.catalog.typical_run import as_text
from runtime.credits.checks import check_account_id, check_is
from runtime.credits.ledger import CreditLedger
from runtime.credits.results import Balance, LedgerUnavailable
from runtime.executions.quoting import Priced, Quoter, topic
from runtime.learning.forecast import (
    ENOUGH_TO_FORECAST,
    People,
    Typical,
    by_history,
    by_limits,
    worst_case_mc,
)
from runtime.learning.history import History
from runtime.learning.sharing import Learning, LearningUnavailable, Topic

SAMPLE_SIZE = 2_000

_YIELD_EVERY_S = 0.005
"""CPU after which other tasks of the event loop get their turn."""

Data = Mapping[str, Mapping[str, Any]]
"""One person's data: the scopes that templates read."""


class Sample:
    """A random sample of a stream of people, each with the same chance of being kept.

    Vitter, "Random Sampling with a Reservoir", ACM TOMS 11(1), 1985, algorithm R.

    Args:
        size: the most people to keep.
        seed: the same seed picks the same people from the same stream.

    Raises:
        ValueError: the size is below 2, which is too few to estimate a range.
    """

    def __init__(self, size: int = SAMPLE_SIZE, seed: int = 0) -> None:
        if size < 2:
            raise ValueError(f"size: found {size}, allowed is 2 and above")
        self.total = 0
        self.people: list[Data] = []
        self._size = size
        self._chance = random.Random(seed)  # noqa: S311 - no secret

    @classmethod
    def of(cls, people: Iterable[Data], size: int = SAMPLE_SIZE, seed: int = 0) -> Self:
        """Return a sample of these people."""
        sample = cls(size, seed)
        for data in people:
            sample.add(data)
        return sample

    @classmethod
    def counting(cls, total: int, people: Sequence[Data] = ()) -> Self:
        """Return a sample of so many people, of whom these, or none, are known.

        Raises:
            ValueError: fewer people than are known.
        """
        if total < max(1, len(people)):
            raise ValueError(f"total: found {total}, must be 1 and at least {len(people)}")
        sample = cls(max(2, len(people)))
        sample.total, sample.people = total, list(people)
        return sample

    def add(self, data: Data) -> None:
        """Add the next person of the stream."""
        self.total += 1
        if len(self.people) < self._size:
            self.people.append(data)
        elif (place := self._chance.randrange(self.total)) < self._size:
            self.people[place] = data


class Covers(StrEnum):
    """The highest of a campaign's costs that an account's credits cover."""

    WORST_CASE = "worst_case"
    LIKELY = "likely"
    EXPECTED = "expected"
    LESS = "less"


@dataclass(frozen=True, slots=True)
class Cost:
    """The cost of a whole campaign, in millicredits.

    ``expected_mc`` is the expected cost. The real cost should be between ``low_mc`` and ``high_mc``
    in 95 of 100 campaigns. ``worst_mc`` is the cost if every answer costs its quote.
    """

    expected_mc: int = 0
    low_mc: int = 0
    high_mc: int = 0
    worst_mc: int = 0


@dataclass(frozen=True, slots=True)
class Reach:
    """The reach of an account's credits.

    Args:
        usable: the account may use credits: it is open and its plan has AI credits.
        covers: the highest cost that the credits cover: the worst case, the upper end of the
            range, the expected cost, or less than that.
        people: the number of people who are reached before the credits are used up;
            ``people_least`` and ``people_most`` at the upper and the lower end of the range.
    """

    account_id: str
    available_mc: int
    usable: bool
    covers: Covers
    people: int
    people_least: int
    people_most: int


@dataclass(frozen=True, slots=True)
class Estimate:
    """The estimated cost of running an action for a number of people.

    Args:
        model_id: the model that would be called now, or ``None``.
        people: the number of people.
        counted: the number of people, picked at random, whose prompts were rendered and counted.
        before_a_call: the number of people who would get fallback values without a call, by reason.
        answers_known: the number of earlier answers, of this version on this model, that the
            estimate is based on; 0 if it is based on the action's limits.
        reach: the reach of the account's credits, if an account was named.
    """

    action_id: str
    action_version: str
    model_id: str | None
    rate_card_version: str | None
    people: int
    counted: int
    before_a_call: Mapping[FallbackReason, int]
    cost: Cost
    answers_known: int
    reach: Reach | None

    @property
    def called(self) -> int:
        """The number of people who would get a call."""
        return self.people - sum(self.before_a_call.values())

    def to_json(self) -> dict[str, Any]:
        """Return the estimate in plain JSON types."""
        plain = {name: getattr(self, name) for name in self.__slots__} | {"called": self.called}
        plain["before_a_call"] = {why.value: count for why, count in self.before_a_call.items()}
        plain["cost"] = asdict(self.cost)
        plain["reach"] = self.reach and asdict(self.reach)
        return plain


class Estimator:
    """Estimates the costs of campaigns from rendered prompts and the lengths of earlier answers."""

    def __init__(self, ledger: CreditLedger, quoter: Quoter, learning: Learning) -> None:
        self._ledger = ledger
        self._check_use = ledger.guard.check
        self._quoter = quoter
        self._learning = learning

    async def estimate(
        self, spec: ActionSpec, sample: Sample, *, account_id: str | None = None
    ) -> Estimate:
        """Estimate the cost of running the action for all people of the sample's stream.

        Args:
            account_id: the account that would pay; it adds ``reach`` to the estimate.

        Raises:
            ValueError: the sample is empty, or an argument is not allowed; the message names it.
            AccountUnknown: there is no such account.
            LedgerUnavailable: Redis cannot be reached.
            WrongEventLoop, RuntimeClosed: as ``ActionRuntime.execute``.
        """
        self._check_use()
        check_is(spec, ActionSpec, "spec")
        check_is(sample, Sample, "sample")
        if account_id is not None:
            check_account_id(account_id)
        if not sample.total:
            raise ValueError("sample: is empty, must hold at least one person")
        priced = self._quoter.price(spec)
        if isinstance(priced, FallbackReason):
            before, cost, known = {priced: sample.total}, Cost(), 0
        else:
            people = await self._count(spec, priced.model, sample)
            lacking = sample.total - round(people.called)
            before = {FallbackReason.PROMPT_ERROR: lacking} if lacking else {}
            cost, known = await self._cost(spec, priced, people)
        return Estimate(
            action_id=spec.id,
            action_version=spec.version,
            model_id=priced.model.id if isinstance(priced, Priced) else None,
            rate_card_version=priced.card.version if isinstance(priced, Priced) else None,
            people=sample.total,
            counted=len(sample.people),
            before_a_call=before,
            cost=cost,
            answers_known=known,
            reach=None if account_id is None else await self._reach(account_id, sample.total, cost),
        )

    async def learned(self, spec: ActionSpec, model_ids: Iterable[str]) -> dict[str, Typical]:
        """Return the typical usage of an action's answers, for models with enough of them.

        Raises:
            LedgerUnavailable: Redis cannot be reached.
            WrongEventLoop, RuntimeClosed: as ``ActionRuntime.execute``.
        """
        self._check_use()
        found = {}
        for model_id in model_ids:
            history = await self._history(Topic(spec.id, spec.version, model_id))
            if history.charged >= ENOUGH_TO_FORECAST:
                found[model_id] = Typical.of(history)
        return found

    async def _history(self, found: Topic) -> History:
        try:
            return await self._learning.history(found)
        except LearningUnavailable as exc:
            raise LedgerUnavailable(str(exc)) from exc

    async def _count(self, spec: ActionSpec, model: Model, sample: Sample) -> People:
        if not sample.people:
            return await self._count_templates(spec, model, sample.total)
        tokens: list[int] = []
        yielded_s = time.thread_time()
        for data in sample.people:
            if time.thread_time() - yielded_s > _YIELD_EVERY_S:
                await asyncio.sleep(0)
                yielded_s = time.thread_time()
            with suppress(PromptError):
                tokens.append((await self._quoter.count(spec, model, data))[1])
        if len(sample.people) == 1 < sample.total:
            return People(sample.total, 2, tokens * 2)  # everybody is like this one
        return People(sample.total, len(sample.people), tokens)

    async def _count_templates(self, spec: ActionSpec, model: Model, total: int) -> People:
        """Count the templates as they are written, for people of whom nothing is known."""
        try:
            _, tokens = await self._quoter.count(as_text(spec), model, {})
        except PromptError:
            return People(total, 2, [])
        return People(total, 2, [tokens, tokens])

    async def _cost(self, spec: ActionSpec, priced: Priced, people: People) -> tuple[Cost, int]:
        """Return the cost, and the number of answers that it is based on."""
        rates, counter = priced.rates, priced.model.counter
        worst_mc = worst_case_mc(people, rates, spec.limits.max_output_tokens)
        history = await self._history(topic(spec, priced.model))
        known = history.charged
        if known >= ENOUGH_TO_FORECAST:
            found = by_history(people, rates, history)
        else:
            known = 0
            empty = json.dumps(dict.fromkeys(spec.outputs, ""), separators=(",", ":"))
            longest = self._quoter.longest_answer_tokens(spec, priced.model)
            found = by_limits(people, rates, min(counter.count_text(empty), longest), longest)
        cost = Cost(
            expected_mc=min(round(found.expected_mc), worst_mc),
            low_mc=min(math.floor(found.low_mc), worst_mc),
            high_mc=min(math.ceil(found.high_mc), worst_mc),
            worst_mc=worst_mc,
        )
        return cost, known

    async def _reach(self, account_id: str, people: int, cost: Cost) -> Reach:
        return reach_of(await self._ledger.accounts.balance(account_id), people, cost)


def reach_of(balance: Balance, people: int, cost: Cost, *, lost_mc: int = 0) -> Reach:
    """Return the reach of an account's credits; ``lost_mc`` of them will expire unused."""
    usable = balance.ai_credits and balance.state == "open"
    credits_mc = balance.available_mc - lost_mc if usable else 0

    def reached(cost_mc: int) -> int:
        return people if credits_mc >= cost_mc else people * credits_mc // cost_mc

    return Reach(
        account_id=balance.account_id,
        available_mc=balance.available_mc,
        usable=usable,
        covers=_covers(credits_mc, cost),
        people=reached(cost.expected_mc),
        people_least=reached(cost.high_mc),
        people_most=reached(cost.low_mc),
    )


def _covers(credits_mc: int, cost: Cost) -> Covers:
    if credits_mc >= cost.worst_mc:
        return Covers.WORST_CASE
    if credits_mc >= cost.high_mc:
        return Covers.LIKELY
    return Covers.EXPECTED if credits_mc >= cost.expected_mc else Covers.LESS
