"""``creditgate demo``: a whole campaign on this machine, until the credits run out."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from runtime.cli.options import examples, json_option

if TYPE_CHECKING:
    from runtime.archive.audit import Audit
    from runtime.cli.campaign_run import RunReport, RunSettings
    from runtime.cli.demo_campaign import Sample


@click.command(
    epilog=examples(
        "creditgate demo",
        "creditgate demo --limit 200 --keep",
        "creditgate demo --json > summary.json",
    )
)
@click.option(
    "--limit",
    type=click.IntRange(min=1),
    metavar="N",
    help="Only the first N of the 3,080 people.",
)
@click.option(
    "--concurrency", type=click.IntRange(1, 1000), default=32, help="Executions that run at once."
)
@click.option(
    "--latency-ms",
    type=click.FloatRange(0, 60_000),
    default=120,
    help="Median latency of the mock model in milliseconds.",
)
@click.option("--keep", is_flag=True, help="Keep the data folder, and print how to look at it.")
@json_option
@click.pass_context
def demo(
    ctx: click.Context,
    limit: int | None,
    concurrency: int,
    latency_ms: float,
    keep: bool,
    as_json: bool,
) -> None:
    """Run a campaign of 3,080 people against a mock model, until its credits run out.

    Everything is real but the model: a Redis server of its own, the ledger, HTTP. An
    account gets 100,000 credits; messages that customers wrote to a bank are sorted and answered;
    credits run low, then out, and the campaign goes on with fallback values. Needs no config, and
    leaves nothing behind unless told to. Ctrl-C ends it early.
    """
    import shutil
    import tempfile
    from pathlib import Path

    from runtime.cli.commands.run import exit_status
    from runtime.cli.demo_campaign import prepare, run_demo
    from runtime.cli.ledger import run_async

    folder = Path(tempfile.mkdtemp(prefix="creditgate-demo-"))
    try:
        config, settings = prepare(folder, limit, concurrency)
        report, samples, audit = run_async(run_demo(config, settings, latency_ms))
    finally:
        if not keep:
            shutil.rmtree(folder, ignore_errors=True)
    _show(settings, report, samples, audit, as_json=as_json)
    if report.failure is not None:
        raise report.failure
    if keep:
        click.echo(f"\nThe data is kept in {folder}. Look at it:", err=True)
        config_path = folder / "config.yaml"
        account_id = settings.campaign.account_id
        click.echo(f"  creditgate balance --config {config_path} --account {account_id}", err=True)
        click.echo(f"  head -3 {settings.out}", err=True)
    ctx.exit(exit_status(report) or (0 if audit.balances else 1))


def _show(
    settings: RunSettings,
    report: RunReport,
    samples: list[Sample],
    audit: Audit,
    *,
    as_json: bool,
) -> None:
    from runtime.cli.ledger import print_json
    from runtime.cli.views.summary import summary_json, summary_lines

    if as_json:
        found = summary_json(settings.campaign, settings.summary.columns, report)
        audited = {"entries": audit.entries, "balances": audit.balances}
        print_json({**found, "audit": audited, "samples": [sample.to_json() for sample in samples]})
        return
    click.echo("\n".join(["", *summary_lines(settings.campaign, report)]))
    verdict = "books balance" if audit.balances else "the books do not balance"
    click.echo(f"Audit: {audit.entries:,} entries replayed, {verdict}")
    if samples:
        click.echo("\nFor example (the mock model makes its answers up)")
    for sample in samples:
        click.echo("\n".join(sample.lines()))
