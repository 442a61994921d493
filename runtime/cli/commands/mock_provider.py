"""``creditgate mock-provider``: run a server that answers like a model provider."""

from __future__ import annotations

import os
from typing import Any

import click

from runtime.cli.options import BadInput, examples, json_option

_SHARE = click.FloatRange(0, 1)


@click.command(
    "mock-provider",
    epilog=examples(
        "creditgate mock-provider",
        "creditgate mock-provider --port 9000 --latency-median-ms 800 --latency-sigma 0.5",
        "creditgate mock-provider --error-rate 0.1 --error-status 429 --error-status 503",
        "creditgate mock-provider --scenario status=500,times=2",
        "curl -s http://127.0.0.1:8377/scenario/usage=missing/v1/messages -d @request.json",
        "curl -s http://127.0.0.1:8377/stats",
    ),
)
@click.option("--host", default="127.0.0.1", help="The address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    default=8377,
    help="The port to listen on; 0 takes a free one.",
)
@click.option(
    "--seed",
    type=int,
    default=0,
    help="Seed of the answers: the same seed and messages give the same answer.",
)
@click.option(
    "--latency-median-ms",
    type=click.FloatRange(0, 3_600_000),
    default=0,
    help="Median milliseconds before each answer, errors included.",
)
@click.option(
    "--latency-sigma",
    type=click.FloatRange(0, 5),
    default=0,
    help="Spread of the latencies: the sigma of a lognormal; 0 always takes the median.",
)
@click.option(
    "--error-rate", type=_SHARE, default=0, help="The share of requests answered with an error."
)
@click.option(
    "--error-status",
    "error_statuses",
    type=click.IntRange(400, 599),
    multiple=True,
    default=(500, 429, 503),
    help="An HTTP status for errors; repeat the option to give several.",
)
@click.option(
    "--malformed-rate",
    type=_SHARE,
    default=0,
    help="The share of answers that break the schema.",
)
@click.option(
    "--refusal-rate", type=_SHARE, default=0, help="The share of answers that are refusals."
)
@click.option(
    "--usage-missing-rate",
    type=_SHARE,
    default=0,
    help="The share of answers that report no token usage.",
)
@click.option(
    "--cached-tokens-share",
    type=_SHARE,
    default=0,
    help="The share of each prompt that is reported as read from a cache.",
)
@click.option(
    "--reasoning-tokens",
    type=click.IntRange(0, 1_000_000),
    default=0,
    help="Reasoning tokens used before each answer.",
)
@click.option(
    "--reasoning-sigma",
    type=click.FloatRange(0, 5),
    default=0,
    help="Spread of the reasoning tokens: the sigma of a lognormal; 0 always takes "
    "--reasoning-tokens.",
)
@click.option(
    "--api-key",
    metavar="KEY",
    help="Require this API key. Don't use a real one: the process list shows it.",
)
@click.option(
    "--scenario",
    metavar="TEXT",
    help="How to treat each request that names no scenario itself, for example truncated, hang or "
    "status=429,retry_after=1,times=2. docs/providers.md lists all words.",
)
@click.option(
    "--until-stdin-closes",
    is_flag=True,
    hidden=True,
    help="End when standard input closes, as it does when the parent process dies.",
)
@json_option
def mock_provider(until_stdin_closes: bool, as_json: bool, **options: Any) -> None:
    """Run a server that answers like OpenAI, Anthropic and Gemini, at no cost.

    It counts real tokens, follows the request's schema, makes up answers from a seed, and fails on
    demand. It prints its URL once it listens; Ctrl-C ends it. It needs no config.

    In the config, set an endpoint's api_base to URL/v1, or to URL for anthropic/ and gemini/
    models. To choose how a request is treated, put /scenario/TEXT between URL and /v1, send the
    header x-mock-scenario: TEXT, or append #TEXT to the model's name. GET URL/stats shows counts
    of requests, outcomes and tokens.
    """
    from providers.mock.server import MockOptions, main_loop
    from runtime.cli.failures import refusals
    from runtime.cli.ledger import print_json

    def announce(url: str) -> None:
        if as_json:
            print_json({"url": url})
            return
        click.echo(url)
        click.echo(
            f"In the config: api_base: {url}/v1, or {url} for anthropic/ and gemini/ models. "
            "Press Ctrl-C to stop.",
            err=True,
        )

    with refusals():
        wanted = MockOptions(**options)
    if until_stdin_closes:
        _end_with_stdin()
    try:
        main_loop(wanted, announce)
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno else str(error)
        raise BadInput(f"can't listen on {wanted.host}:{wanted.port}: {reason}") from None


def _end_with_stdin() -> None:
    import signal
    import threading

    def watch() -> None:
        # Not through sys.stdin: this thread would still hold its lock at interpreter exit.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
