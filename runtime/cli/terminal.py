"""Output that can't steer a terminal, whatever is in a prompt, an answer, a name or an error."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, TextIO, cast

# Controls of C0 (but for tab and newline) and C1, those that reorder text, other line ends, and
# halves of surrogate pairs, which can't be encoded.
_HARMFUL = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200e\u200f\u2028-\u202e\u2066-\u206f\ud800-\udfff]"
)


def harmless(text: str) -> str:
    r"""Return a text with control characters made visible, as ``\u001b``.

    That is also how JSON writes them: a JSON text means the same afterwards.
    """
    return _HARMFUL.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


class _Harmless:
    """A text stream that makes everything harmless which is written to it."""

    def __init__(self, stream: TextIO) -> None:
        self.stream = stream

    def write(self, text: str) -> int:
        if not isinstance(text, str):
            raise TypeError(f"write() takes text, not {type(text).__name__}")
        self.stream.write(self._encodable(harmless(text)))
        return len(text)

    def __getattr__(self, name: str) -> Any:
        if name == "buffer":
            # click looks for it to go around a stream in ASCII, and so around `write`.
            raise AttributeError(name)
        return getattr(self.stream, name)

    def _encodable(self, text: str) -> str:
        encoding = self.stream.encoding or "utf-8"
        return text.encode(encoding, "backslashreplace").decode(encoding)


@contextmanager
def harmless_output() -> Iterator[None]:
    """Make what is written to stdout and stderr harmless while it is entered.

    Logs, warnings and click's own messages go through it too. Only what draws on a terminal on
    purpose, as the progress bar, writes to the stream itself: ``terminal()``.
    """
    before = sys.stdout, sys.stderr
    wrapped = tuple(stream and cast("TextIO", _Harmless(stream)) for stream in before)
    sys.stdout, sys.stderr = wrapped
    try:
        yield
    finally:
        # click puts another stream there when the reader of a pipe has gone.
        if sys.stdout is wrapped[0]:
            sys.stdout = before[0]
        if sys.stderr is wrapped[1]:
            sys.stderr = before[1]


def terminal(stream: TextIO) -> TextIO:
    """Return the stream itself, for those who make their texts harmless themselves."""
    return stream.stream if isinstance(stream, _Harmless) else stream


def can_ask() -> bool:
    """Return whether there is somebody at a terminal to ask."""
    streams = (sys.stdin, sys.stderr)
    return all(stream is not None and stream.isatty() for stream in streams)
