"""Errors of the request queue; ``pricing/errors.py`` draws them in the tree."""

from __future__ import annotations

from pricing.errors import CreditgateError


class QueueError(CreditgateError):
    """The queue refuses to do what it was asked."""


class QueueUnavailable(QueueError):
    """Redis can't be reached, or did not answer; asked again, it goes on."""


class QueueDamaged(QueueUnavailable):
    """A key of the queue is not what creditgate wrote; the message names it."""


class CampaignUnknown(QueueError):
    """The account has no such campaign in its queue."""

    def __init__(self, campaign_id: str) -> None:
        super().__init__(f"the account has no campaign {campaign_id!r} in its queue")


class CampaignConflict(QueueError):
    """The campaign is in another workspace, or an import's id was used for something else.

    Args:
        field: ``workspace_id`` or ``import``.
    """

    def __init__(self, campaign_id: str, field: str, stored: str) -> None:
        super().__init__(f"campaign {campaign_id!r} exists with another {field}: {stored!r}")
        self.campaign_id, self.field, self.stored = campaign_id, field, stored


class CampaignStopped(QueueError):
    """The campaign was stopped; resume it before anything is added."""

    def __init__(self, campaign_id: str) -> None:
        super().__init__(f"campaign {campaign_id!r} is stopped: resume it first")


class QueueFull(QueueError):
    """The campaign has as many requests, imports or actions as it may have.

    ``may_clear`` is true if workers make room.
    """

    def __init__(self, campaign_id: str, what: str, *, may_clear: bool) -> None:
        super().__init__(f"campaign {campaign_id!r} has {what}")
        self.may_clear = may_clear


class RequestTooLarge(QueueError, ValueError):
    """A request has more bytes than the queue takes."""
