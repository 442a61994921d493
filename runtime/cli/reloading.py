"""SIGHUP: read the config file again and run by it, as long-lived commands do."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Protocol

from pricing.errors import CreditgateError
from runtime.config import Config, ConfigError, load_config
from runtime.config.version import config_version

_log = logging.getLogger("creditgate.reload")

_TERMINAL = "/dev/tty"


def has_terminal() -> bool:
    """Return whether the process has a terminal, which it could lose.

    A service, a container without a terminal and a job of cron have none.
    """
    try:
        os.close(os.open(_TERMINAL, os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return any(os.isatty(number) for number in range(3))
    return True


class Reloadable(Protocol):
    """A runtime, or a service with one."""

    async def reload(self, config: Config) -> None:
        """Run by another configuration from now on, or raise and change nothing."""
        ...


class ConfigReload:
    """Reads a config file again when asked to, one time after the other.

    What is wrong with the file is logged with line and field, and the configuration in force
    stays.

    Args:
        tell: called with a sentence once another configuration is in force.
    """

    def __init__(self, path: Path, tell: Callable[[str], object] = _log.info) -> None:
        self._path = path
        self._tell = tell
        self._is_asked = asyncio.Event()

    def ask(self) -> None:
        """Ask for the file to be read again, now or once a runtime is served."""
        self._is_asked.set()

    @asynccontextmanager
    async def serving(self, runtime: Reloadable) -> AsyncIterator[None]:
        """Reload a runtime when asked to, until the end of the block."""
        task = asyncio.create_task(self._serve(runtime))
        try:
            yield
        finally:
            task.cancel()
            await asyncio.wait([task])

    async def _serve(self, runtime: Reloadable) -> None:
        while True:
            await self._is_asked.wait()
            self._is_asked.clear()
            try:
                config = await asyncio.to_thread(load_config, self._path)
                await runtime.reload(config)
            except ConfigError as error:
                for mistake in error.mistakes:
                    _log.error("%s; the configuration in force stays", mistake)
            except CreditgateError as error:
                _log.error("%s; the configuration in force stays", error)
            except Exception:  # noqa: BLE001 - a file must not end what runs
                _log.exception("%s can't be read again", self._path)
            else:
                for warning in config.warnings:
                    _log.warning("%s", warning)
                self._tell(f"{self._path} was read again: configuration {config_version(config)}")
