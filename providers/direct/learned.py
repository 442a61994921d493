"""Learns how LiteLLM asks for an action, so that it need not be asked for each person.

All requests of an action are the same, but for the texts of their messages and the limit of output
tokens. So LiteLLM is asked twice, with texts and limits that differ, through a client that sends
nothing: what stays is constant, and what changes must be where it is expected.
"""

from __future__ import annotations

import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from providers.base import CompletionRequest
from providers.direct import samples
from providers.direct.forms import OpenAIForm, Prepared, TranslatedForm, encoder
from providers.errors import ProviderError
from providers.litellm import translation
from providers.litellm.adapter import LiteLLMProvider
from providers.litellm.translation import Untranslatable

if TYPE_CHECKING:
    from providers.litellm.transport import SentRequest  # brings httpx

_LIMITS = (12_347, 5_113)
_OTHER_SCRIPT = "é"
_ESCAPED = rb"\u00e9"


class NotEqual(Exception):
    """The direct route would not do what LiteLLM does; the message says in what."""


class NotAsked(Exception):
    """LiteLLM makes no request: it says why when it is called."""


async def learn(litellm: LiteLLMProvider, request: CompletionRequest) -> Prepared:
    """Return how LiteLLM asks for requests like this one.

    Raises:
        NotEqual: it can't be learned, or what was learned is not what LiteLLM does.
        NotAsked: LiteLLM does not ask at all.
        NotSent: the provider can't be called.
    """
    probes = [_probe(request, number) for number in range(len(_LIMITS))]
    asked = [await _asked(litellm, probe) for probe in probes]
    first, second = asked
    if (first.method, first.url, first.headers) != ("POST", second.url, second.headers):
        raise NotEqual("the address or the headers depend on the prompt")
    bodies = [json.loads(sent.body) for sent in asked]
    encode = encoder(escapes=_ESCAPED in first.body)
    form = _openai_form(probes[0], bodies[0], encode, await _needed(litellm, request))
    if form is None or not _are_asked(Prepared(first.url, first.headers, form), probes, bodies):
        form = _translated_form(request, encode)
    prepared = Prepared(first.url, first.headers, form)
    if not _are_asked(prepared, probes, bodies):
        raise NotEqual("LiteLLM's translation of a request is not what it sends")
    await _check_answers(litellm, prepared, request)
    return prepared


def _probe(request: CompletionRequest, number: int) -> CompletionRequest:
    messages = [
        message | {"content": f"Probe {number}.{place} {_OTHER_SCRIPT}"}
        for place, message in enumerate(request.messages)
    ]
    return replace(request, messages=messages, max_output_tokens=_LIMITS[number])


async def _asked(litellm: LiteLLMProvider, probe: CompletionRequest) -> SentRequest:
    sent = await litellm.asked(probe)
    if sent is None:
        raise NotAsked
    return sent


def _are_asked(
    prepared: Prepared, probes: list[CompletionRequest], bodies: list[dict[str, Any]]
) -> bool:
    """Return whether the prepared requests are those that LiteLLM makes."""
    found = [prepared.body(probe) for probe in probes]
    return [body and json.loads(body) for body in found] == bodies


async def _needed(litellm: LiteLLMProvider, request: CompletionRequest) -> frozenset[str]:
    """Return what LiteLLM needs in an answer beside its text and its usage."""
    try:
        await litellm.read(request, samples.BARE)
    except ProviderError:
        return samples.NAMES
    return frozenset()


def _openai_form(
    probe: CompletionRequest,
    asked: dict[str, Any],
    encode: json.JSONEncoder,
    needed: frozenset[str],
) -> OpenAIForm | TranslatedForm | None:
    body = dict(asked)
    messages = body.pop("messages", None)
    limits = [name for name, value in body.items() if value == probe.max_output_tokens]
    if not isinstance(messages, list) or len(limits) != 1:
        return None
    del body[limits[0]]
    return OpenAIForm(body, limits[0], messages, encode, needed) if body else None


def _translated_form(request: CompletionRequest, encode: json.JSONEncoder) -> TranslatedForm:
    try:
        return TranslatedForm(translation.find(request), encode)
    except Untranslatable as error:
        raise NotEqual(f"{error}") from None


async def _check_answers(
    litellm: LiteLLMProvider, prepared: Prepared, request: CompletionRequest
) -> None:
    """Read what the provider may answer on both ways."""
    read = 0
    for sample in samples.ANSWERS:
        found = prepared.read(sample, request)
        if found is None:
            continue
        try:
            expected = await litellm.read(request, sample)
        except ProviderError:
            expected = None
        if found != expected:
            raise NotEqual("LiteLLM reads an answer in another way")
        read += 1
    if not read:
        raise NotEqual("no sample of an answer can be read")
