"""The sections of a configuration that ``creditgate serve`` reads."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from runtime.config.fields import Text
from runtime.config.section import Section


class ServiceSection(Section):
    """The service: where it listens."""

    host: Annotated[Text, Field(min_length=1, max_length=255)] = "127.0.0.1"
    port: Annotated[int, Field(strict=True, ge=0, le=65_535)] = 8320
