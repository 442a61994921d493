"""The results file of a run: one JSON object a line, written as people are finished."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from types import TracebackType
from typing import Self

from runtime.actions.requests import ExecutionResult
from runtime.campaigns.people import Person
from runtime.cli.output_file import open_output
from runtime.cli.terminal import harmless

_FLUSH_AFTER_S = 0.2


class ResultsFile:
    """Writes results to a file and flushes them soon after.

    Replaces the results of an earlier run. An ``OSError`` of a flush or of closing (a full disk) is
    kept in ``failure``; the next ``write`` raises it.

    Args:
        force: replace a file that holds anything else, too.

    Raises:
        BadInput: the file is not one to write results to.
    """

    def __init__(self, path: Path, *, force: bool = False) -> None:
        self._path = path
        self._file = open_output(path, force=force)
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
            text = json.dumps(line, ensure_ascii=False, separators=(",", ":"))
            self._file.write(f"{harmless(text)}\n")
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
