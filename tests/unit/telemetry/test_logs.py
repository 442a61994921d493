"""Log lines, as operators and their tools read them."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable
from typing import Any

import pytest

from runtime.telemetry.logs import log_handler
from runtime.telemetry.requests import CurrentRequest, current_request

PRIVATE = "jane@example.com"
Write = Callable[..., dict[str, Any]]


@pytest.fixture
def write() -> Write:
    """Write one record through a handler; return it as it was read again."""

    def written(
        message: str, *args: object, name: str = "creditgate.test", whole: bool = False, **how: Any
    ) -> dict[str, Any]:
        stream = io.StringIO()
        logger = logging.getLogger(name)
        handler = log_handler(stream, as_json=True, whole_errors=whole)
        logger.addHandler(handler)
        logger.propagate = False
        try:
            logger.warning(message, *args, **how)
        finally:
            logger.removeHandler(handler)
            logger.propagate = True
        [line] = stream.getvalue().splitlines()
        found: dict[str, Any] = json.loads(line)
        return found

    return written


def fail() -> None:
    raise ValueError(f"{PRIVATE} is not valid")


def failure() -> ValueError:
    """An error with its trace."""
    try:
        fail()
    except ValueError as error:
        return error
    raise AssertionError


def test_a_record_is_one_line_of_json(write: Write) -> None:
    found = write("read\nagain %s", "now", extra={"count": 3})
    assert found.pop("timestamp").endswith("Z")
    assert found == {
        "event": "read\nagain now",
        "logger": "creditgate.test",
        "level": "warning",
        "count": 3,
    }


def test_what_is_logged_in_a_request_has_its_id(write: Write) -> None:
    token = current_request.set(CurrentRequest("r-17"))
    try:
        assert write("slow")["request_id"] == "r-17"
    finally:
        current_request.reset(token)
    assert "request_id" not in write("slow")


def test_an_exception_tells_its_type_and_places_and_not_its_message(write: Write) -> None:
    found = write("it broke", exc_info=failure())
    assert found["exception"] == "ValueError"
    assert found["places"][-1].startswith("unit/telemetry/test_logs.py:")
    assert found["places"][-1].endswith(" fail")
    assert PRIVATE not in json.dumps(found)


def test_whole_errors_are_logged_where_they_are_asked_for(write: Write) -> None:
    found = write("it broke", exc_info=failure(), whole=True)
    assert PRIVATE in found["exception"]


def test_of_libraries_the_first_line_is_logged_and_cut_off(write: Write) -> None:
    text = f"Task exception was never retrieved {'x' * 1_000}\nfuture: <Task {PRIVATE}>"
    found = write(text, name="asyncio")
    assert found["event"].startswith("Task exception was never retrieved")
    assert len(found["event"]) == 300
    assert PRIVATE not in json.dumps(found)


def test_on_a_terminal_lines_are_readable() -> None:
    stream = io.StringIO()
    record = logging.LogRecord("creditgate.x", logging.INFO, "x.py", 1, "listening", (), None)
    record.url = "http://127.0.0.1:8320"
    line = log_handler(stream, as_json=False).format(record)
    assert "listening" in line
    assert "url=http://127.0.0.1:8320" in line
