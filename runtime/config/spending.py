"""Sections that bound what is spent unseen: caps by default, the check before a launch."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field

from runtime.config.fields import GrantedMc
from runtime.config.section import Section


class DefaultCapSection(Section):
    """The cap that each new workspace, or each new campaign, begins with."""

    limit_mc: GrantedMc = Field(alias="credits")
    window: Literal["day", "month", "total"] = "total"


class DefaultCapsSection(Section):
    """The caps that the ledger sets by itself where it first reserves for a name."""

    workspace: DefaultCapSection | None = None
    campaign: DefaultCapSection | None = None


class LaunchCheckSection(Section):
    """The check of what a campaign will cost before it starts."""

    warn_percent: Annotated[int, Field(strict=True, ge=1, le=1000)] = 50
