"""The results file of a run: one JSON object a line, written as people are finished."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import TracebackType
from typing import Self, TextIO

from runtime.actions.requests import ExecutionResult
from runtime.campaigns.people import Person

_FLUSH_AFTER_S = 0.2


class ResultsFile:
    """Writes results to a file and flushes them soon after.

    Replaces an existing file. An ``OSError`` of a flush or of closing (a full disk) is kept in
    ``failure``; the next ``write`` raises it.
    """

    def __init__(self, path: Path) -> None:
        self._path = path
        # Lone surrogates become escapes like \ud800, as JSON would write them.
        self._file: TextIO = path.open("w", encoding="utf-8", errors="backslashreplace")
        self._flushing: asyncio.TimerHandle | None = None
        self.failure: OSError | None = None

    def write(self, person: Person, result: ExecutionResult) -> None:
        """Write one person's result.

        Raises:
            OSError: this result or an earlier one can't be written.
        """
        if self.failure is not None:
            raise self.failure
        line = {"person_id": person.person_id, **result.to_json()}
        try:
            self._file.write(json.dumps(line, ensure_ascii=False, separators=(",", ":")) + "\n")
        except OSError as error:
            self.failure = self._named(error)
            raise
        if self._flushing is None:
            loop = asyncio.get_running_loop()
            self._flushing = loop.call_later(_FLUSH_AFTER_S, self._flush)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        if self._flushing is not None:
            self._flushing.cancel()
        try:
            self._file.close()
        except OSError as error:
            self.failure = self.failure or self._named(error)

    def _flush(self) -> None:
        self._flushing = None
        try:
            self._file.flush()
        except OSError as error:
            self.failure = self._named(error)

    def _named(self, error: OSError) -> OSError:
        error.filename = str(self._path)
        return error
