"""The interface of a system that takes part."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from tests.peers.accounting import Books, Ended
from tests.peers.processes import Program
from tests.peers.scenario import Plan


@dataclass(frozen=True, slots=True)
class Stage:
    """What a system is started with."""

    plan: Plan
    provider: str
    folder: Path
    redis_port: int


class Running(Protocol):
    """A system that runs in two processes."""

    urls: tuple[str, str]
    path: str
    headers: Mapping[str, str]
    programs: tuple[Program, Program]

    def body(self, call_id: str) -> dict[str, Any]:
        """Return the request of a call."""
        ...

    def read(self, status: int, body: bytes) -> Ended:
        """Return what an answer says."""
        ...

    async def books(self, ids: list[str] | None) -> Books:
        """Return what the system says of its budget.

        Args:
            ids: the calls whose charges are wanted too.
        """
        ...


@dataclass(frozen=True, slots=True)
class System:
    """A system that takes part. ``tests/peers/notes`` has what a reader must know of it.

    Args:
        install: makes its environment, and returns the versions; may raise ``DidNotStart``.
        start: starts it on a stack that ends it.
        has_budget: false where there is none to set.
        same_id: what a repeated id does there.
        books: what its books can be asked.
        configuration: the files in ``tests/peers/configurations`` that it runs with.
    """

    name: str
    title: str
    install: Callable[[], Mapping[str, str]]
    start: Callable[[AsyncExitStack, Stage], Any]
    has_budget: bool
    same_id: str
    books: str
    configuration: tuple[str, ...]
