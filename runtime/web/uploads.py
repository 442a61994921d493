"""Bodies of people, which are read as they arrive and are never whole in memory.

Each is read in a thread: rows are found by code that also reads files, and a long row or a large
batch holds up no other request. The thread waits while the client or the queue is slower.
"""

from __future__ import annotations

import asyncio
import io
import time
from collections.abc import Callable, Coroutine, Iterator
from concurrent.futures import CancelledError, Future, ThreadPoolExecutor
from dataclasses import dataclass
from itertools import islice
from threading import Event
from typing import Any, BinaryIO, TypeVar, cast

from starlette.requests import Request

from pricing.errors import CreditgateError
from runtime.campaigns.campaign import Campaign
from runtime.campaigns.column_types import ColumnRules, Columns, Survey
from runtime.campaigns.enqueueing import Import, ImportBehind, batches
from runtime.campaigns.people_csv import CsvRows
from runtime.campaigns.people_format import PeopleFormat
from runtime.campaigns.people_lines import JsonRows, Lines
from runtime.campaigns.people_rows import PeopleError, Person
from runtime.campaigns.people_stream import PieceStream, StreamError, open_stream
from runtime.web.problems import Problem

MOST_BYTES = 256 * 1024 * 1024
"""Of one body, as it is sent."""

MOST_ROWS = 1_000_000
"""Of one body."""

IDLE_S = 30.0
"""The longest that a client may send nothing."""

BODY_S = 600.0
"""The longest that one body may take, with what it takes to add its rows."""

MOST_UPLOADS = 16
"""Bodies that one process reads at once."""

PLACE = "the body"

_BUFFER_BYTES = 64 * 1024
_T = TypeVar("_T")


@dataclass(frozen=True, slots=True)
class BodyForm:
    """The form of a body: CSV or JSON Lines, packed with gzip or not.

    Args:
        rules: the types of CSV's columns; those without one are text.
    """

    is_csv: bool
    is_packed: bool
    form: PeopleFormat
    rules: ColumnRules


@dataclass(frozen=True, slots=True)
class Uploaded:
    """The end of a body.

    Args:
        rows: of the body, as far as it was read.
        line: of the row that is wrong, or the last one that was read.
        error: what ended it before its end.
    """

    rows: int
    line: int
    error: Exception | None = None


class Uploads:
    """Reads bodies of people, so many at once at most."""

    def __init__(self) -> None:
        self._threads = ThreadPoolExecutor(MOST_UPLOADS, "people")
        self._running = 0

    def close(self) -> None:
        """Take no more bodies."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    async def read(
        self, request: Request, form: BodyForm, campaign: Campaign, target: Import, row: int
    ) -> Uploaded:
        """Add the people of a request's body to an import; what stops it is in the answer.

        Args:
            row: the number of the body's first row in the import.

        Raises:
            Problem: too many bodies are read.
        """
        if self._running >= MOST_UPLOADS:
            raise Problem(
                503,
                "too_many_uploads",
                "Too many bodies of people",
                f"This process reads {MOST_UPLOADS} bodies of people at once. Send it again.",
                headers={"Retry-After": "5"},
            )
        self._running += 1
        calls = _Calls()
        reader = _Reader(_Body(request, calls), form, campaign, row)
        work = asyncio.wrap_future(self._threads.submit(reader.read, calls, target))
        try:
            return await work
        finally:
            calls.close()
            self._running -= 1


class _Calls:
    """Calls from a thread into the event loop, until they are closed."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._last: Future[Any] | None = None
        self._closed = Event()

    def run(self, work: Callable[[], Coroutine[Any, Any, _T]]) -> _T:
        """Return what a coroutine returns; called in the thread.

        Raises:
            CancelledError: nobody waits any more.
        """
        if self._closed.is_set():
            raise CancelledError
        self._last = future = asyncio.run_coroutine_threadsafe(work(), self._loop)
        if self._closed.is_set():
            future.cancel()
        return future.result()

    def close(self) -> None:
        """End the thread, wherever it waits."""
        self._closed.set()
        if self._last is not None:
            self._last.cancel()


class _Body(PieceStream):
    """A request's body as a file, within its bounds. ``problem`` is the bound that it broke."""

    def __init__(self, request: Request, calls: _Calls) -> None:
        super().__init__()
        self.problem: Problem | None = None
        self._request = request
        self._calls = calls
        self._size = 0
        self._until_s = time.monotonic() + BODY_S
        self._is_done = False

    def _next(self) -> bytes | None:
        if self._is_done:
            return None
        try:
            return self._calls.run(self._receive)
        except TimeoutError:
            raise self._broken(
                408,
                "body_too_slow",
                "The body took too long",
                f"A body of people must arrive within {BODY_S:g} s, with a pause of at most "
                f"{IDLE_S:g} s; {self._size:,} bytes of it did.",
            ) from None

    async def _receive(self) -> bytes:
        left_s = self._until_s - time.monotonic()
        async with asyncio.timeout(max(0.0, min(IDLE_S, left_s))):
            message = await self._request.receive()
        if message["type"] == "http.disconnect":
            raise StreamError("is cut off: the client has gone")
        piece: bytes = message.get("body", b"")
        self._size += len(piece)
        self._is_done = not message.get("more_body", False)
        if self._size > MOST_BYTES:
            raise self._broken(
                413,
                "body_too_large",
                "The body is too large",
                f"A body of people may have {MOST_BYTES:,} bytes; send the others with the next.",
            )
        return piece

    def _broken(self, status: int, kind: str, title: str, detail: str) -> StreamError:
        self.problem = Problem(status, kind, title, detail)
        return StreamError(detail)


class _Reader:
    """Reads one body in a thread."""

    def __init__(self, body: _Body, form: BodyForm, campaign: Campaign, row: int) -> None:
        self._body = body
        self._form = form
        self._campaign = campaign
        self._row = row
        self._rows = 0
        self._line = 0

    def read(self, calls: _Calls, target: Import) -> Uploaded:
        """Add all rows, or those before the one that is wrong."""
        error: Exception | None = None
        try:
            people = islice(self._people(), MOST_ROWS + 1)
            for batch in batches(self._campaign, people, self._row):
                calls.run(lambda batch=batch: target.add(batch))  # type: ignore[misc]  # see above
        except CancelledError:
            raise
        except (CreditgateError, ImportBehind, Problem) as found:
            error = self._body.problem or found
        return Uploaded(self._rows, self._line, error)

    def _people(self) -> Iterator[Person]:
        form = self._form
        file = cast("BinaryIO", io.BufferedReader(self._body, _BUFFER_BYTES))
        stream = open_stream(file, is_packed=form.is_packed, encoding=form.form.encoding)
        lines = Lines(PLACE, stream, is_file=False)
        rows: CsvRows | JsonRows
        try:
            if form.is_csv:
                rows = CsvRows(lines, PLACE, form.form)
            else:
                rows = JsonRows(lines, form.form.id_column)
        except PeopleError:
            self._line = lines.number
            raise
        survey, columns = self._survey(rows)
        people = iter(rows)
        while (person := self._row_of(rows, people)) is not None:
            if self._rows >= MOST_ROWS:
                raise Problem(
                    413,
                    "body_too_large",
                    "The body is too large",
                    f"A body of people may have {MOST_ROWS:,} rows; send the others with the next.",
                )
            self._rows += 1
            try:
                survey.check(person.data)
            except ValueError as error:
                raise PeopleError(f"{PLACE}, line {person.line}: {error}") from None
            columns.give_types(person.data)
            yield person

    def _row_of(self, rows: CsvRows | JsonRows, people: Iterator[Person]) -> Person | None:
        try:
            return next(people, None)
        finally:
            self._line = rows.line

    def _survey(self, rows: CsvRows | JsonRows) -> tuple[Survey, Columns]:
        if not isinstance(rows, CsvRows):
            return Survey({}, ColumnRules()), Columns()
        self._line = rows.line
        try:
            survey = Survey(rows.columns, self._form.rules, self._form.form.id_column)
        except ValueError as error:
            raise PeopleError(f"{PLACE}, line {rows.line}: {error}") from None
        return survey, survey.found()
