"""``creditgate mock-provider``: a server that answers like a model provider, for trials."""

from __future__ import annotations

import os
from typing import Any

import click

from providers.mock.hostile import KINDS
from runtime.cli.options import BadInput, examples, json_option

_SHARE = click.FloatRange(0, 1)
_HOSTILE = "\b\nHostile scenarios, which docs/providers.md describes:\n" + "\n".join(
    f"  {kind}={'|'.join(values)}" for kind, values in KINDS.items()
)


@click.command(
    "mock-provider",
    epilog=examples(
        "creditgate mock-provider",
        "creditgate mock-provider --port 9000 --latency-median-ms 800 --latency-sigma 0.5",
        "creditgate mock-provider --error-rate 0.1 --error-status 429 --error-status 503",
        "creditgate mock-provider --scenario status=500,times=2",
        "curl -s http://127.0.0.1:8377/scenario/usage=missing/v1/messages -d @request.json",
        "creditgate mock-provider --scenario bill=million",
        "curl -s http://127.0.0.1:8377/stats",
    )
    + "\n\n"
    + _HOSTILE,
)
@click.option("--host", default="127.0.0.1", help="Where to listen.")
@click.option("--port", type=click.IntRange(0, 65_535), default=8377, help="0 takes a free one.")
@click.option(
    "--seed", type=int, default=0, help="The same seed and messages give the same answer."
)
@click.option(
    "--latency-median-ms",
    type=click.FloatRange(0, 3_600_000),
    default=0,
    help="Milliseconds before each answer, errors included.",
)
@click.option(
    "--latency-sigma",
    type=click.FloatRange(0, 5),
    default=0,
    help="0 keeps to the median; above, latencies are lognormal with this sigma.",
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
    help="An error's HTTP status; may be given several times.",
)
@click.option(
    "--malformed-rate",
    type=_SHARE,
    default=0,
    help="The share of answers that do not follow the schema.",
)
@click.option("--refusal-rate", type=_SHARE, default=0, help="The share of answers that refuse.")
@click.option(
    "--usage-missing-rate",
    type=_SHARE,
    default=0,
    help="The share of answers that do not say which tokens they used.",
)
@click.option(
    "--cached-tokens-share",
    type=_SHARE,
    default=0,
    help="The part of each prompt that is reported as read from a cache.",
)
@click.option(
    "--reasoning-tokens",
    type=click.IntRange(0, 1_000_000),
    default=0,
    help="Tokens that the model thinks before each answer.",
)
@click.option(
    "--reasoning-sigma",
    type=click.FloatRange(0, 5),
    default=0,
    help="0 keeps to --reasoning-tokens; above, they are lognormal around it.",
)
@click.option(
    "--api-key",
    metavar="KEY",
    help="Demand this key; no real one, it shows in the list of processes.",
)
@click.option(
    "--scenario",
    metavar="TEXT",
    help="What happens to each request that brings no scenario of its own, like "
    "status=429,retry_after=1,times=2 or truncated or hang; docs/providers.md has all words.",
)
@click.option(
    "--until-stdin-closes",
    is_flag=True,
    hidden=True,
    help="End when standard input is closed, as it is when the process that started this dies.",
)
@json_option
def mock_provider(until_stdin_closes: bool, as_json: bool, **options: Any) -> None:
    """Answer like OpenAI, Anthropic and Gemini, for nothing, to try things out.

    It counts real tokens, follows the schema of the request, makes the answers up from a seed,
    and fails as it is told to. Prints its URL when it listens; Ctrl-C ends it. Needs no config.

    An endpoint's api_base is the URL with /v1, without it for anthropic/ and gemini/ models. With
    /scenario/TEXT between the two, TEXT happens to each request; so it does with a header
    x-mock-scenario: TEXT, or #TEXT behind a model's name. GET /stats tells what was asked.
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
            f"For a config: api_base: {url}/v1, or {url} for anthropic/ and gemini/ models. "
            "Ctrl-C ends it.",
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
        # Not by sys.stdin, whose lock this thread would still hold when the interpreter ends.
        while os.read(0, 4096):
            pass
        os.kill(os.getpid(), signal.SIGTERM)

    threading.Thread(target=watch, daemon=True).start()
