"""The direct route is equal to LiteLLM's own in all that the product reads and sends.

This is the gate for each new version of LiteLLM. Text, tokens, certainty and the reason for which
a model stopped may never differ, and there is no list of exceptions. Only an error's wording may.
"""

from __future__ import annotations

import copy
import socket
from collections.abc import Iterator
from dataclasses import replace
from itertools import cycle, islice
from typing import Any
from unittest.mock import AsyncMock

import pytest

from providers.base import Completion, Endpoint, FinishReason
from providers.http import BadEncoding, HttpAnswer, HttpError, Lost, NotConnected, TooLarge
from tests.harness.routes.asking import (
    BASES,
    FORMS,
    KEY,
    MODELS,
    ODD_FORMS,
    SCHEMAS,
    SPECIAL,
    WORDINGS,
    Form,
    Wording,
    good_answer,
    request,
)
from tests.harness.routes.cells import WHOLE, few_cells, share_of_cells
from tests.harness.routes.comparing import (
    BothRoutesInHand,
    Call,
    Failure,
    Reply,
    Sent,
    both_routes,
    difference,
    http_answer,
    reply,
)
from tests.harness.routes.real_answers import REAL

pytestmark = [
    pytest.mark.filterwarnings(
        # LiteLLM's and OpenAI's, of answers that are not as they should be.
        "ignore:Pydantic serializer warnings:UserWarning",
        r"ignore:Items? .+ on TypedDict class '_Ollama:UserWarning",
    ),
]

ADDRESS = "http://127.0.0.1:9/v1"
ALL_MODELS = tuple(enumerate(dict.fromkeys((*MODELS.values(), *SPECIAL))))
FEW_MODELS = ALL_MODELS[::9]
BY_ACOMPLETION = {"ollama"}
"""Providers without a direct route."""
KEYS = (KEY, None, "", "schlüssel", "with spaces ")


async def differences(provider: str, cells: list[tuple[str, Reply]]) -> dict[str, str]:
    """Return how the routes to a provider differ, by the name of the reply."""
    async with both_routes() as (routes, url):
        asked = request(MODELS[provider], url, FORMS[0])
        assert await routes.goes_directly(asked) == (provider not in BY_ACOMPLETION)
        found = {name: await routes.compare(asked, answer) for name, answer in cells}
    return {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("provider", MODELS)
async def test_answers_and_faults_mean_the_same_on_both_routes(provider: str) -> None:
    assert await differences(provider, few_cells(provider)) == {}


@pytest.mark.long
@pytest.mark.parametrize("provider", MODELS)
async def test_every_answer_and_every_fault_means_the_same_on_both_routes(provider: str) -> None:
    assert await differences(provider, share_of_cells(provider)) == {}


@pytest.mark.parametrize(
    "provider",
    [pytest.param(name, marks=() if name in WHOLE else pytest.mark.long) for name in MODELS],
)
async def test_a_refused_connection_is_one_on_both_routes(provider: str) -> None:
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))
        address = f"http://127.0.0.1:{closed.getsockname()[1]}"
        async with both_routes() as (routes, _):
            asked = request(MODELS[provider], address, FORMS[0])
            assert await routes.compare(asked, Reply(b"")) is None


async def both_in_hand() -> BothRoutesInHand:
    both = BothRoutesInHand()
    await both.warm_up()
    return both


async def different_requests(
    model: str, forms: tuple[Form, ...], wordings: dict[str, Wording], each: int
) -> dict[str, str]:
    """Return how the routes differ where each form is asked in some of these words."""
    both = await both_in_hand()
    turns = cycle(wordings.items())
    found = {}
    for form in forms:
        for name, wording in islice(turns, each):
            asked = request(model, ADDRESS, form, wording)
            before = copy.deepcopy(asked)
            calls = await both.calls(asked, answer_of(model))
            assert asked == before
            found[f"{form}, {name}"] = difference(**calls)
    return {name: wrong for name, wrong in found.items() if wrong}


def answer_of(model: str) -> HttpAnswer:
    return http_answer(good_answer(model))


def some(number: int, forms: tuple[Form, ...], share: int) -> tuple[Form, ...]:
    return forms[number % share :: share]


def from_turn(number: int) -> dict[str, Wording]:
    return dict(islice(cycle(WORDINGS.items()), number, number + len(WORDINGS)))


@pytest.mark.parametrize("number, model", FEW_MODELS)
async def test_requests_are_the_same_on_both_routes(number: int, model: str) -> None:
    forms = some(number, FORMS, 4)

    assert await different_requests(model, forms, from_turn(number), each=2) == {}


@pytest.mark.long
@pytest.mark.parametrize("number, model", ALL_MODELS)
async def test_more_requests_are_the_same_on_both_routes(number: int, model: str) -> None:
    forms = (*some(number, FORMS, 2), *some(number, ODD_FORMS, 4))

    assert await different_requests(model, forms, from_turn(number), each=3) == {}


async def different_addresses(model: str, number: int, bases: int) -> dict[str, str]:
    """Return how the routes differ at some addresses, each with another key."""
    both = await both_in_hand()
    found = {}
    for base, key in islice(zip(cycle(BASES), cycle(KEYS), strict=False), number, number + bases):
        asked = request(model, f"http://127.0.0.1:9{base}", FORMS[3], key=key)
        found[f"{base} {key}"] = difference(**await both.calls(asked, answer_of(model)))
    found["without one"] = difference(
        **await both.calls(request(model, None, FORMS[3]), answer_of(model))
    )
    proxied = Endpoint("p", KEY, ADDRESS, proxy="http://u:p@127.0.0.1:8", ca_file="/ca.pem")
    asked = replace(request(model, None, FORMS[3]), endpoint=proxied)
    found["with a proxy"] = difference(**await both.calls(asked, answer_of(model)))
    return {name: wrong for name, wrong in found.items() if wrong}


@pytest.mark.parametrize("number, model", FEW_MODELS[::2])
async def test_law_16_addresses_and_keys_are_the_same_on_both_routes(
    number: int, model: str
) -> None:
    assert await different_addresses(model, number, bases=1) == {}


@pytest.mark.parametrize("number", range(0, len(BASES) * len(KEYS), 9))
async def test_law_16_a_model_that_is_asked_without_litellm_is_asked_the_same(number: int) -> None:
    assert await different_addresses("openai/gpt-4o-mini", number, bases=1) == {}


@pytest.mark.long
async def test_law_16_at_any_address_it_is_asked_the_same() -> None:
    every = len(BASES) * len(KEYS)

    assert await different_addresses("openai/gpt-4o-mini", 0, bases=every) == {}


@pytest.mark.long
@pytest.mark.parametrize("number, model", list(enumerate(MODELS.values())))
async def test_law_16_more_addresses_and_keys_are_the_same_on_both_routes(
    number: int, model: str
) -> None:
    assert await different_addresses(model, number, bases=len(KEYS)) == {}


READ_BY_LITELLM = {"openrouter", "perplexity", "minimax"}
"""Providers whose usual answers hold what only LiteLLM knows how to read."""


@pytest.mark.parametrize("name", REAL)
async def test_the_usual_answer_of_a_provider_is_read_without_litellm(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = await both_in_hand()
    asked = request("openai/m", ADDRESS)
    await both.goes_directly(asked)
    monkeypatch.setattr("litellm.acompletion", AsyncMock(side_effect=RuntimeError))

    calls = await both.calls(asked, http_answer(REAL[name]))

    assert isinstance(calls["acompletion"].outcome, Failure)
    assert isinstance(calls["direct"].outcome, Completion) == (name not in READ_BY_LITELLM)


@pytest.mark.parametrize("status", [400, 401, 404, 429, 500, 503])
async def test_a_plain_error_is_read_without_litellm(
    status: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    both = await both_in_hand()
    asked = request("mistral/m", ADDRESS)
    await both.goes_directly(asked)
    acompletion = AsyncMock(side_effect=RuntimeError)
    monkeypatch.setattr("litellm.acompletion", acompletion)

    error = HttpAnswer(status, (), b'{"error": {"message": "no", "type": "t"}}')
    calls = await both.calls(asked, error)

    assert isinstance(calls["direct"].outcome, Failure)
    assert calls["direct"].outcome.status == status
    assert acompletion.call_count == 1, "of the other route alone"


HANDLED = ("openai/m", "anthropic/claude-sonnet-4-5", "gemini/gemini-2.5-flash", "mistral/m")


@pytest.mark.parametrize("error", [NotConnected, Lost, TooLarge, BadEncoding])
@pytest.mark.parametrize("model", HANDLED)
async def test_an_answer_that_does_not_come_means_the_same_on_both_routes(
    model: str, error: type[HttpError]
) -> None:
    both = await both_in_hand()

    assert difference(**await both.calls(request(model, ADDRESS), error("words"))) is None


def nearly_equal_forms() -> Iterator[Form]:
    """Return forms that differ in a single value, with schemas of their own."""
    for intents in (["card_arrival"], ["top_up"], [1], [1.0], [True], ["1"]):
        schema = copy.deepcopy(SCHEMAS[0])
        schema["properties"]["intent"]["enum"] = intents
        yield Form(schema)
    yield from (Form(temperature=temperature) for temperature in (None, 0, 0.0, 1, 1.0))
    yield from (Form(json_object=True), Form(SCHEMAS[0], json_object=True))


@pytest.mark.parametrize("model", HANDLED[:2])
async def test_actions_that_differ_in_a_single_value_are_never_mixed_up(model: str) -> None:
    both = await both_in_hand()
    forms = list(nearly_equal_forms())
    for form in forms:
        await both.goes_directly(request(model, ADDRESS, form))
    for form in forms:
        calls = await both.calls(request(model, ADDRESS, form), answer_of(model))
        assert difference(**calls) is None
    # A schema at the address of one that is gone.
    del form, forms
    for form in nearly_equal_forms():
        calls = await both.calls(request(model, ADDRESS, form), answer_of(model))
        assert difference(**calls) is None


@pytest.mark.parametrize("model", HANDLED[:2])
async def test_calls_at_the_same_time_get_each_their_own_answer(model: str) -> None:
    async with both_routes() as (routes, url):
        asked = [
            request(model, url, form, Wording([{"role": "user", "content": f"Number {number}"}]))
            for number, form in enumerate(FORMS[::3] * 5)
        ]
        one_by_one, at_once = await routes.one_by_one_and_at_once(asked, reply(good_answer(model)))

    assert at_once == one_by_one
    assert len(at_once) == len(asked)


# The comparison itself

GOOD = Completion("Hi", FinishReason.STOP, usage=None)
SENT = Sent.of(
    "POST /v1 HTTP/1.1", [("Host", "x"), ("Accept", "a")], b'{"a":1,"properties":{"c":1,"d":2}}'
)


def test_routes_that_are_equal_have_no_difference() -> None:
    same = Sent.of(
        "POST /v1 HTTP/1.1",
        [("accept", "a"), ("host", "x")],
        b'{"properties": {"c": 1, "d":2}, "a": 1}',
    )

    assert difference(Call(GOOD, (SENT,)), Call(GOOD, (same,))) is None


@pytest.mark.parametrize(
    "other",
    [
        Call(replace(GOOD, text="Ho"), (SENT,)),
        Call(replace(GOOD, finish=FinishReason.LENGTH), (SENT,)),
        Call(replace(GOOD, after_thoughts=True), (SENT,)),
        Call(replace(GOOD, reasoning_beside=True), (SENT,)),
        Call(Failure("Rejected"), (SENT,)),
        Call(GOOD, ()),
        Call(GOOD, (SENT, SENT)),
        Call(GOOD, (replace(SENT, line="POST /v2 HTTP/1.1"),)),
        Call(GOOD, (replace(SENT, headers=SENT.headers[:1]),)),
        Call(GOOD, (replace(SENT, headers=(*SENT.headers, SENT.headers[0])),)),
        *(
            Call(GOOD, (Sent.of("POST /v1 HTTP/1.1", [("host", "x"), ("accept", "a")], body),))
            for body in (
                b'{"a":1.0,"properties":{"c":1,"d":2}}',
                b'{"a":true,"properties":{"c":1,"d":2}}',
                b'{"a":1,"properties":{"d":2,"c":1}}',
                b'{"a":1,"properties":{"c":1,"d":2},"e":null}',
            )
        ),
    ],
)
def test_every_difference_of_routes_is_told(other: Any) -> None:
    assert difference(Call(GOOD, (SENT,)), other) is not None
