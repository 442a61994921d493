"""A process of the pool: it opens a runtime, and executes what the parent asks for.

It ends when the parent tells it to, or is gone: executions are then cancelled, which releases their
credits. Signals are the parent's business. A terminal and a service manager send them to all
processes at once, and who runs on after the first Ctrl-C is decided in one place.
"""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
from collections.abc import Coroutine
from typing import Any

from runtime.actions.requests import ExecutionRequest
from runtime.actions.spec import ActionSpec
from runtime.bootstrap import open_runtime
from runtime.campaigns.holding import Trouble, sign_of
from runtime.config import Config
from runtime.event_loop import new_event_loop
from runtime.executions.action_runtime import ActionRuntime
from runtime.executions.counters import Counters
from runtime.process_pool.link import Link, open_link
from runtime.process_pool.messages import (
    Action,
    Cancel,
    Close,
    Closed,
    Ended,
    Execute,
    Logged,
    Ready,
    Reload,
    Told,
    frame,
    pack,
    raised,
)

SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
"""Those that the parent alone heeds."""


def run_child(sock: socket.socket, config: Config) -> None:
    """Open a runtime, and execute what comes through the socket until its end."""
    for number in SIGNALS:
        signal.signal(number, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
    # The output is the parent's alone; what a library prints must not come in between.
    os.dup2(2, 1)
    with asyncio.Runner(loop_factory=new_event_loop) as runner:
        runner.run(_serve(sock, config))


async def _serve(sock: socket.socket, config: Config) -> None:
    await _Child(config).run(sock)


class _Child:
    def __init__(self, config: Config) -> None:
        self._config = config
        self._actions: dict[int | str, ActionSpec | str] = {}
        self._tasks: dict[int, asyncio.Task[None]] = {}
        self._closing = asyncio.Event()
        self._runtime: ActionRuntime | None = None
        self._link = Link(self._take, self._closing.set)

    async def run(self, sock: socket.socket) -> None:
        """Serve the parent until it says to close, or is gone."""
        await open_link(self._link, sock)
        logs = logging.getLogger("creditgate")
        logs.addHandler(_Logs(self._link))
        logs.propagate = False  # or the last resort would print them too
        try:
            async with open_runtime(self._config, on_alert=self._tell) as runtime:
                self._runtime = runtime
                self._link.send(frame(Ready()))
                await self._closing.wait()
                await self._cancel_all()
        except Exception as error:  # noqa: BLE001 - the parent raises it
            self._link.send(raised(-1, error))
        else:
            self._link.send(frame(Closed(_counts(runtime.counters))))
        await self._link.aclose()

    def _tell(self, alert: Any) -> None:
        self._link.send(frame(Told(alert)))

    def _take(self, message: object) -> None:
        if isinstance(message, Execute):
            self._start(message.number, self._execute(message))
        elif isinstance(message, Action):
            self._actions[message.number] = message.spec
        elif isinstance(message, Cancel):
            if (task := self._tasks.get(message.number)) is not None:
                task.cancel()
        elif isinstance(message, Reload):
            self._start(message.number, self._reload(message))
        elif isinstance(message, Close):
            self._closing.set()

    def _start(self, number: int, work: Coroutine[Any, Any, bytes]) -> None:
        self._tasks[number] = asyncio.create_task(self._answer(number, work))

    async def _answer(self, number: int, work: Coroutine[Any, Any, bytes]) -> None:
        try:
            self._link.send(await work)
        except Exception as error:  # noqa: BLE001 - the parent raises it
            self._link.send(raised(number, error))
        finally:
            del self._tasks[number]

    async def _execute(self, message: Execute) -> bytes:
        runtime = self._opened()
        action = self._actions.get(message.action, str(message.action))
        request = ExecutionRequest(
            execution_id=message.execution_id,
            account_id=message.account_id,
            workspace_id=message.workspace_id,
            campaign_id=message.campaign_id,
            person_id=message.person_id,
            action=action,
            data=message.data,
            source=message.source,  # type: ignore[arg-type]  # a request has checked it
        )
        result = await runtime.execute(request)
        sign = sign_of(result)
        resumes_in_ms = 0
        if isinstance(sign, Trouble) and isinstance(action, ActionSpec):
            resumes_in_ms = runtime.resumes_in_ms(action)
        return frame(Ended(message.number, pack(result), resumes_in_ms, _counts(runtime.counters)))

    async def _reload(self, message: Reload) -> bytes:
        runtime = self._opened()
        await runtime.reload(message.config)
        return frame(Ended(message.number, None, 0, _counts(runtime.counters)))

    def _opened(self) -> ActionRuntime:
        if self._runtime is None:
            raise RuntimeError("the runtime is not open yet")
        return self._runtime

    async def _cancel_all(self) -> None:
        tasks = list(self._tasks.values())
        for task in tasks:
            if not task.cancelling():
                task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


def _counts(counters: Counters) -> tuple[int, ...]:
    return tuple([getattr(counters, name) for name in counters.__slots__])


class _Logs(logging.Handler):
    """Hands log records to the parent, which shows them."""

    def __init__(self, link: Link) -> None:
        super().__init__(logging.WARNING)
        self._link = link

    def emit(self, record: logging.LogRecord) -> None:
        self._link.send_soon(frame(Logged(record.name, record.levelno, record.getMessage())))
