"""The secrets of a configuration, for whoever has to keep them out of a text."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from pydantic import BaseModel, SecretStr


def secret_values(part: object) -> Iterator[str]:
    """Yield every secret in a section, and in the sections within it."""
    if isinstance(part, SecretStr):
        yield part.get_secret_value()
    elif isinstance(part, BaseModel):
        for name in type(part).model_fields:
            yield from secret_values(getattr(part, name))
    elif isinstance(part, Mapping):
        for value in part.values():
            yield from secret_values(value)
    elif isinstance(part, list | tuple):
        for value in part:
            yield from secret_values(value)
