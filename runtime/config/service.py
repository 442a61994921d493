"""The sections of a configuration that ``creditgate serve`` reads."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runtime.config.fields import Text
from runtime.config.section import Section

Port = Annotated[int, Field(strict=True, ge=0, le=65_535)]


class ServiceSection(Section):
    """The service: where it listens, how much each key may ask of it, and how it ends."""

    host: Annotated[Text, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Port = 8320
    # More than a process on one core serves: it bounds nobody but a runaway loop.
    requests_per_second: Annotated[int, Field(strict=True, ge=1, le=1_000_000)] | None = 2_000
    metrics_port: Port | None = None
    drain_delay_ms: Annotated[int, Field(strict=True, ge=0, le=60_000)] = 1_000
