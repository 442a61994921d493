"""``creditgate worker``: run the requests that campaigns have in the queue."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.cli.options import BadInput, Duration, config_option, examples, json_option

_PACKAGES = frozenset(
    {"anyio", "coredis", "prometheus_client", "standardwebhooks", "streaq", "structlog"}
)


@click.command(
    epilog=examples(
        "creditgate worker",
        "creditgate worker --patience 1h --then fallback",
        "creditgate worker --drain --json",
        "creditgate worker --demo",
    )
)
@config_option
@click.option(
    "--patience",
    "patience_s",
    type=Duration(),
    metavar="DURATION",
    help="How long to wait while nobody gets an answer, instead of worker.patience_ms. As 30s, 10m "
    "or 1h; 0 does not wait.",
)
@click.option(
    "--then",
    type=click.Choice(["stop", "fallback"]),
    help="What to do after that, instead of worker.then: stop with exit status 3 and leave the "
    "rest in the queue, or go on with fallback values.",
)
@click.option("--drain", "drains", is_flag=True, help="End when nothing waits any more.")
@click.option(
    "--demo",
    is_flag=True,
    help="Run all of it on this machine, without a config: a Redis server, a mock model, two "
    "accounts, of which one has much more in the queue. Ends when nothing waits, and leaves "
    "nothing behind.",
)
@json_option
@click.pass_context
def worker(
    ctx: click.Context,
    config_path: Path,
    patience_s: float | None,
    then: str | None,
    drains: bool,
    demo: bool,
    as_json: bool,
) -> None:
    """Run the requests that campaigns have in the queue, until Ctrl-C or SIGTERM.

    Start as many as you like, on as many machines as you like. Accounts take turns, slice by slice,
    so that a large campaign of one holds up nobody else. A request whose worker died is taken by
    another one; it is charged once.

    While every call would fall back for a reason that passes (the provider is down, Redis is away),
    nothing more is run there: the worker tries one request now and then, and goes on at full speed
    once there is an answer. --patience and --then say for how long, and what follows.

    The first Ctrl-C or SIGTERM ends it gently: requests that have not begun are given back at once,
    and executions that run may end within worker.grace_ms. A second one cancels them, gives their
    credits back, and leaves their requests to others. SIGHUP reads the config again, as creditgate
    run does.

    With --json, it prints {"worker": ...} once it is ready, and what it did at its end.
    """
    if demo and ctx.get_parameter_source("config_path") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--demo brings its own config: leave out --config")
    try:
        from runtime.cli import working
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise BadInput(
            f'the worker takes more packages (no {error.name}): pip install "creditgate[worker]"'
        ) from None
    from runtime.campaigns.run import Then

    settings = working.Settings(patience_s, None if then is None else Then(then), drains)
    if demo:
        from runtime.cli.demo_worker import demo_worker

        status = demo_worker(settings, as_json=as_json)
    else:
        status = working.work(config_path, settings, as_json=as_json)
    ctx.exit(status)
