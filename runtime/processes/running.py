"""The processes that run, as they are written to Redis: which configuration each one has."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cache

from runtime.redis.keys import Keys
from runtime.redis.primaries import Client, bounded
from runtime.redis.script import Script, read_lua, shipped_clock

SILENT_AFTER_MS = 90_000
MOST_PROCESSES = 1_000
LONGEST_BYTES = 160
_MOST_HOSTS_NAMED = 3

_MEMBER = re.compile(
    r"(?P<process>[0-9a-f]{16}) (?P<version>[0-9a-f]{12}) (?P<since_ms>[0-9]{1,15}) "
    r"(?P<host>[A-Za-z0-9._-]{1,64})"
)
_READS = re.compile(r"(?P<process>[0-9a-f]{16}) (?P<schema>[0-9]{1,6})")
_UNFIT_HOST = re.compile(r"[^A-Za-z0-9._-]")


@dataclass(frozen=True, slots=True)
class Running:
    """A process that runs.

    Args:
        process: an id of its own, at random.
        version: of its configuration.
        since_ms: when it began to run this version, by its host's clock.
        host: the name of its host.
    """

    process: str
    version: str
    since_ms: int
    host: str

    @property
    def member(self) -> str:
        """The text that stands for it in Redis."""
        host = _UNFIT_HOST.sub("-", self.host)[:64] or "-"
        return f"{self.process} {self.version} {self.since_ms} {host}"

    @classmethod
    def read(cls, stored: object) -> Running | None:
        """Return the process that a stored text stands for; ``None`` if it stands for none."""
        text = stored.decode("ascii", "replace") if isinstance(stored, bytes) else stored
        found = _MEMBER.fullmatch(text) if isinstance(text, str) else None
        if found is None:
            return None
        return cls(found["process"], found["version"], int(found["since_ms"]), found["host"])


@dataclass(frozen=True, slots=True)
class OtherVersion:
    """A version that others run, with the number of these processes, and some of their hosts.

    ``since_ms`` is when the first of them began to.
    """

    version: str
    processes: int
    hosts: tuple[str, ...]
    since_ms: int

    @property
    def text(self) -> str:
        """The processes and their version, as one clause."""
        are = "process runs" if self.processes == 1 else "processes run"
        return f"{self.processes:,} {are} configuration {self.version} (on {', '.join(self.hosts)})"


@cache
def _script() -> Script:
    return Script.of(f"{shipped_clock()}\n{read_lua(__package__, 'register.lua')}")


async def exchange(
    client: Client, keys: Keys, timeout_s: float, own: str = "", replaced: str = ""
) -> list[Running]:
    """Write a process, if one is given, and return all that run; at most ``MOST_PROCESSES``.

    Raises:
        RedisUnavailable: Redis can't be reached, or refuses.
    """
    found = await _exchange(client, keys.processes(), timeout_s, own, replaced)
    return [one for one in map(Running.read, found) if one is not None]


async def exchange_schemas(
    client: Client, keys: Keys, timeout_s: float, own: str = ""
) -> dict[str, int]:
    """Write what a process reads, if one is given; return the highest schema that each one reads.

    Processes of release 0.1 write none: they read schema 1.

    Raises:
        RedisUnavailable: as ``exchange``.
    """
    schemas = {}
    for stored in await _exchange(client, keys.schemas(), timeout_s, own):
        text = stored.decode("ascii", "replace") if isinstance(stored, bytes) else stored
        if isinstance(text, str) and (found := _READS.fullmatch(text)):
            schemas[found["process"]] = int(found["schema"])
    return schemas


async def _exchange(
    client: Client, key: str, timeout_s: float, own: str, replaced: str = ""
) -> list[object]:
    arguments: list[str | int] = [own, replaced, SILENT_AFTER_MS, MOST_PROCESSES, LONGEST_BYTES]
    async with bounded(timeout_s):
        stored = await _script().run(client, [key], arguments)
    return stored[:MOST_PROCESSES] if isinstance(stored, list) else []


def other_versions(running: Iterable[Running], version: str) -> Sequence[OtherVersion]:
    """Return the versions that differ from this one, the most frequent first."""
    by_version: dict[str, list[Running]] = {}
    for one in running:
        if one.version != version:
            by_version.setdefault(one.version, []).append(one)
    return sorted(
        (
            OtherVersion(other, len(found), _named(found), min(one.since_ms for one in found))
            for other, found in by_version.items()
        ),
        key=lambda one: (-one.processes, one.version),
    )


def _named(running: Iterable[Running]) -> tuple[str, ...]:
    hosts = sorted({one.host for one in running})
    return (*hosts[:_MOST_HOSTS_NAMED], *(["..."] if len(hosts) > _MOST_HOSTS_NAMED else []))
