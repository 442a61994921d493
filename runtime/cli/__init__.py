"""The command line. Commands are imported when they are asked for, and import the rest then."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import click

from runtime.cli.options import COMMAND_SETTINGS, DEBUG

_SECTIONS: dict[str, dict[str, str]] = {
    "Try": {
        "demo": "runtime.cli.commands.demo:demo",
        "preview": "runtime.cli.commands.preview:preview",
        "mock-provider": "runtime.cli.commands.mock_provider:mock_provider",
        "check-config": "runtime.cli.commands.check_config:check_config",
    },
    "Run": {
        "run": "runtime.cli.commands.run:run",
        "estimate": "runtime.cli.commands.estimate:estimate",
    },
    "Credits": {
        "account": "runtime.cli.commands.account:account",
        "grant": "runtime.cli.commands.grant:grant",
        "purchase": "runtime.cli.commands.purchase:purchase",
        "void": "runtime.cli.commands.void:void",
        "cap": "runtime.cli.commands.cap:cap",
        "balance": "runtime.cli.commands.balance:balance",
        "models": "runtime.cli.commands.models:models",
        "rates": "runtime.cli.commands.rates:rates",
    },
}
_COMMANDS = {name: where for section in _SECTIONS.values() for name, where in section.items()}


class Creditgate(click.Group):
    """Loads its commands lazily, and tells people what went wrong instead of showing traces."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        return list(_COMMANDS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        where = _COMMANDS.get(cmd_name)
        if where is None:
            return None
        module, _, attribute = where.partition(":")
        command: click.Command = getattr(import_module(module), attribute)
        return command

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        if args and args[0] not in _COMMANDS and not args[0].startswith("-"):
            from runtime.hints import did_you_mean

            ctx.fail(f"there is no command {args[0]!r}{did_you_mean(args[0], _COMMANDS)}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        for section, names in _SECTIONS.items():
            with formatter.section(section):
                found = [(name, self.get_command(ctx, name)) for name in names]
                rows = [
                    (name, command.get_short_help_str(90)) for name, command in found if command
                ]
                formatter.write_dl(rows)

    def invoke(self, ctx: click.Context) -> Any:
        try:
            return super().invoke(ctx)
        except (click.exceptions.Exit, click.Abort, BrokenPipeError):
            raise
        except (Exception, KeyboardInterrupt) as error:
            from runtime.cli.failures import report

            if ctx.meta.get(DEBUG):
                raise
            ctx.exit(report(ctx, error))


def _print_version(ctx: click.Context, param: click.Parameter, wanted: bool) -> None:
    if wanted and not ctx.resilient_parsing:
        from importlib import metadata

        try:
            version = metadata.version("creditgate")
        except metadata.PackageNotFoundError:
            version = "(not installed: run from its sources)"
        click.echo(f"creditgate {version}")
        ctx.exit()


@click.group(
    cls=Creditgate,
    context_settings=COMMAND_SETTINGS,
    epilog="""\b
    Begin with:
      creditgate demo
      creditgate COMMAND --help

    Exit status: 0 done; 1 the books do not balance; 2 something was wrong with what was asked or
    is not there, and nothing was charged for it; 70 an error in creditgate itself; 130 stopped by
    Ctrl-C or SIGTERM.""",
)
@click.option(
    "--version",
    is_flag=True,
    is_eager=True,
    expose_value=False,
    callback=_print_version,
    help="Show the version and exit.",
)
@click.option(
    "--debug", is_flag=True, help="Show the whole trace of an error. It may hold personal data."
)
@click.pass_context
def cli(ctx: click.Context, debug: bool) -> None:
    """Run the LLM actions of marketing campaigns, each paid for from prepaid AI credits."""
    ctx.meta[DEBUG] = debug


def main() -> None:
    """Run the command line."""
    cli(prog_name="creditgate")
