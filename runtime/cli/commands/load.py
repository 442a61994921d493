"""``creditgate load``: a load test with a verdict on the books."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from runtime.cli.options import PATH, BadInput, Credits, Duration, examples, json_option

if TYPE_CHECKING:
    from runtime.load.running import Measured
    from runtime.load.settings import LoadSettings

_BROKEN = 1
_USUAL_RATE = 20.0
_SHARE = click.FloatRange(0, 1)


@click.command(
    epilog=examples(
        "creditgate load",
        "creditgate load --rate 200 --processes 2 --duration 2m --scenario run-dry",
        "creditgate load --concurrency 64 --accounts 100 --skew 1.2 --error-rate 0.02",
        "creditgate load --config config.yaml --rate 100",
        "creditgate load --config config.yaml --url http://127.0.0.1:8320 --action route_message",
    )
)
@click.option(
    "--rate",
    type=float,
    metavar="N",
    help="Executions a second, started at their time whatever the others take.  [default: 20]",
)
@click.option(
    "--concurrency",
    type=int,
    metavar="N",
    help="In place of --rate: callers, each with one execution after the other.",
)
@click.option(
    "--duration",
    "seconds",
    type=Duration(),
    default="30s",
    metavar="DURATION",
    help="How long executions are started.",
)
@click.option("--processes", type=int, default=1, help="Processes that run them.")
@click.option("--accounts", type=int, default=20, help="Accounts that pay.")
@click.option(
    "--skew",
    type=float,
    default=1.0,
    help="Exponent of Zipf's law: the larger, the more the first accounts have to do; 0 is even.",
)
@click.option("--prompt-tokens", default="200-600", metavar="N[-M]", help="Length of the prompts.")
@click.option(
    "--answer-tokens", default="30-90", metavar="N[-M]", help="Length of the answers, about."
)
@click.option(
    "--scenario",
    type=click.Choice(["plenty", "run-dry", "top-up"]),
    default="plenty",
    help="What accounts have: more than enough, enough for about half, or that and more whenever "
    "they run low.",
)
@click.option(
    "--credits",
    "credits_mc",
    type=Credits(),
    metavar="N",
    help="What each account begins with, in place of what the scenario gives it.",
)
@click.option("--latency-ms", type=float, default=200, help="Median latency of the mock provider.")
@click.option("--latency-sigma", type=float, default=0.3, help="Its spread, as a lognormal's.")
@click.option("--error-rate", type=_SHARE, default=0, help="The share of calls that fail.")
@click.option(
    "--malformed-rate", type=_SHARE, default=0, help="The share of answers that break the schema."
)
@click.option(
    "--refusal-rate", type=_SHARE, default=0, help="The share of answers that are refusals."
)
@click.option(
    "--usage-missing-rate", type=_SHARE, default=0, help="The share of answers without usage."
)
@click.option("--seed", type=int, default=0, help="The same seed makes the same executions.")
@click.option(
    "--config",
    "config_path",
    type=PATH,
    metavar="FILE",
    help="Use the Redis of this config, under a key prefix of the load's own; with --url, the "
    "service's config.  [default: a Redis server is started]",
)
@click.option("--url", metavar="URL", help="Send the executions to the service at this address.")
@click.option(
    "--action", "action_id", metavar="ID", help="With --url: an action of the service's config."
)
@click.option(
    "--out",
    type=PATH,
    default="load-report",
    metavar="FOLDER",
    help="Write load.json and load.html there.",
)
@json_option
@click.pass_context
def load(
    ctx: click.Context,
    /,
    *,
    config_path: Path | None,
    url: str | None,
    action_id: str | None,
    out: Path,
    as_json: bool,
    **options: Any,
) -> None:
    """Run a load against a mock provider, and check the books afterwards.

    Accounts, people, prompts and the provider are the load's own: without --url it makes an
    installation for itself, with a key prefix, a data folder and an installation key that nobody
    else has, and removes it at the end. No real account is touched and no real provider called.

    Latencies count from the moment at which an execution was to start, so that a queue is never
    left out of the figures. At the end the journals are compared with what callers were told and
    with what the mock provider itself has counted. Exit status 1 if credits were overspent,
    reservations leaked, executions charged twice or settlements lost.

    Ctrl-C ends it early, with a report of what was; a second one cancels what runs. The exit status
    is then 130.
    """
    import shutil
    import tempfile

    from runtime.cli.failures import INTERRUPTED
    from runtime.cli.ledger import print_json, run_async
    from runtime.cli.views.load import summary_lines
    from runtime.load.page import page_of
    from runtime.load.report import report_of
    from runtime.load.settings import LoadRefused

    _check_place(config_path, url, action_id, ctx)
    folder = Path(tempfile.mkdtemp(prefix="creditgate-load-"))
    try:
        settings = _settings(options, action_id)
        json_path, html_path = _files(out)
        measured = run_async(_run(settings, folder, config_path, url))
    except LoadRefused as error:
        raise BadInput(str(error)) from None
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    report = report_of(measured, "in process" if url is None else f"at {url}")
    json_path.write_text(_json_text(report), "utf-8")
    html_path.write_text(page_of(report), "utf-8")
    if as_json:
        print_json(report)
    else:
        click.echo("\n".join(summary_lines(report)))
        click.echo(f"Report: {click.format_filename(html_path)}")
    if not measured.holds:
        ctx.exit(_BROKEN)
    if measured.interrupted:
        ctx.exit(INTERRUPTED)


def _check_place(
    config_path: Path | None, url: str | None, action_id: str | None, ctx: click.Context
) -> None:
    from runtime.cli.config_file import require_config

    if config_path is not None:
        require_config(config_path)
    if (url is None) != (action_id is None):
        raise click.UsageError("--url and --action belong together")
    if url is None:
        return
    if config_path is None:
        raise click.UsageError("--url needs the service's --config, to check its books")
    if ctx.get_parameter_source("answer_tokens") is click.core.ParameterSource.COMMANDLINE:
        raise click.UsageError("--answer-tokens: the service's own action says how long")


def _settings(options: dict[str, Any], action_id: str | None) -> LoadSettings:
    from runtime.load.settings import LoadRefused, LoadSettings, Scenario, Span

    spans = {}
    for name in ("prompt_tokens", "answer_tokens"):
        try:
            spans[name] = Span.read(options[name])
        except LoadRefused as error:
            raise LoadRefused(f"--{name.replace('_', '-')}: {error}") from None
    if options["rate"] is None and options["concurrency"] is None:
        options["rate"] = _USUAL_RATE
    return LoadSettings(
        **{**options, **spans, "scenario": Scenario(options["scenario"])}, action=action_id
    )


def _files(out: Path) -> tuple[Path, Path]:
    """Return the files of the report, in a folder that is there.

    Raises:
        BadInput: the folder can't be made, or nothing can be written there.
    """
    json_path, html_path = out / "load.json", out / "load.html"
    try:
        out.mkdir(parents=True, exist_ok=True)
        for path in (json_path, html_path):
            path.open("a").close()
    except OSError as error:
        raise BadInput(f"--out: {click.format_filename(out)}: {error.strerror}") from None
    return json_path, html_path


def _json_text(report: dict[str, Any]) -> str:
    import json

    return json.dumps(report, ensure_ascii=False, indent=1) + "\n"


async def _run(
    settings: LoadSettings, folder: Path, config_path: Path | None, url: str | None
) -> Measured:
    from runtime.cli.interruption import Interruption
    from runtime.cli.views.load import LoadDisplay
    from runtime.load.running import Control, run_load
    from runtime.load.service_world import service_world
    from runtime.load.worlds import own_world

    with Interruption() as interruption, LoadDisplay(settings) as display:

        def steer() -> None:
            interruption.steps = [control.stop, control.cancel]

        control = Control(steer)
        if url is not None and config_path is not None:
            display.say(f"Checking that {url} can call no real provider ...")
            place = service_world(settings, folder, config_path, url)
        else:
            display.say("Starting a mock provider ...")
            place = own_world(settings, folder, config_path)
        async with place as world:
            return await run_load(settings, world, folder, control, display.update, display.say)
