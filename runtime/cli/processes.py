"""The running processes, as ``check-config`` compares them with the file."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from runtime.config import Config
    from runtime.processes.running import OtherVersion


class Processes:
    """The processes that run, as far as Redis could tell.

    Args:
        version: of the configuration in the file.
        same: the number of processes that run it.
        others: the versions that other processes run.
        not_seen_because: why Redis could not be asked; empty if it was.
    """

    def __init__(
        self,
        version: str,
        same: int = 0,
        others: Sequence[OtherVersion] = (),
        not_seen_because: str = "",
    ) -> None:
        self.version = version
        self._same = same
        self._others = others
        self._not_seen_because = not_seen_because

    def lines(self, file: Path, *, is_embedded: bool) -> list[str]:
        """Return what there is to say, each on a line."""
        name = click.format_filename(file)
        if self._not_seen_because and not is_embedded:
            return [f"note: which configuration runs is not known: {self._not_seen_because}"]
        return [
            f"warning: {other.text}, {name} is {self.version} (since {_since(other)}): "
            "reload or restart them"
            for other in self._others
        ]

    def to_json(self) -> dict[str, Any]:
        """Return the same as plain JSON types."""
        others = [
            {
                "version": other.version,
                "processes": other.processes,
                "hosts": list(other.hosts),
                "since": _since(other),
            }
            for other in self._others
        ]
        return {
            "same": None if self._not_seen_because else self._same,
            "others": others,
            "not_seen_because": self._not_seen_because or None,
        }


def processes_of(config: Config) -> Processes:
    """Return the processes that run, within the time limit of ``redis.timeout_ms``.

    It never fails: where Redis can't be asked, the result says why. No server is started.
    """
    from runtime.config.version import config_version

    version = config_version(config)
    if config.redis.is_embedded:
        return Processes(version, not_seen_because="redis.url is embedded")
    import asyncio

    return asyncio.run(_ask(config, version))


async def _ask(config: Config, version: str) -> Processes:
    import asyncio

    from runtime.processes.running import exchange, other_versions
    from runtime.redis.client import open_client
    from runtime.redis.errors import described
    from runtime.redis.keys import Keys

    timeout_s = config.redis.timeout_ms / 1000
    try:
        async with (
            asyncio.timeout(2 * timeout_s),
            open_client(config.redis, config.data_dir) as client,
        ):
            running = await exchange(client, Keys(config.redis.key_prefix), timeout_s)
    except Exception as error:  # noqa: BLE001 - redis-py raises more than its own errors
        return Processes(version, not_seen_because=described(error))
    same = sum(one.version == version for one in running)
    return Processes(version, same, other_versions(running, version))


def _since(other: OtherVersion) -> str:
    try:
        at = datetime.fromtimestamp(other.since_ms / 1000, UTC)
    except (ValueError, OverflowError, OSError):
        return "an unknown time"
    return at.strftime("%Y-%m-%dT%H:%M:%SZ")
