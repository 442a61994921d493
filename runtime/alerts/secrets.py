"""The keys that sign webhooks: derived from the installation key, and stored nowhere."""

from __future__ import annotations

import base64
import time

from runtime.credits.identity import Identity

ROTATION_MS = 24 * 3_600_000
"""The time for which the key before the newest signs as well."""


class SigningSecrets:
    """Derives the secrets of webhooks, one for each destination and generation."""

    def __init__(self, identity: Identity) -> None:
        self._identity = identity

    def secret(self, destination_id: str, generation: int) -> str:
        """Return a secret as its owner is shown it, once."""
        key = self._identity.derived(f"webhook\0{destination_id}\0{generation}")
        return "whsec_" + base64.b64encode(key).decode()

    def in_force(self, destination_id: str, generation: int, rotated_ms: int | None) -> list[str]:
        """Return the secrets that sign now, the newest first."""
        found = [self.secret(destination_id, generation)]
        if rotated_ms is not None and time.time_ns() // 1_000_000 < rotated_ms + ROTATION_MS:
            found.append(self.secret(destination_id, generation - 1))
        return found
