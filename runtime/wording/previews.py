"""Sentences about a preview: why values are fallback values, and what a free one is worth."""

from __future__ import annotations

from collections.abc import Mapping

from fallback.policy import Origin
from runtime.wording.reasons import REASONS

FREE = (
    "Free: a mock model answered in place of the real one. The values show the form of an answer, "
    "not its quality; nothing was charged."
)


def fallback_text(origins: Mapping[str, Origin]) -> str | None:
    """Return how many values are fallback values, and why; ``None`` where all are the model's."""
    reasons = [origin.reason for origin in origins.values() if origin.reason is not None]
    if not reasons:
        return None
    whys = " and ".join(REASONS[reason] for reason in dict.fromkeys(reasons))
    if len(reasons) == len(origins):
        which = "All values are fallback values" if len(reasons) > 1 else "It is a fallback value"
    else:
        are = "is a fallback value" if len(reasons) == 1 else "are fallback values"
        which = f"{len(reasons)} of {len(origins)} values {are}"
    return f"{which}, because {whys}."
