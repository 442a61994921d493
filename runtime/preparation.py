"""What is decided before the ledger is asked: model, prompt, price."""

from __future__ import annotations

import time
from collections.abc import Callable
from datetime import UTC, datetime

from fallback.reasons import FallbackReason
from pricing.quote import quote_mc
from pricing.rate_card import RateCards
from runtime.actions import ActionSpec, ExecutionRequest, ExecutionResult
from runtime.credits.ledger import CreditLedger
from runtime.execution import Execution, Quote, Timings, unprepared
from runtime.models import Model, Models
from runtime.prompts import PromptError


class Preparation:
    """Turns requests into executions that can be paid for.

    Args:
        compliance_prompt: opens every system message.
        clock: tells the time (UTC) by which models retire and rate cards come into force. An
            execution asks once: what it was quoted by settles it, whatever comes meanwhile.
    """

    def __init__(
        self,
        ledger: CreditLedger,
        models: Models,
        rate_cards: RateCards,
        compliance_prompt: str = "",
        *,
        clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    ) -> None:
        self._ledger = ledger
        self._models = models
        self._rate_cards = rate_cards
        self._compliance_prompt = compliance_prompt
        self._clock = clock

    def prepare(
        self, request: ExecutionRequest, spec: ActionSpec, deadline_s: float, timings: Timings
    ) -> Execution | ExecutionResult:
        """Choose the model, render, quote; a result is why the execution can't be run."""
        since_s, now = time.perf_counter(), self._clock()
        model = self._models.usable(
            spec.model, now.date(), allow_replacement=spec.allow_replacement_model
        )
        if model is None:
            return unprepared(request, spec, FallbackReason.MODEL_UNAVAILABLE, timings)
        card = self._rate_cards.at(now)
        rates = card.rates.get(model.id) if card else None
        if card is None or rates is None:
            return unprepared(request, spec, FallbackReason.MODEL_NOT_PRICED, timings)
        try:
            messages = spec.render(
                request.data,
                with_instruction=not model.json_schema,
                prepend=self._compliance_prompt,
            )
        except PromptError as error:
            return unprepared(request, spec, FallbackReason.PROMPT_ERROR, timings, str(error))
        input_tokens = model.counter.count_messages(
            messages, spec.json_schema if model.json_schema else None
        )
        most = spec.limits.max_output_tokens
        if does_not_fit := _beyond_context(model, input_tokens, most):
            reason = FallbackReason.PROMPT_ERROR
            return unprepared(request, spec, reason, timings, does_not_fit)
        attempt = self._ledger.attempt(
            account_id=request.account_id,
            execution_id=request.execution_id,
            workspace_id=request.workspace_id,
            campaign_id=request.campaign_id,
            person_id=request.person_id,
            action=spec.id,
            source=request.source.value,
            action_version=spec.version,
            model=model.id,
        )
        timings.note("prepare", since_s)
        quote = Quote(input_tokens, most, quote_mc(rates, input_tokens, most))
        return Execution(
            request, spec, deadline_s, model, card, rates, messages, quote, attempt, timings
        )


def _beyond_context(model: Model, input_tokens: int, max_output_tokens: int) -> str | None:
    """Say that prompt and answer don't fit into the model's context, ``None`` if they do."""
    context = model.context_tokens
    if context is None or input_tokens + max_output_tokens <= context:
        return None
    return (
        f"the prompt of up to {input_tokens:,} tokens and an answer of {max_output_tokens:,} "
        f"do not fit into the {context:,} tokens of model {model.id!r}"
    )
