"""Structured logs: the standard library's loggers, through structlog's formatter.

Messages of creditgate are free of personal data. Those of libraries are not known to be: of theirs,
the first line is logged, cut off. Of an exception, its type and places are logged and never its
message, which may quote a prompt or an answer.
"""

from __future__ import annotations

import logging
import traceback
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, TextIO

import structlog
from structlog.typing import EventDict, Processor, WrappedLogger

from runtime.telemetry.requests import current_request

_OURS = "creditgate"
_LONGEST_FOREIGN = 300
_MOST_FRAMES = 30


def log_handler(stream: TextIO, *, as_json: bool, whole_errors: bool = False) -> logging.Handler:
    """Return a handler that writes each record as a line of JSON, or as a readable one.

    Args:
        whole_errors: write the messages of exceptions as well, which may hold personal data.
    """
    handler = logging.StreamHandler(stream)
    renderer: list[Processor]
    if as_json:
        renderer = [structlog.processors.JSONRenderer(ensure_ascii=False)]
    else:
        # No colours: the command line shows escapes of whatever it prints as text.
        renderer = [structlog.dev.ConsoleRenderer(colors=False)]
    before: Sequence[Processor] = (
        structlog.stdlib.add_logger_name,
        structlog.stdlib.add_log_level,
        structlog.stdlib.ExtraAdder(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        _add_request,
        _shorten_foreign,
        structlog.processors.format_exc_info if whole_errors else _add_places,
    )
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=before,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, *renderer],
        )
    )
    return handler


def begin_logging(handler: logging.Handler) -> None:
    """Let the handler write creditgate's records from INFO on, and those of libraries from WARNING.

    Handlers that the root logger had are taken off.
    """
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(logging.WARNING)
    logging.getLogger(_OURS).setLevel(logging.INFO)
    logging.captureWarnings(capture=True)


def _add_request(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    request = current_request.get()
    if request is not None:
        event.setdefault("request_id", request.request_id)
    return event


def _shorten_foreign(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    name = str(event.get("logger", ""))
    if name != _OURS and not name.startswith(f"{_OURS}."):
        first, _, _ = str(event.get("event", "")).partition("\n")
        event["event"] = first[:_LONGEST_FOREIGN]
    return event


def _add_places(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    found = event.pop("exc_info", None)
    event.pop("stack_info", None)
    error = found[1] if isinstance(found, tuple) else found
    if isinstance(error, BaseException):
        event["exception"] = type(error).__qualname__
        event["places"] = _places(error.__traceback__)
    return event


def _places(trace: TracebackType | None) -> list[str]:
    frames: Any = traceback.extract_tb(trace)[-_MOST_FRAMES:]
    return [f"{_short(frame.filename)}:{frame.lineno} {frame.name}" for frame in frames]


def _short(name: str) -> str:
    """Return a file's name without the folders that say where things are installed."""
    return "/".join(Path(name).parts[-3:])
