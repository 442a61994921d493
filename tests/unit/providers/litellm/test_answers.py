"""What LiteLLM is given of an answer."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from providers.http import MAX_ANSWER_BYTES
from providers.litellm.answers import (
    MAX_CHOICES,
    MAX_DEPTH,
    MAX_MARKS,
    MAX_VALUES,
    MAX_VALUES_OF_CHOICES,
    UnreadableAnswer,
    prepared,
    status_of,
)
from tests.harness.bounds import assert_linear, cpu_s, peak_bytes

MOST_S = 0.05

scalars = st.none() | st.booleans() | st.integers() | st.text(max_size=9)
objects = st.dictionaries(st.text(max_size=9), scalars | st.lists(scalars, max_size=2), max_size=3)
counts = st.dictionaries(st.sampled_from(["prompt_tokens", "x"]), st.integers(0, 10**30))


@pytest.mark.parametrize(
    "body, usage",
    [
        ({"type": "message", "content": []}, {"usage": {}}),
        ({"type": "message", "content": [], "usage": None}, {"usage": {}}),
        ({"candidates": []}, {"usageMetadata": {}}),
        ({"promptFeedback": {"blockReason": "SAFETY"}}, {"usageMetadata": {}}),
        ({"type": "message", "content": [{"text": '{"usage": {"a": 1}}'}]}, {"usage": {}}),
        ({"type": "message", "content": [{"usage": {"a": 1}}]}, {"usage": {}}),
    ],
)
def test_an_answer_that_litellm_could_not_read_without_usage_gets_an_empty_one(
    body: dict[str, Any], usage: dict[str, Any]
) -> None:
    assert json.loads(prepared(json.dumps(body).encode())) == body | usage


@pytest.mark.parametrize(
    "kind, name", [({"type": "message"}, "usage"), ({"candidates": []}, "usageMetadata")]
)
@given(body=objects, usage=counts)
def test_counts_that_are_there_are_never_touched(
    kind: dict[str, Any], name: str, body: dict[str, Any], usage: dict[str, Any]
) -> None:
    content = json.dumps(body | kind | {name: usage}).encode()

    assert prepared(content) is content


@pytest.mark.parametrize(
    "kind, name",
    [
        ({"type": "message"}, "usage"),
        ({"candidates": []}, "usageMetadata"),
        ({"choices": []}, "usage"),
    ],
)
@pytest.mark.parametrize(
    "reported, read",
    [
        ({"prompt_tokens": "30", "total_tokens": 70.0}, {"prompt_tokens": 30, "total_tokens": 70}),
        ({"prompt_tokens": -3, "completion_tokens": 1.5, "total_tokens": True}, {}),
        ({"prompt_tokens": {"a": 1}, "promptTokenCount": [1], "total_tokens": None}, {}),
        ({"prompt_tokens": 10**30, "cost": 0.01}, {"prompt_tokens": 10**30}),
        ({"prompt_tokens_details": 7, "total_tokens": "9" * 31, "x": "y"}, {}),
        ({"details": {"cached_tokens": 5, "audio_tokens": "x"}}, {"details": {"cached_tokens": 5}}),
        ([{"prompt_tokens": 30}], {}),
        ("30", {}),
        (None, {}),
        (float("nan"), {}),
    ],
)
def test_law_6_what_is_no_count_is_left_out_so_that_the_answer_is_not_lost(
    kind: dict[str, Any], name: str, reported: Any, read: dict[str, Any]
) -> None:
    content = json.dumps(kind | {name: reported}).encode()

    assert json.loads(prepared(content)) == kind | {name: read}


@pytest.mark.parametrize("name", ["annotations", "images", "audio", "reasoning_details"])
def test_parts_of_a_message_that_nobody_reads_are_left_out(name: str) -> None:
    choice = {"index": 0, "message": {"content": "Hi", name: [{"type": "x"}]}}

    left = json.loads(prepared(json.dumps({"id": "c", "choices": [choice]}).encode()))

    assert left["choices"] == [{"index": 0, "message": {"content": "Hi"}}]


@given(objects)
def test_an_answer_of_another_form_is_handed_on_as_it_is(body: dict[str, Any]) -> None:
    content = json.dumps(body).encode()

    assert prepared(content) is content


@given(st.binary(max_size=40))
def test_what_is_no_json_object_is_never_handed_on(content: bytes) -> None:
    try:
        assert isinstance(json.loads(prepared(content)), dict)
    except UnreadableAnswer:
        with pytest.raises((ValueError, AssertionError)):
            assert isinstance(json.loads(content), dict)


def with_choices(count: int, name: str = "choices") -> bytes:
    return json.dumps({name: [{"index": 0}] * count, "usageMetadata": {}}).encode()


def nested(depth: int) -> bytes:
    """An object with a list in a list, ``depth`` levels in all."""
    return b'{"a":' + b"[" * (depth - 1) + b"]" * (depth - 1) + b"}"


@pytest.mark.parametrize(
    "at_the_bound, beyond",
    [
        pytest.param(with_choices(MAX_CHOICES), with_choices(MAX_CHOICES + 1), id="choices"),
        pytest.param(
            with_choices(MAX_CHOICES, "candidates"),
            with_choices(MAX_CHOICES + 1, "candidates"),
            id="candidates",
        ),
        pytest.param(nested(MAX_DEPTH), nested(MAX_DEPTH + 1), id="depth"),
        pytest.param(
            json.dumps({"a": [0] * (MAX_VALUES - 1)}).encode(),
            json.dumps({"a": [0] * MAX_VALUES}).encode(),
            id="values",
        ),
        pytest.param(
            json.dumps({"choices": [0], "a": [0] * (MAX_VALUES_OF_CHOICES - 3)}).encode(),
            json.dumps({"choices": [0], "a": [0] * (MAX_VALUES_OF_CHOICES - 2)}).encode(),
            id="values beside choices",
        ),
        pytest.param(
            json.dumps({"a": "," * (MAX_MARKS - 1)}).encode(),
            json.dumps({"a": "," * MAX_MARKS}).encode(),
            id="marks",
        ),
    ],
)
def test_law_15_an_answer_is_handed_on_at_the_bound_and_not_beyond_it(
    at_the_bound: bytes, beyond: bytes
) -> None:
    assert prepared(at_the_bound) is at_the_bound
    with pytest.raises(UnreadableAnswer):
        prepared(beyond)


def tried(content: bytes) -> None:
    with suppress(UnreadableAnswer):
        prepared(content)


def filled(piece: bytes, size: int = MAX_ANSWER_BYTES) -> bytes:
    return piece * (size // len(piece))


HOSTILE = {
    "lists": b'{"a":[' + b"[]," * (MAX_MARKS // 2 - 2) + b"0]}",
    "objects": b'{"a":[' + b'{"a":[]},' * (MAX_MARKS // 3 - 2) + b"0]}",
    "numbers": b'{"a":[' + b"0," * (MAX_MARKS - 2) + b"0]}",
    "names": b"{" + b",".join(b'"%d":0' % n for n in range(MAX_MARKS - 1)) + b"}",
    "long numbers": b'{"a":1.' + filled(b"1") + b"}",
    "one long text": b'{"a":"' + filled(b"\\u4f60") + b'"}',
    "escapes": b'{"a":"' + filled(b'\\"') + b'"}',
    "open text": b'{"a":"' + filled(b'\\"'),
    "open lists": filled(b"["),
    "open lists below the marks": b"[" * MAX_MARKS,
    "spaces": filled(b" "),
    "bytes": filled(b"\xff"),
}


@pytest.mark.parametrize("content", HOSTILE.values(), ids=HOSTILE)
def test_law_15_looking_at_an_answer_of_any_form_takes_little_time_and_memory(
    content: bytes,
) -> None:
    assert cpu_s(lambda: tried(content)) < MOST_S
    assert peak_bytes(lambda: tried(content)) < 12 * MAX_ANSWER_BYTES


@pytest.mark.parametrize("piece", [b'\\"', b"\\u4f60", b" ", b"x"])
def test_law_15_a_text_of_twice_the_size_takes_about_twice_the_time(piece: bytes) -> None:
    assert_linear(
        lambda size: b'{"a":"' + filled(piece, size) + b'"}', tried, MAX_ANSWER_BYTES // 2
    )


@pytest.mark.parametrize(
    "error, status",
    [
        ({"code": 429, "message": "Rate limited by the provider"}, 429),
        ({"code": "429"}, 429),
        ({"code": 502, "message": "Provider returned error"}, 502),
        ({"code": 402, "message": "Insufficient credits"}, 402),
        ({"code": 503}, 503),
        ({"code": "rate_limit_exceeded"}, 429),
        ({"code": "insufficient_quota"}, 429),
        ({"type": "overloaded_error"}, 503),
        ({"type": "invalid_request_error", "code": None}, 400),
        ({"code": 200}, 502),
        ({"code": 10**30}, 502),
        ({"message": "something broke"}, 502),
        ("model not found", 502),
    ],
)
def test_law_6_an_error_inside_a_200_has_the_status_of_its_own_code(
    error: object, status: int
) -> None:
    body = json.dumps({"id": "gen-1", "error": error}).encode()

    assert status_of(body) == status


@pytest.mark.parametrize(
    "body",
    [
        {"choices": [{"message": {"content": "ok"}}], "error": {"code": 429}},
        {"choices": [{"message": {"content": '"error": {"code": 429}'}}]},
        {"choices": [], "error": None},
        {"choices": [], "error": {}},
        {"candidates": [{}], "error": {"code": 429}},
        [{"error": {"code": 429}}],
        {},
    ],
)
def test_an_answer_that_is_there_is_no_error(body: object) -> None:
    assert status_of(json.dumps(body).encode()) == 200
