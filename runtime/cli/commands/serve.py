"""``creditgate serve``: the engine behind HTTP."""

from __future__ import annotations

from pathlib import Path

import click

from runtime.cli.options import BadInput, config_option, examples, json_option

_PACKAGES = frozenset(
    {"aiosmtplib", "fastapi", "prometheus_client", "standardwebhooks", "starlette", "structlog"}
    | {"uvicorn"}
)


@click.command(
    epilog=examples(
        "creditgate serve",
        "creditgate serve --host 0.0.0.0 --port 8080",
        "creditgate serve --demo",
    )
)
@config_option
@click.option("--host", metavar="HOST", help="The address to listen on, instead of service.host.")
@click.option(
    "--port",
    type=click.IntRange(0, 65_535),
    help="The port to listen on, instead of service.port; 0 takes a free one.",
)
@click.option(
    "--demo",
    is_flag=True,
    help="Run all of it on this machine, without a config: a Redis server, SQLite, a mock model, "
    "two accounts with sample executions, and keys. Leaves nothing behind.",
)
@json_option
@click.pass_context
def serve(
    ctx: click.Context,
    config_path: Path,
    host: str | None,
    port: int | None,
    demo: bool,
    as_json: bool,
) -> None:
    """Serve the HTTP API, until Ctrl-C or SIGTERM.

    Its documentation is at /docs, its metrics at /metrics. Once it listens, it logs its address on
    stderr; with --json it prints {"url": ...} on stdout.

    The first Ctrl-C or SIGTERM ends it gently: /readyz answers 503, then no more connections are
    taken, and executions that run are answered. A second one ends it at once, and gives back what
    is reserved. SIGHUP reads the config again, as creditgate run does.
    """
    if demo and ctx.get_parameter_source("config_path") is not click.core.ParameterSource.DEFAULT:
        raise click.UsageError("--demo brings its own config: leave out --config")
    try:
        from runtime.cli import serving
    except ModuleNotFoundError as error:
        if error.name not in _PACKAGES:
            raise
        raise BadInput(
            f'the service takes more packages (no {error.name}): pip install "creditgate[serve]"'
        ) from None
    if demo:
        from runtime.cli.demo_service import serve_demo

        serve_demo(host, port, as_json=as_json)
    else:
        serving.serve(config_path, host, port, as_json=as_json)
