"""A provider's own words about an error reach the operator, and nobody else."""

from __future__ import annotations

import json
import logging
from collections.abc import Iterator
from pathlib import Path

import pytest

from providers.base import Completion, CompletionRequest
from providers.errors import FailureKind, Rejected
from runtime.actions.requests import ExecutionRequest, Source
from runtime.cli.views.receipt import receipt_lines
from runtime.executions.provider_texts import MOST_A_MINUTE
from runtime.previews.receipt import receipt_json
from tests.harness.bounds import mostly_long
from tests.harness.raw_http import answering, response
from tests.harness.workbench import OpenWorkbench, Workbench, action

KEY = "k-7731-very-secret"
WORDS = "My card 4000 1234 never arrived, says Zebedee."
TEXT = "Invalid schema for response_format 'answer': 'maximum' is not permitted."


def refusing(body: bytes, status: bytes = b"400 Bad Request") -> bytes:
    return response(body, status=status)


def error(message: str) -> bytes:
    return json.dumps({"error": {"message": message, "type": "invalid_request_error"}}).encode()


def warnings(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [
        record.getMessage() for record in caplog.records if record.name == "creditgate.provider"
    ]


async def test_the_log_has_the_providers_text_once_and_no_result_has_it(
    open_bench: OpenWorkbench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    async with (
        answering(refusing(error(TEXT))) as server,
        open_bench(api_base=f"{server.url}/v1") as bench,
    ):
        results = [await bench.execute() for _ in range(5)]

    assert warnings(caplog) == [f"endpoint mock, model writer: HTTP 400: {TEXT}"]
    for result in results:
        assert "not permitted" not in json.dumps(result.to_json())
        assert "not permitted" not in repr(result)


async def test_a_preview_has_it_in_its_trace_each_time_and_a_live_execution_has_not(
    open_bench: OpenWorkbench,
) -> None:
    async with (
        answering(refusing(error(TEXT))) as server,
        open_bench(api_base=f"{server.url}/v1") as bench,
    ):
        await bench.traced(bench.request(source=Source.PREVIEW))
        result, trace = await bench.traced(bench.request(source=Source.PREVIEW))
        assert trace.progress.provider_texts == {1: TEXT}
        assert "not permitted" not in json.dumps(result.to_json())
        receipt = receipt_json(action(), result, trace)
        assert receipt["provider_errors"] == [{"attempt": 1, "text": TEXT}]
        assert f"     the provider: {TEXT}" in receipt_lines(action(), result, trace)
        _, live = await bench.traced(bench.request())
        assert live.progress.provider_texts == {}
        assert "not permitted" not in repr(live)


@pytest.mark.parametrize(
    "body",
    [
        error(f"Bad key {KEY}: the input was {WORDS}"),
        error(f"Bad key {KEY[:12]}: the input was {WORDS.upper()}"),
        json.dumps({"detail": f"{KEY} {WORDS}"}).encode(),
        json.dumps({"error": {"metadata": {"raw": f"{KEY} {WORDS}"}}}).encode(),
        f"<html><body>{KEY}<p>{WORDS}</p></body></html>".encode(),
        f"\x00\xff{KEY}\n{WORDS}".encode("latin-1"),
    ],
)
@pytest.mark.parametrize("status", mostly_long([b"400 Bad Request", b"500 Oops", b"401 No"], 1))
async def test_law_14_neither_a_secret_nor_a_persons_words_reach_log_results_or_previews(
    open_bench: OpenWorkbench,
    caplog: pytest.LogCaptureFixture,
    body: bytes,
    status: bytes,
    tmp_path: Path,
) -> None:
    caplog.set_level(logging.DEBUG, "creditgate")
    key = tmp_path / "key"
    key.write_text(KEY)
    key.chmod(0o600)
    endpoint = f'api_key: {{file: "{key}"}}'
    async with (
        answering(refusing(body, status)) as server,
        open_bench(api_base=f"{server.url}/v1", endpoint=endpoint) as bench,
    ):
        result, trace = await bench.traced(preview(bench))

    [text] = trace.progress.provider_texts.values()
    [line] = warnings(caplog)
    assert "[masked]" in text
    for said in (text, line, caplog.text, json.dumps(result.to_json())):
        assert all(word not in said for word in (KEY[:9], "Zebedee", "ZEBEDEE", "4000", "arrived"))
        assert "\x00" not in said


def preview(bench: Workbench) -> ExecutionRequest:
    return bench.request(
        data={"customer": {"message": WORDS, "name": "Zebedee"}}, source=Source.PREVIEW
    )


async def test_law_15_a_provider_that_numbers_its_errors_does_not_flood_the_log(
    open_bench: OpenWorkbench, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    numbers = iter(range(1_000))

    async with open_bench(provider=Numbering(numbers)) as bench:
        for _ in range(3 * MOST_A_MINUTE):
            await bench.execute()

    assert len(warnings(caplog)) == MOST_A_MINUTE


class Numbering:
    """Fails with another text each time."""

    def __init__(self, numbers: Iterator[int]) -> None:
        self._numbers = numbers

    async def complete(self, request: CompletionRequest) -> Completion:
        text = f"failure number {next(self._numbers)}"
        raise Rejected(FailureKind.REJECTED, "failed", status=400, provider_text=text)

    async def aclose(self) -> None:
        pass


@pytest.mark.parametrize("size", [100_000, 10_000_000])
async def test_law_15_a_long_text_of_an_error_is_not_shown(
    open_bench: OpenWorkbench, caplog: pytest.LogCaptureFixture, size: int
) -> None:
    caplog.set_level(logging.WARNING)
    async with (
        answering(refusing(b"x" * size)) as server,
        open_bench(api_base=f"{server.url}/v1") as bench,
    ):
        assert (await bench.execute()).status == "fallback"

    assert max(map(len, warnings(caplog)), default=0) < 400
