"""Answers that are good but for a few faults, drawn by hypothesis: any part, any fault."""

from __future__ import annotations

import copy
import json
from functools import cache
from typing import Any

from hypothesis import strategies as st

from providers.http import Headers
from tests.harness.routes.asking import answers_of, good_answer
from tests.harness.routes.faults import CODES, RETRY_AFTER, WORDS
from tests.harness.usage_objects import NUMBERS, usage_objects

NAMES = (
    *("choices", "message", "content", "finish_reason", "usage", "index", "role", "tool_calls"),
    *("reasoning_content", "reasoning", "refusal", "function_call", "error", "code", "type"),
    *("prompt_tokens", "completion_tokens", "total_tokens", "prompt_tokens_details", "id"),
    *("candidates", "parts", "text", "finishReason", "usageMetadata", "promptFeedback", "thought"),
    *("stop_reason", "input_tokens", "output_tokens", "input", "name", "arguments", "function"),
    *("done_reason", "response", "eval_count", "created", "model", "object", "x"),
    *("provider", "request_id", "service_tier", "time_info", "x_groq", "seed", "stop_reason"),
    *("prompt_filter_results", "content_filter_results", "native_finish_reason", "cost"),
    *("queue_time", "num_sources_used", "cached_tokens", "prompt_cache_hit_tokens"),
    *("cache_write_tokens", "reasoning_tokens", "text_tokens", "completion_tokens_details"),
)
_scalars = (
    st.none()
    | st.booleans()
    | st.integers(-2, 60)
    | st.sampled_from(NUMBERS)
    | st.sampled_from(
        ("", "stop", "length", "content_filter", "error", "12", "{}", '{"intent":"top_up"}')
    )
    | st.text(max_size=12)
    | st.sampled_from(("\ud83d", "\udc00x"))
)
_values = (
    _scalars
    | st.lists(_scalars, max_size=2)
    | st.dictionaries(st.sampled_from(NAMES), _scalars, max_size=2)
)
_headers = st.sampled_from(
    (
        b"Content-Type: text/html",
        b"Content-Type: application/json; charset=utf-8",
        b"x-request-id: r",
        b"X-Region: Z\xfcrich",
        *(line for line in RETRY_AFTER if b"\r" not in line),
    )
)
_statuses = st.just(200) | st.sampled_from((201, 204, 299, 307)) | st.integers(200, 599)


def _places(value: Any) -> list[tuple[Any, Any]]:
    """Return all places in a JSON value: what holds it, and its name or index there."""
    found: list[tuple[Any, Any]] = []
    inner = value.items() if isinstance(value, dict) else enumerate(value)
    for key, part in list(inner):
        found.append((value, key))
        if isinstance(part, dict | list):
            found += _places(part)
    return found


@st.composite
def _mutated(draw: st.DrawFn, answers: tuple[Any, ...]) -> Any:
    """Return an answer with up to four faults; most often it keeps its form."""
    body = copy.deepcopy(draw(st.sampled_from(answers)))
    for _ in range(draw(st.integers(0, 4))):
        places = _places(body) if isinstance(body, dict | list) else []
        if not places:
            break
        holder, key = draw(st.sampled_from(places))
        fault = draw(st.sampled_from(("retype", "drop", "rename", "nest", "twice", "add", "swap")))
        if fault == "drop":
            del holder[key]
        elif fault == "rename" and isinstance(holder, dict):
            holder[draw(st.sampled_from(NAMES))] = holder.pop(key)
        elif fault == "nest":
            wrapped = [holder[key]], {draw(st.sampled_from(NAMES)): holder[key]}
            holder[key] = draw(st.sampled_from(wrapped))
        elif fault == "twice" and isinstance(holder, list):
            holder.append(copy.deepcopy(holder[key]))
        elif fault == "add" and isinstance(holder, dict):
            holder[draw(st.sampled_from(NAMES))] = draw(_values)
        elif fault == "swap":
            other, its_key = draw(st.sampled_from(places))
            holder[key] = copy.deepcopy(other[its_key]) if _has(other, its_key) else None
        else:
            holder[key] = draw(usage_objects() if "sage" in str(key) else _values)
    return body


def _has(holder: Any, key: Any) -> bool:
    return key in holder if isinstance(holder, dict) else key < len(holder)


@st.composite
def _bytes(draw: st.DrawFn, answers: tuple[Any, ...]) -> bytes:
    """Return an answer as bytes, now and then with a fault in them."""
    body = draw(_mutated(answers))
    raw = json.dumps(body, ensure_ascii=draw(st.booleans())).encode("utf-8", "surrogatepass")
    fault = draw(st.sampled_from((*["none"] * 12, "cut", "insert", "a name twice", "any")))
    if fault == "cut":
        return raw[: draw(st.integers(0, len(raw)))]
    if fault == "insert":
        at = draw(st.integers(0, len(raw)))
        return raw[:at] + draw(st.binary(min_size=1, max_size=3)) + raw[at:]
    if fault == "a name twice" and raw.startswith(b'{"'):
        again = {draw(st.sampled_from(NAMES)): draw(_values)}
        return raw[:-1] + b", " + json.dumps(again).encode()[1:]
    return draw(st.binary(max_size=20)) if fault == "any" else raw


@st.composite
def _errors(draw: st.DrawFn) -> bytes:
    """Return the body of an error."""
    fields = {"message": "no", "type": "t", "code": None, "status": "x"}
    error = {
        name: draw(st.sampled_from((*CODES, *WORDS)) | st.integers(390, 610) | _values)
        for name in draw(st.lists(st.sampled_from(tuple(fields)), max_size=4))
    }
    return json.dumps(
        {"error": fields | error} | draw(st.dictionaries(st.text(max_size=3), _scalars, max_size=1))
    ).encode()


@cache
def http_answers(model: str) -> st.SearchStrategy[tuple[int, Headers, bytes]]:
    """Return any answer that the provider of a model may give: status, headers and body."""
    named = dict(answers_of(model))
    usual = [body for name, body in named.items() if name.startswith(("real", "full", "good"))]
    answers = (*[good_answer(model)] * 8, *usual * 6, *named.values())
    bodies = _bytes(answers)
    headers = st.lists(_headers, max_size=2).map(
        lambda lines: tuple(_parsed(line) for line in lines)
    )
    return (
        st.tuples(st.just(200), st.just(()), bodies)
        | st.tuples(st.just(200), headers, bodies)
        | st.tuples(_statuses, headers, bodies | _errors())
    )


def _parsed(line: bytes) -> tuple[bytes, bytes]:
    name, _, value = line.partition(b":")
    return name, value.strip()
