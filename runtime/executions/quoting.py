"""Quotes: the model, the prompt and the price, decided before the ledger is asked."""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import partial
from typing import Any, Protocol

from fallback.reasons import FallbackReason
from pricing.quote import quote_mc
from pricing.rate_card import RateCard, RateCards, Rates
from pricing.usage import TokenUsage
from providers.base import Message
from providers.pacing.deadline import Deadline
from runtime.actions import outputs
from runtime.actions.prompts import PromptError
from runtime.actions.requests import ExecutionRequest, ExecutionResult
from runtime.actions.spec import ActionSpec
from runtime.catalog.counting import render_prompt
from runtime.catalog.models import Model, Models
from runtime.credits.identity import ExecutionAttempt
from runtime.executions.execution import Execution, Progress, Quote, Timings, unprepared
from runtime.executions.long_counts import LongCounts
from runtime.learning.history import observed
from runtime.learning.sharing import Learning, Topic
from runtime.wording.reasons import (
    retired_model_text,
    unknown_model_text,
    unpriced_model_text,
)

_log = logging.getLogger("creditgate.executor")

_MOST_TOLD = 1_000
"""Of models that the config lacks, those whose names are logged."""
_RENDERED_SOON_S = 0.02
"""Time of rendering after which counting has to wait for another turn of the event loop. The
thread's CPU, which counts, is no more; asking for it takes ten times as long as for the time."""


@dataclass(frozen=True, slots=True)
class Priced:
    """The model that an action runs on now, with its rates."""

    model: Model
    card: RateCard
    rates: Rates


class Identify(Protocol):
    """Makes a new attempt on an execution, with a random id."""

    def __call__(  # noqa: PLR0913 - what names an execution, each by keyword
        self,
        *,
        account_id: str,
        execution_id: str,
        workspace_id: str,
        campaign_id: str,
        person_id: str,
        action: str,
        source: str,
        action_version: str = "",
        model: str = "",
    ) -> ExecutionAttempt: ...


class Quoter:
    """Turns requests into executions with a model, a prompt and a quote, and learns from answers.

    Args:
        identify: names the attempt as the ledger knows it (``CreditLedger.attempt``).
        learning: the lengths of past answers, for actions with adaptive reservations.
        compliance_prompt: opens every system message.
        clock: returns the time (UTC) by which models retire and rate cards come into force. An
            execution reads it once, so that it is settled by the rates of its quote.
        long_counts: threads that count; without them, it has its own.
    """

    def __init__(
        self,
        identify: Identify,
        models: Models,
        rate_cards: RateCards,
        learning: Learning,
        compliance_prompt: str = "",
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
        long_counts: LongCounts | None = None,
    ) -> None:
        self._identify = identify
        self._models = models
        self._rate_cards = rate_cards
        self._learning = learning
        self._longest_answers: dict[tuple[str, str], int] = {}
        self._compliance_prompt = compliance_prompt
        self._clock = clock
        self._long_counts = long_counts or LongCounts()
        self._unknown_models: set[str] = set()

    async def prepare(
        self, request: ExecutionRequest, spec: ActionSpec, deadline: Deadline, timings: Timings
    ) -> Execution | ExecutionResult:
        """Choose the model, render and quote. Return a result if the execution can't run."""
        since_s = time.perf_counter()
        priced = self.price(spec)
        if isinstance(priced, FallbackReason):
            return unprepared(request, spec, priced, timings, self._why_not(spec, priced))
        model, rates = priced.model, priced.rates
        try:
            messages, input_tokens = await self.count(
                spec, model, request.data, account_id=request.account_id, deadline_s=deadline.at_s
            )
        except PromptError as error:
            return unprepared(request, spec, FallbackReason.PROMPT_ERROR, timings, str(error))
        except TimeoutError:
            detail = f"the prompt was not counted within {spec.limits.deadline_ms:,} ms"
            return unprepared(request, spec, FallbackReason.PROMPT_ERROR, timings, detail)
        most = spec.limits.max_output_tokens
        attempt = self._identify(
            account_id=request.account_id,
            execution_id=request.execution_id,
            workspace_id=request.workspace_id,
            campaign_id=request.campaign_id,
            person_id=request.person_id,
            action=spec.id,
            source=str(request.source),
            action_version=spec.version,
            model=model.id,
        )
        timings.note("prepare", since_s)
        quote = Quote(input_tokens, most, quote_mc(rates, input_tokens, most))
        progress = Progress(quote, timings)
        execution = Execution(
            request, spec, deadline, model, priced.card, rates, messages, attempt, progress
        )
        if spec.limits.reservation == "adaptive":
            self._lower_to_what_was_learned(execution)
        return execution

    def _why_not(self, spec: ActionSpec, reason: FallbackReason) -> str:
        """Return why no model can be called; log what only the host's code can mend, once."""
        model = self._models.get(spec.model)
        if model is None:
            text = unknown_model_text(spec.model, (known.id for known in self._models))
            if spec.model not in self._unknown_models and len(self._unknown_models) < _MOST_TOLD:
                self._unknown_models.add(spec.model)
                _log.error("action %r: %s", spec.id, text)
            return text
        if reason is FallbackReason.MODEL_UNAVAILABLE:
            return retired_model_text(model.id, model.retires_on)
        card = self._rate_cards.at(self._clock())
        return unpriced_model_text(model.id, card.version if card else None)

    def model(self, model_id: str) -> Model | None:
        """Return the model of that id, ``None`` if there is none."""
        return self._models.get(model_id)

    def price(self, spec: ActionSpec) -> Priced | FallbackReason:
        """Return the model that an action runs on now, or the reason that it can't run."""
        now = self._clock()
        model = self._models.usable(
            spec.model, now.date(), allow_replacement=spec.allow_replacement_model
        )
        if model is None:
            return FallbackReason.MODEL_UNAVAILABLE
        card = self._rate_cards.at(now)
        rates = card.rates.get(model.id) if card else None
        if card is None or rates is None:
            return FallbackReason.MODEL_NOT_PRICED
        return Priced(model, card, rates)

    async def count(
        self,
        spec: ActionSpec,
        model: Model,
        data: Mapping[str, Mapping[str, Any]],
        *,
        account_id: str = "",
        deadline_s: float | None = None,
    ) -> tuple[list[Message], int]:
        """Return the messages for one person and an upper bound of their input tokens.

        A long prompt is counted in a thread, one at a time for an account. So is the longest answer
        of an action, the first time.

        Raises:
            PromptError: the prompt needs something that is not known about the person, or does not
                fit into the model's context with the longest answer.
            TimeoutError: the prompt was not counted by the deadline, in the event loop's time.
        """
        since_s = time.perf_counter()
        messages, schema = render_prompt(model, spec, data, self._compliance_prompt)
        input_tokens = None
        if time.perf_counter() - since_s < _RENDERED_SOON_S:
            input_tokens = model.counter.count_messages_at_once(messages, schema)
        if input_tokens is None:
            count = partial(model.counter.count_messages, messages, schema)
            input_tokens = await self._in_thread(count, account_id, deadline_s)
        if (spec.version, model.id) not in self._longest_answers:
            count = partial(self.longest_answer_tokens, spec, model)
            await self._in_thread(count, account_id, deadline_s)
        _check_context(model, input_tokens, spec.limits.max_output_tokens)
        return messages, input_tokens

    async def count_answer(self, execution: Execution, text: str) -> int:
        """Return the tokens of an answer; a long one is counted in a thread, as prompts are."""
        counter, account_id = execution.model.counter, execution.request.account_id
        known = counter.count_text_at_once(text)
        if known is not None:
            return known
        return await self._in_thread(partial(counter.count_text, text), account_id, None)

    def least_output_tokens(self, spec: ActionSpec, model: Model) -> int:
        """Return the fewest output tokens that can hold a useful answer."""
        if spec.limits.min_output_tokens is not None:
            return spec.limits.min_output_tokens
        return self.longest_answer_tokens(spec, model)

    def longest_answer_tokens(self, spec: ActionSpec, model: Model) -> int:
        """Return the tokens of the longest valid answer, thinking included, within the limits."""
        known = self._longest_answers.get((spec.version, model.id))
        if known is None:
            known = model.counter.count_text(outputs.longest_answer(spec.outputs))
            self._longest_answers[spec.version, model.id] = known
        return min(known + model.reasoning_allowance_tokens, spec.limits.max_output_tokens)

    async def _in_thread(
        self, count: Callable[[], int], account_id: str, deadline_s: float | None
    ) -> int:
        async with asyncio.timeout_at(deadline_s):
            return await self._long_counts.run(account_id, count)

    def learn(self, execution: Execution, usage: TokenUsage, *, cut: bool, charged: bool) -> None:
        """Learn from an answer. ``cut`` is true if it ended at a limit that we had lowered."""
        spec, counted_tokens = execution.spec, execution.progress.quote.input_tokens
        added = observed(
            usage, counted_tokens, spec.limits.max_output_tokens, cut=cut, charged=charged
        )
        self._learning.note(topic(spec, execution.model), added)

    async def share(self) -> None:
        """Share what was learned with other processes now, or later if Redis is away."""
        await self._learning.share()

    def _lower_to_what_was_learned(self, execution: Execution) -> None:
        spec, model = execution.spec, execution.model
        learned = self._learning.output_tokens_to_reserve(topic(spec, model))
        if learned is not None:
            execution.lower(max(learned, self.least_output_tokens(spec, model)))


def topic(spec: ActionSpec, model: Model) -> Topic:
    """Return the name under which the answers of an action are learned."""
    return Topic(spec.id, spec.version, model.id)


def _check_context(model: Model, input_tokens: int, max_output_tokens: int) -> None:
    """Raise ``PromptError`` if prompt and answer don't fit into the model's context."""
    context = model.context_tokens
    if context is not None and input_tokens + max_output_tokens > context:
        what = (
            f"up to {input_tokens:,} input tokens and an answer of {max_output_tokens:,} "
            f"do not fit into the {context:,} tokens of model {model.id!r}"
        )
        raise PromptError("user", None, what, None)
