"""What a provider's wire format must give the mock provider to be spoken by it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Protocol

from providers.mock_answers import Answer, Asked
from providers.mock_options import Failure


class UnreadableRequest(Exception):
    """A request that is answered with 400; the message says what is wrong with it."""

    def __init__(self, message: str, field: str | None = None) -> None:
        super().__init__(message)
        self.field = field


class RenderFailure(Protocol):
    """Makes the body of an error."""

    def __call__(self, failure: Failure, message: str | None = None) -> dict[str, Any]:
        """Return the body; ``message`` replaces the usual one."""
        ...


@dataclass(frozen=True, slots=True)
class WireFormat:
    """One provider's requests and answers.

    ``read`` turns a body into an ``Asked`` or raises ``UnreadableRequest``; ``render`` makes the
    body of an answer with the id given to it.
    """

    paths: tuple[str, ...]
    read: Callable[[bytes], Asked]
    render: Callable[[Asked, Answer, str], dict[str, Any]]
    render_failure: RenderFailure
