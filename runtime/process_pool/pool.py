"""The parent's side of the pool: which process executes what, and what became of it."""

from __future__ import annotations

import asyncio
import logging
import multiprocessing
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import astuple, dataclass, field
from multiprocessing.process import BaseProcess
from typing import Any

from runtime.actions.requests import ExecutionRequest, ExecutionResult, Pending
from runtime.actions.spec import ActionSpec
from runtime.campaigns.holding import NoSign, Trouble, sign_of
from runtime.config import Config
from runtime.credits.results import Alert
from runtime.executions.counters import Counters
from runtime.process_pool.child import SIGNALS, run_child
from runtime.process_pool.link import Link, open_link
from runtime.process_pool.messages import (
    Action,
    Cancel,
    Close,
    Closed,
    Ended,
    Logged,
    ProcessesEnded,
    Raised,
    Ready,
    Reload,
    Told,
    execute_message,
    frame,
    unpack,
)

MOST_PROCESSES = 64

_END_WITHIN_S = 60.0
"""The time for a process to finish what it settles and close; it takes longer only if it hangs."""
_REAP_WITHIN_S = 5.0
_MOST_DEATHS = 3
"""A request that so many processes died of, or with, is given to no other one."""

_log = logging.getLogger("creditgate.processes")


@asynccontextmanager
async def open_pool(
    config: Config, processes: int, *, on_alert: Callable[[Alert], None] = lambda alert: None
) -> AsyncIterator[ProcessPool]:
    """Open a runtime in each of so many processes.

    Leaving the block waits until all of them have finished what they settle. One that dies before
    is replaced by none: what it executed is asked again of the others, under the same ids.

    Args:
        on_alert: as ``open_runtime`` has it, for the alerts of all processes.

    Raises:
        ProcessesEnded: a process ended before its runtime was open.
        CreditgateError: what ``open_runtime`` raises.
    """
    if not 1 <= processes <= MOST_PROCESSES:
        raise ValueError(f"processes: found {processes}, allowed is 1 to {MOST_PROCESSES}")
    pool = ProcessPool(on_alert)
    try:
        await pool.open(config, processes)
        yield pool
    finally:
        await pool.aclose()


@dataclass(eq=False, slots=True)
class _Call:
    """A request that a process was given, and who waits for its end."""

    request: ExecutionRequest
    ended: asyncio.Future[ExecutionResult | Pending]
    deaths: int = 0


@dataclass(eq=False, slots=True)
class _Child:
    """A process of the pool, as the parent knows it.

    Args:
        is_troubled: its last sign was trouble, so that it is to try with one request first.
        actions: the numbers of the actions that it was told, by version.
        resumes_at_s: until then its calls are certain to fail.
    """

    process: BaseProcess
    link: Link
    ready: asyncio.Future[None]
    calls: dict[int, _Call] = field(default_factory=dict)
    reloads: dict[int, asyncio.Future[None]] = field(default_factory=dict)
    actions: dict[str, int] = field(default_factory=dict)
    counters: Sequence[int] = ()
    is_troubled: bool = False
    is_closed: bool = False
    resumes_at_s: float = 0.0


class ProcessPool:
    """Executes requests in several processes; ``open_pool`` opens it."""

    def __init__(self, on_alert: Callable[[Alert], None]) -> None:
        self._on_alert = on_alert
        self._children: list[_Child] = []
        self._gone: list[_Child] = []
        self._numbers = 0
        self._is_closing = False
        self._ends: set[asyncio.Task[None]] = set()

    @property
    def counters(self) -> Counters:
        """The counters of all processes together."""
        all_counters = [astuple(Counters())]
        all_counters += [
            tuple(child.counters) for child in self._children + self._gone if child.counters
        ]
        return Counters(*(sum(column) for column in zip(*all_counters, strict=True)))

    @property
    def pids(self) -> list[int]:
        """The process ids of the processes that live."""
        return [child.process.pid or 0 for child in self._children]

    async def open(self, config: Config, processes: int) -> None:
        """Start the processes, and wait until all have opened their runtime."""
        for _ in range(processes):
            self._children.append(await self._started(config))
        await asyncio.gather(*(child.ready for child in self._children))

    async def execute(self, request: ExecutionRequest) -> ExecutionResult | Pending:
        """Run the action in one of the processes, as ``ActionRuntime.execute`` does.

        Raises:
            ProcessesEnded: no process is left, or several died while they executed the request.
            CreditgateError: what ``ActionRuntime.execute`` raises.
        """
        call = _Call(request, asyncio.get_running_loop().create_future())
        number = self._number()
        self._give(number, call)
        try:
            return await call.ended
        except asyncio.CancelledError:
            for child in self._children:
                if number in child.calls:
                    child.link.send(frame(Cancel(number)))
            raise

    def resumes_in_ms(self, spec: ActionSpec) -> int:
        """Return how long calls are certain to fail in one of the processes, as far as they told.

        It is the longest time: the provider asked one of them for a pause that is meant for all.
        """
        at_s = max((child.resumes_at_s for child in self._children), default=0.0)
        return max(0, round((at_s - time.monotonic()) * 1000))

    async def reload(self, config: Config) -> None:
        """Run by another configuration from now on, in every process.

        Raises:
            ConfigError: as ``ActionRuntime.reload``.
        """
        futures = []
        for child in self._children:
            number, future = self._number(), asyncio.get_running_loop().create_future()
            child.reloads[number] = future
            futures.append(future)
            child.link.send(frame(Reload(number, config)))
        ended = await asyncio.gather(*futures, return_exceptions=True)
        for error in ended:
            if isinstance(error, BaseException):
                raise error

    async def aclose(self) -> None:
        """Wait for what the processes settle, and end them."""
        self._is_closing = True
        for child in self._children:
            if child.ready.done():
                child.link.send(frame(Close()))
            else:
                child.ready.cancel()
                child.process.kill()  # it has reserved nothing yet
        children = [*self._children, *self._gone]
        await asyncio.gather(*(asyncio.to_thread(_end, child.process) for child in children))
        await asyncio.gather(*self._ends)
        for child in children:
            await child.link.aclose()
            child.process.close()

    # Giving out requests

    def _number(self) -> int:
        self._numbers += 1
        return self._numbers

    def _give(self, number: int, call: _Call) -> None:
        child = self._chosen()
        if child is None:
            raise ProcessesEnded(
                "all processes of the run have ended, which something else killed (was the memory "
                "used up?). Run it again: who has an answer keeps it, and nobody is charged twice"
            )
        request = call.request
        action = request.action
        name = action if isinstance(action, str) else self._told(child, action)
        child.link.send(frame(execute_message(number, request, name)))
        child.calls[number] = call

    def _chosen(self) -> _Child | None:
        """Return the process with the least to do.

        One whose last call failed gets one request at a time while others are better off: its
        breaker may still have to find out that the provider answers again.
        """
        fit = [child for child in self._children if not (child.is_troubled and child.calls)]
        return min(fit or self._children, key=lambda child: len(child.calls), default=None)

    def _told(self, child: _Child, action: ActionSpec) -> int:
        number = child.actions.get(action.version)
        if number is None:
            number = len(child.actions)
            child.link.send(frame(Action(number, action)))
            child.actions[action.version] = number
        return number

    # What the processes say

    def _take(self, child: _Child, message: object) -> None:
        if isinstance(message, Ended):
            self._ended(child, message)
        elif isinstance(message, Raised):
            self._raised(child, message)
        elif isinstance(message, Ready):
            if not child.ready.done():
                child.ready.set_result(None)
        elif isinstance(message, Told):
            self._on_alert(message.alert)
        elif isinstance(message, Logged):
            logging.getLogger(message.name).log(message.level, "%s", message.text)
        elif isinstance(message, Closed):
            child.is_closed, child.counters = True, message.counters

    def _ended(self, child: _Child, message: Ended) -> None:
        child.counters = message.counters
        if message.result is None:
            _resolve(child.reloads.pop(message.number, None), None)
            return
        call = child.calls.pop(message.number)
        result = unpack(message.result)
        sign = sign_of(result)
        if isinstance(sign, Trouble):
            child.is_troubled = True
            child.resumes_at_s = time.monotonic() + message.resumes_in_ms / 1000
        elif sign is NoSign.ANSWERED:
            child.is_troubled, child.resumes_at_s = False, 0.0
        _resolve(call.ended, result)

    def _raised(self, child: _Child, message: Raised) -> None:
        error = message.error()
        call = child.calls.pop(message.number, None)
        future: asyncio.Future[Any] | None = child.reloads.pop(message.number, None)
        if call is not None:
            future = call.ended
        elif message.number < 0:
            child.is_closed = True
            future = child.ready
            if future.done():
                _log.error("a process of the run failed while it closed: %s", error)
        if future is not None and not future.done():
            future.set_exception(error)

    def _lost(self, child: _Child) -> None:
        """Give what a process did to the others, for it has ended."""
        if child in self._children:
            self._children.remove(child)
            self._gone.append(child)
        calls, child.calls = child.calls, {}
        waiting = [(number, call) for number, call in calls.items() if not call.ended.done()]
        if self._is_closing and not waiting:
            return
        task = asyncio.create_task(self._note_end(child, len(waiting)))
        self._ends.add(task)
        task.add_done_callback(self._ends.discard)
        for future in child.reloads.values():
            _resolve(future, None)
        for number, call in waiting:
            call.deaths += 1
            try:
                if call.deaths >= _MOST_DEATHS:
                    raise ProcessesEnded(
                        f"{call.deaths} processes ended while they executed the same requests; "
                        "what they died of may be in one of them"
                    )
                self._give(number, call)
            except ProcessesEnded as error:
                call.ended.set_exception(error)

    async def _note_end(self, child: _Child, people: int) -> None:
        await asyncio.to_thread(child.process.join, _REAP_WITHIN_S)
        how = _ending(child.process.exitcode)
        if not child.ready.done():
            error = ProcessesEnded(f"a process of the run ended while it started: {how}")
            child.ready.set_exception(error)
        else:
            _log.warning(
                "process %s of the run ended: %s. Others go on with the %s executions that it had "
                "begun, once what it had reserved for them is free again",
                *(child.process.pid, how, people),
            )

    # Starting

    async def _started(self, config: Config) -> _Child:
        ours, theirs = socket.socketpair()
        process = multiprocessing.get_context("spawn").Process(
            target=run_child, args=(theirs, config), daemon=True
        )
        # A process that starts would die of a Ctrl-C before it can say that it is not concerned.
        blocked = signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        try:
            process.start()
        except BaseException:
            ours.close()
            raise
        finally:
            signal.pthread_sigmask(signal.SIG_SETMASK, blocked)
            theirs.close()
        ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        link = Link(lambda message: self._take(child, message), lambda: self._lost(child))
        child = _Child(process, link, ready)
        await open_link(link, ours)
        return child


def _resolve(future: asyncio.Future[Any] | None, result: object) -> None:
    if future is not None and not future.done():
        future.set_result(result)


def _end(process: BaseProcess) -> None:
    process.join(_END_WITHIN_S)
    if process.exitcode is None:
        _log.warning("process %s of the run did not end within %g s", process.pid, _END_WITHIN_S)
        process.kill()
        process.join(_REAP_WITHIN_S)


def _ending(status: int | None) -> str:
    if status is not None and status < 0:
        try:
            return f"killed by {signal.Signals(-status).name}"
        except ValueError:
            return f"killed by signal {-status}"
    return f"exit status {'unknown' if status is None else status}"
