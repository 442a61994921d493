"""The life of a worker process: it is ready, runs slices, tells how it goes, drains and ends."""

from __future__ import annotations

import asyncio
import logging
import os
import time
from collections.abc import Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from runtime.campaigns.run import Then
from runtime.cli.config_file import load
from runtime.cli.failures import GAVE_UP
from runtime.cli.interruption import Interruption
from runtime.cli.ledger import print_json, run_async
from runtime.cli.options import BadInput
from runtime.cli.reloading import ConfigReload, has_terminal
from runtime.cli.service_logs import begin_logs
from runtime.config import Config
from runtime.queue.entries import Ended
from runtime.wording.runs import holding_text, trouble_text
from runtime.worker.holds import Held
from runtime.worker.opening import OpenWorker, open_worker

_log = logging.getLogger("creditgate.worker")

_TELL_EVERY_S = 5.0

OnReady = Callable[[OpenWorker], Awaitable[object]]


@dataclass(frozen=True, slots=True)
class Settings:
    """Options of the command line that replace those of the config's section ``worker``."""

    patience_s: float | None = None
    then: Then | None = None
    drains: bool = False


def work(config_path: Path, settings: Settings, *, as_json: bool) -> int:
    """Work by a config file until a signal; return the exit status.

    Raises:
        BadInput: the config asks for the embedded server.
        KeyboardInterrupt: a signal before it was ready, or a second one, ended it at once.
    """
    config = load(config_path)
    if config.redis.is_embedded:
        raise BadInput(
            "redis.url is embedded, which serves one process and no other one. Set it to the "
            "address of a Redis, or try the worker with --demo"
        )
    begin_logs()
    return run_async(run_worker(config, settings, ConfigReload(config_path), as_json=as_json))


async def run_worker(
    config: Config,
    settings: Settings,
    reload: ConfigReload | None,
    *,
    as_json: bool,
    on_ready: OnReady | None = None,
    on_end: Callable[[Ended], object] = lambda ended: None,
) -> int:
    """Work until a signal or the end of patience, and return the exit status.

    Args:
        on_ready: called with the worker before it takes anything.
        on_end: hears of each request that ended.
    """
    async with AsyncExitStack() as stack:
        hang_up = None if reload is None or has_terminal() else reload.ask
        interruption = stack.enter_context(Interruption(hang_up))
        opened = await stack.enter_async_context(
            open_worker(
                config,
                patience_s=settings.patience_s,
                then=settings.then,
                drains=settings.drains,
                on_end=on_end,
            )
        )
        if reload is not None:
            await stack.enter_async_context(reload.serving(opened))
        if on_ready is not None:
            await on_ready(opened)

        def stop() -> None:
            _log.info("ending: executions that run may end; a second signal cancels them")
            opened.worker.stop()

        interruption.steps = [stop, opened.worker.cancel]
        _log.info("working", extra={"worker": opened.name, "pid": os.getpid()})
        if as_json:
            print_json({"worker": opened.name, "pid": os.getpid()})
        telling = asyncio.create_task(_tell(opened, settings))
        try:
            await opened.run()
        finally:
            interruption.steps = []
            telling.cancel()
            await asyncio.wait([telling])
        gave_up = opened.worker.gave_up
        if gave_up is not None:
            _log.error("stopped, and what is left stays in the queue: %s", _trouble(gave_up))
        _log.info("ended", extra=_figures(opened))
        if as_json:
            trouble = None if gave_up is None else _trouble(gave_up)
            print_json({"worker": opened.name, **_figures(opened), "gave_up": trouble})
    return 0 if gave_up is None else GAVE_UP


async def _tell(opened: OpenWorker, settings: Settings) -> None:
    """Log how it goes: people and dead letters every few seconds, and holds as they are."""
    told = _figures(opened)
    while True:
        await asyncio.sleep(_TELL_EVERY_S)
        for held in opened.worker.holds:
            now_s = time.monotonic()
            hold = held.hold
            then = settings.then or Then(opened.config.worker.then)
            _log.warning(
                "%s",
                holding_text(_trouble(held), now_s - hold.since_s, hold.until_s - now_s, then),
            )
        if told != (now := _figures(opened)):
            told = now
            running = {"slices": opened.worker.slices, "in_flight": opened.worker.in_flight}
            _log.info("running", extra={**now, **running})


def _figures(opened: OpenWorker) -> dict[str, Any]:
    people = opened.tally.people
    return {
        "people": people.people,
        "model": people.model,
        "mixed": people.mixed,
        "fallback": people.fallback,
        "replayed": people.replayed,
        "dead": opened.tally.dead,
        "charged_mc": people.charged_mc,
    }


def _trouble(held: Held) -> str:
    found = held.hold.trouble
    kind, name = held.place
    endpoint = found.endpoint or (name if kind == "endpoint" else None)
    return trouble_text(found.reason, found.status, found.detail, endpoint)
