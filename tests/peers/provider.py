"""The mock provider as a process, with a log of what was really called.

``python -m tests.peers.provider LOG`` prints its address once it listens, and appends one JSON
object a line to ``LOG`` for each request: the truth that no system's own books are asked for.
"""

from __future__ import annotations

import asyncio
import json
import sys
import time
from collections import Counter
from pathlib import Path
from typing import Any, TextIO

from aiohttp import web

from providers.mock.answers import MockModel
from providers.mock.openai import OPENAI
from providers.mock.options import Failure, MockOptions, Scenario
from providers.mock.wire import UnreadableRequest
from tests.peers.scenario import LATENCY_MS, call_id_of, fault_of


class _Provider:
    def __init__(self, log: TextIO) -> None:
        self._log = log
        self._model = MockModel(MockOptions())
        self._visits: Counter[str] = Counter()

    def warm_up(self) -> None:
        self._model.warm_up()

    async def complete(self, request: web.Request) -> web.Response:
        try:
            asked = OPENAI.read(await request.read())
        except UnreadableRequest as wrong:
            self._note(None, status=400, why=str(wrong))
            return _json(OPENAI.render_failure(Failure(400), str(wrong)), 400)
        call_id = call_id_of(asked.messages)
        self._visits[call_id or ""] += 1
        visit = self._visits[call_id or ""]
        status = fault_of(call_id, visit) if call_id else None
        if status is not None:
            await asyncio.sleep(LATENCY_MS / 1000)
            self._note(call_id, status=status)
            return _json(OPENAI.render_failure(Failure(status)), status)
        answer = self._model.answer(asked, Scenario())
        # From here on the model runs, and a provider bills it: also if nobody waits any more.
        self._note(call_id, status=200, tokens=answer.input_tokens + answer.output_tokens)
        await asyncio.sleep(LATENCY_MS / 1000)
        return _json(OPENAI.render(asked, answer, f"{call_id}-{visit}"), 200)

    def _note(self, call_id: str | None, **what: Any) -> None:
        line = {"at": time.time(), "call": call_id, **what}
        self._log.write(json.dumps(line) + "\n")
        self._log.flush()


def _json(body: dict[str, Any], status: int) -> web.Response:
    return web.json_response(body, status=status)


async def _main(log: Path) -> None:
    with log.open("a") as lines:
        provider = _Provider(lines)
        provider.warm_up()
        app = web.Application()
        for path in OPENAI.paths:
            app.router.add_post(path, provider.complete)
        runner = web.AppRunner(app, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0, backlog=1024).start()
        host, port = runner.addresses[0][:2]
        print(f"http://{host}:{port}/v1", flush=True)
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(
            lambda: asyncio.StreamReaderProtocol(reader), sys.stdin
        )
        await reader.read()  # until the parent ends, or says so
        await runner.cleanup()


if __name__ == "__main__":
    asyncio.run(_main(Path(sys.argv[1])))
