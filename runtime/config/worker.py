"""The section of a configuration that ``creditgate worker`` and its queue read."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runtime.config.fields import Text
from runtime.config.section import Section
from runtime.config.service import Port


class WorkerSection(Section):
    """The campaign worker: what it runs at once, and how it waits and ends."""

    slices: Annotated[int, Field(strict=True, ge=2, le=64)] = 4
    slice_size: Annotated[int, Field(strict=True, ge=1, le=256)] = 32
    max_deliveries: Annotated[int, Field(strict=True, ge=1, le=100)] = 5
    patience_ms: Annotated[int, Field(strict=True, ge=0, le=86_400_000)] = 600_000
    then: Literal["stop", "fallback"] = "stop"
    grace_ms: Annotated[int, Field(strict=True, ge=0, le=600_000)] = 60_000
    metrics_port: Port | None = None
    metrics_host: Annotated[Text, Field(min_length=1, max_length=255)] = "127.0.0.1"
