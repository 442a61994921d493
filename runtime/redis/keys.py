"""Every Redis key name, and the hash tag that keeps an account's keys in one slot."""

from __future__ import annotations

import re
from binascii import crc32
from dataclasses import dataclass
from functools import lru_cache

from redis.crc import key_slot

BUCKETS = 1_024


def bucket_of(account_id: str) -> int:
    """Return the account's bucket, which is fixed for the life of an installation."""
    return crc32(account_id.encode()) % BUCKETS


def slot_of_bucket(number: int) -> int:
    """Return Redis Cluster's slot of a bucket and of everything that its accounts own."""
    return key_slot(b"b%d" % number)


@lru_cache(maxsize=4_096)
def _base(prefix: str, account_id: str) -> str:
    return f"{prefix}:{{b{bucket_of(account_id)}}}:{account_id}"


def _escaped(text: str) -> str:
    return re.sub(r"([\\*?\[\]^])", r"\\\1", text)


@dataclass(frozen=True, slots=True)
class Keys:
    """Key names under one prefix.

    ``<prefix>:{b<n>}:<account_id>:<part>`` for what an account owns and
    ``<prefix>:{b<n>}:<part>`` for what its bucket shares; the braces are Redis
    Cluster's hash tag, so that one script may touch them all. What belongs
    to no account has no tag: ``<prefix>:installation``, ``<prefix>:sweeping``,
    ``<prefix>:archiving``, ``<prefix>:watching``, ``<prefix>:processes``, ``<prefix>:schemas``,
    ``<prefix>:key_changes``, ``<prefix>:queued``, ``<prefix>:retained``,
    ``<prefix>:learned:...``.
    """

    prefix: str

    @property
    def installation(self) -> str:
        """The hash with the bucket count and the installation key's check value."""
        return f"{self.prefix}:installation"

    def sweeping(self) -> str:
        """Return the key that says that a process has just swept."""
        return f"{self.prefix}:sweeping"

    def archiving(self) -> str:
        """Return the key that says that a process archives now."""
        return f"{self.prefix}:archiving"

    def watching(self) -> str:
        """Return the key that says that a process has just looked ahead for alerts."""
        return f"{self.prefix}:watching"

    def processes(self) -> str:
        """Return the sorted set of the processes that run."""
        return f"{self.prefix}:processes"

    def schemas(self) -> str:
        """Return the sorted set of the highest schemas that processes which run can read."""
        return f"{self.prefix}:schemas"

    def key_changes(self) -> str:
        """Return the stream of the ids of API keys that were revoked or rotated lately."""
        return f"{self.prefix}:key_changes"

    def queued(self) -> str:
        """Return the sorted set of the accounts that have requests in their queues."""
        return f"{self.prefix}:queued"

    def retained(self) -> str:
        """Return the sorted set that says when the queue's streams of an account are trimmed."""
        return f"{self.prefix}:retained"

    def of_campaign(self, account_id: str, part: str, campaign_id: str) -> str:
        """Return one of a campaign's own keys, such as its ``queue`` or what it ``missed``."""
        return f"{_base(self.prefix, account_id)}:{part}:{campaign_id}"

    def bucket(self, number: int, part: str) -> str:
        """Return a bucket's ``due``, ``news``, ``accounts``, ``alerts`` or ``library``."""
        return f"{self.prefix}:{{b{number}}}:{part}"

    def of_account(self, account_id: str) -> tuple[str, ...]:
        """Return the fourteen keys that each script declares, in the order of ``state.lua``."""
        number = bucket_of(account_id)
        base = _base(self.prefix, account_id)
        return (
            f"{base}:account",
            f"{base}:grants",
            f"{base}:ended",
            f"{base}:open",
            f"{base}:due",
            f"{base}:refs",
            f"{base}:limits",
            f"{base}:dims",
            f"{base}:journal",
            f"{base}:forgotten",
            self.bucket(number, "due"),
            self.bucket(number, "news"),
            self.bucket(number, "accounts"),
            self.bucket(number, "alerts"),
        )

    def part(self, account_id: str, name: str) -> str:
        """Return one of an account's own keys: its ``account``, its ``journal`` ..."""
        return f"{_base(self.prefix, account_id)}:{name}"

    def news(self, account_id: str) -> str:
        """Return the set of the accounts of this account's bucket that have news."""
        return self.bucket(bucket_of(account_id), "news")

    def forgotten(self, account_id: str) -> str:
        """Return the sorted set of the account's people who were forgotten, and when."""
        return f"{_base(self.prefix, account_id)}:forgotten"

    def forgetting(self, account_id: str, reference: str) -> str:
        """Return the hash that says how far ``creditgate forget`` came under a reference."""
        return f"{_base(self.prefix, account_id)}:forgetting:{reference}"

    def outcomes(self, account_id: str) -> str:
        """Return a pattern of SCAN that all outcomes of an account match, and nothing else."""
        return f"{_escaped(_base(self.prefix, account_id))}:o:*"

    def of_endpoint(self, endpoint: str) -> tuple[str, ...]:
        """Return the keys that count an endpoint's limits, in the order of ``turns.lua``."""
        base = f"{self.prefix}:{{endpoint:{endpoint}}}"
        return (f"{base}:slots", f"{base}:waiting", f"{base}:seen", f"{base}:taken")

    def library(self, number: int) -> str:
        """Return the marker of a bucket that Redis has all published actions of its accounts."""
        return self.bucket(number, "library")

    def action(self, account_id: str, action_id: str) -> str:
        """Return the key that names the current version of one of the account's own actions."""
        return f"{_base(self.prefix, account_id)}:action:{action_id}"

    def action_version(self, account_id: str, action_id: str, version: str) -> str:
        """Return the key of a published version's content."""
        return f"{_base(self.prefix, account_id)}:action:{action_id}:{version}"

    def learned(self, action_id: str, version: str, model_id: str) -> str:
        """Return the hash with the history of an action version's answers on a model."""
        return f"{self.prefix}:learned:{action_id}:{version}:{model_id}"

    def outcome(self, account_id: str, execution_key: str) -> str:
        """Return the key under which an execution's outcome is kept until its TTL ends."""
        return f"{_base(self.prefix, account_id)}:o:{execution_key}"
