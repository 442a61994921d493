"""Errors between this process and Redis.

RedisUnavailable            Redis can't be reached, or did not answer
├── NotReached              no server took the request: the script did not run
├── UnknownOutcome          the script may or may not have run
└── ScriptRefused           the server or the script answered an error; nothing was changed
"""

from __future__ import annotations


class RedisUnavailable(Exception):
    """Redis can't be reached, is too slow, or answered with an error."""


class NotReached(RedisUnavailable):
    """No server took the request, so the script did not run."""


class UnknownOutcome(RedisUnavailable):
    """The request was sent and its answer was lost: the script may or may not have run."""


class ScriptRefused(RedisUnavailable):
    """The server or the script answered with an error and changed nothing.

    The message is the error reply: a word that names the kind of error, then the detail.
    """


def described(error: BaseException) -> str:
    """Return an error's type and message; redis-py leaves the type out of its messages."""
    return f"{type(error).__name__}: {error}"
