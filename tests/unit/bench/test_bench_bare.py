"""What the gate is compared with sends what the provider sends, with another person's text."""

from __future__ import annotations

import json

import pytest

from tests.bench.bare import AiohttpCaller, SentRequest, open_session

BODY = {"model": "m", "messages": [{"role": "user", "content": "My card."}], "max_tokens": 300}


def recorded(body: object) -> SentRequest:
    return SentRequest("http://127.0.0.1:9/v1", ((b"Authorization", b"Bearer none"),), dumped(body))


def dumped(body: object) -> bytes:
    return json.dumps(body, separators=(",", ":")).encode()


async def test_the_bytes_are_those_of_the_provider_but_for_the_text() -> None:
    async with open_session() as session:
        caller = AiohttpCaller(session, recorded(BODY), "My card.")

    other = {**BODY, "messages": [{"role": "user", "content": 'A "second" card.'}]}
    assert caller.body("My card.") == dumped(BODY)
    assert caller.body('A "second" card.') == dumped(other)


async def test_a_text_that_stands_twice_in_a_request_cannot_be_replaced() -> None:
    twice = {**BODY, "user": "My card."}
    async with open_session() as session:
        with pytest.raises(ValueError, match="too many values"):
            AiohttpCaller(session, recorded(twice), "My card.")
