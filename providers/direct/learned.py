"""Learns how LiteLLM asks for an action, so that it need not be asked for each person.

All requests of an action are the same, but for the texts of their messages and the limit of output
tokens. So LiteLLM is asked twice, with texts and limits that differ, through a client that sends
nothing: what stays is constant, and what changes must be where it is expected.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol

from providers.base import Completion, CompletionRequest, Message
from providers.direct import openai_form, samples
from providers.errors import ProviderError
from providers.http import Headers, HttpAnswer
from providers.litellm import translation
from providers.litellm.adapter import LiteLLMProvider
from providers.litellm.translation import Translation, Untranslatable

if TYPE_CHECKING:
    from providers.litellm.transport import SentRequest  # brings httpx

_LIMITS = (12_347, 5_113)
_OTHER_SCRIPT = "é"
_ESCAPED = rb"\u00e9"


class NotEqual(Exception):
    """The direct route would not do what LiteLLM does; the message says in what."""


class NotAsked(Exception):
    """LiteLLM makes no request: it says why when it is called."""


class _Form(Protocol):
    """A form of requests and answers."""

    def body(self, messages: list[Message], max_output_tokens: int) -> str:
        """Return the body of a request, as JSON."""
        ...

    def read(self, answer: HttpAnswer, request: CompletionRequest) -> Completion | None:
        """Return what an answer with status 200 says; ``None`` or any error if it is unusual."""
        ...


@dataclass(frozen=True, slots=True)
class Learned:
    """The way to ask for an action, and to read the answers."""

    url: str
    headers: Headers
    form: _Form

    def body(self, request: CompletionRequest) -> bytes:
        """Return the body of a request.

        Raises:
            UnicodeEncodeError: a text can't be encoded.
        """
        return self.form.body(request.messages, request.max_output_tokens).encode()

    def read(self, answer: HttpAnswer, request: CompletionRequest) -> Completion | None:
        """Return what an answer says; ``None`` if that is LiteLLM's to say."""
        if answer.status != 200:
            return None
        try:
            return self.form.read(answer, request)
        except Exception:  # noqa: BLE001 - LiteLLM reads it again, and says what it means
            return None


class _OpenAIForm:
    """OpenAI's own form: the messages, and the limit beside them.

    Args:
        constant: the rest of the body.
        roles: those that the model knows, in place of those of the messages.
    """

    def __init__(
        self,
        constant: dict[str, Any],
        limit: str,
        roles: tuple[str, ...],
        encoder: json.JSONEncoder,
    ) -> None:
        self._opening = encoder.encode(constant).removesuffix("}")
        self._limit = encoder.encode(limit)
        self._roles = roles
        self._encode = encoder.encode

    def body(self, messages: list[Message], max_output_tokens: int) -> str:
        named = self._encode(
            [
                {"role": role, "content": message["content"]}
                for role, message in zip(self._roles, messages, strict=True)
            ]
        )
        return f'{self._opening},"messages":{named},{self._limit}:{max_output_tokens}}}'

    def read(self, answer: HttpAnswer, request: CompletionRequest) -> Completion | None:
        return openai_form.read(answer.body, request.max_output_tokens)


class _TranslatedForm:
    """A form that LiteLLM translates into, and from."""

    def __init__(self, translation: Translation, encoder: json.JSONEncoder) -> None:
        self._translation = translation
        self._encode = encoder.encode

    def body(self, messages: list[Message], max_output_tokens: int) -> str:
        return self._encode(self._translation.body(messages, max_output_tokens))

    def read(self, answer: HttpAnswer, request: CompletionRequest) -> Completion | None:
        return self._translation.read(answer, request)


async def learn(litellm: LiteLLMProvider, request: CompletionRequest) -> Learned:
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
    # LiteLLM's client escapes other scripts, OpenAI's does not.
    encoder = json.JSONEncoder(ensure_ascii=_ESCAPED in first.body, separators=(",", ":"))
    form = _openai_form(probes, bodies, encoder) or _translated_form(request, encoder)
    learned = Learned(first.url, first.headers, form)
    for probe, body in zip(probes, bodies, strict=True):
        if json.loads(learned.body(probe)) != body:
            raise NotEqual("LiteLLM's translation of a request is not what it sends")
    await _check_answers(litellm, learned, request)
    return learned


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


def _openai_form(
    probes: list[CompletionRequest], bodies: list[dict[str, Any]], encoder: json.JSONEncoder
) -> _OpenAIForm | None:
    probe, body = probes[0], dict(bodies[0])
    messages = body.pop("messages", None)
    limits = [name for name, value in body.items() if value == probe.max_output_tokens]
    if not isinstance(messages, list) or len(messages) != len(probe.messages) or len(limits) != 1:
        return None
    del body[limits[0]]
    roles = tuple(message["role"] for message in messages)
    form = _OpenAIForm(body, limits[0], roles, encoder)
    are_asked = (
        json.loads(form.body(probe.messages, probe.max_output_tokens)) == asked
        for probe, asked in zip(probes, bodies, strict=True)
    )
    return form if all(are_asked) else None


def _translated_form(request: CompletionRequest, encoder: json.JSONEncoder) -> _TranslatedForm:
    try:
        return _TranslatedForm(translation.find(request), encoder)
    except Untranslatable as error:
        raise NotEqual(f"{error}") from None


async def _check_answers(
    litellm: LiteLLMProvider, learned: Learned, request: CompletionRequest
) -> None:
    """Read what the provider may answer on both ways."""
    read = 0
    for sample in samples.ANSWERS:
        try:
            expected = await litellm.read(request, sample)
        except ProviderError:
            continue
        found = learned.read(sample, request)
        if found is not None and found != expected:
            raise NotEqual("LiteLLM reads an answer in another way")
        read += found is not None
    if not read:
        raise NotEqual("no sample of an answer can be read")
