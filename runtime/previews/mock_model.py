"""The model of free previews: it answers in this process, and costs nothing."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import Any

from pricing.usage import TokenUsage
from providers.base import Completion, CompletionRequest, FinishReason
from providers.mock.answers import Asked, MockModel
from providers.mock.options import MockOptions, Scenario


class MockProvider:
    """Answers in the form of an action's outputs, with text that nobody should send.

    Equal requests get equal answers.

    Args:
        schema: the JSON Schema of the action's answers. It is followed whether or not the model
            in whose place this one stands can be held to a schema.
    """

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = schema

    async def complete(self, request: CompletionRequest) -> Completion:
        """Return an answer. Its tokens are counted in a thread, for a prompt may be long."""
        return await asyncio.to_thread(self._answer, request)

    def _answer(self, request: CompletionRequest) -> Completion:
        asked = Asked(
            model=request.litellm_model,
            messages=request.messages,
            schema=self._schema,
            context="",
            max_output_tokens=request.max_output_tokens,
        )
        answer = MockModel(MockOptions()).answer(asked, Scenario())
        return Completion(
            text=answer.text,
            finish=FinishReason.LENGTH if answer.cut else FinishReason.STOP,
            usage=TokenUsage(answer.input_tokens, answer.output_tokens),
        )

    async def aclose(self) -> None:
        """Do nothing: there is no connection."""
