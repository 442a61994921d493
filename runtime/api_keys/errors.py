"""Errors of making and changing keys of the API."""

from __future__ import annotations

from pricing.errors import CreditgateError


class ApiKeyError(CreditgateError):
    """A key of the API can't be made or changed."""


class ApiKeyUnknown(ApiKeyError):
    """There is no such key, or it is another's."""


class ApiKeyRevoked(ApiKeyError):
    """A key that was revoked can't be rotated."""


class ScopesRefused(ApiKeyError):
    """A key may make no key that may do more than itself."""


class TooManyApiKeys(ApiKeyError):
    """The account, or the operator, has too many keys that are in force."""


class ChangeNotTold(ApiKeyError):
    """A key is revoked, and the processes that know it could not be told.

    They read it again within a minute. Revoking it once more tells them.
    """
