"""Logs of commands that run until they are told to end: the service and the worker."""

from __future__ import annotations

import sys

import click

from runtime.cli.options import DEBUG
from runtime.telemetry.logs import begin_logging, log_handler


def begin_logs() -> None:
    """Log on stderr: readable on a terminal, JSON elsewhere."""
    whole = bool(click.get_current_context().meta.get(DEBUG))
    begin_logging(log_handler(sys.stderr, as_json=not sys.stderr.isatty(), whole_errors=whole))
