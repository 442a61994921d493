"""What the processes of a race share: the account, its caps, the executions, and where they log."""

from __future__ import annotations

import json
import random
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from redis.asyncio import BlockingConnectionPool, Redis

from runtime.credits.caps import Cap, CapWindow
from runtime.credits.identity import ExecutionAttempt, Identity
from runtime.credits.ledger import Commerce, CreditLedger, LedgerSettings
from runtime.credits.results import Alert
from runtime.executions.spool import Spool

ACCOUNT = "acme"
PREFIX = "race"
MARKS = ("p20", "a50000")
IDENTITY = Identity(b"an installation key of a test")
PLANS = {"growth": True, "trial": False}

# What is reserved for one execution, at most.
LARGEST_MC = 1_500

# Never reached; begins with what a report said.
MONTHLY = Cap(CapWindow.MONTH)
MONTHLY_USED_MC = 1_000
RETAIL = Cap(CapWindow.DAY, workspace_id="retail")
# Reached, and stays so.
PREVIEWS = Cap(CapWindow.TOTAL, source="preview")
# Reached again and again, and raised each time.
TRIALS = Cap(CapWindow.DAY, workspace_id="outlet", source="test")
# Set, removed and set again while executions run.
AUTUMN = Cap(CapWindow.TOTAL, campaign_id="autumn")


def _execution_id(number: int) -> str:
    return f"journey-{number}:step:1"


@cache
def execution_key(number: int) -> str:
    """Under which the ledger knows an execution."""
    return IDENTITY.execution_key(ACCOUNT, _execution_id(number))


@dataclass(frozen=True, slots=True)
class Course:
    """How long a race is, and where it is run.

    ``ttl_ms`` is the longest deadline of a reservation, ``timeout_ms`` the ledger's, and ``hasty``
    the share of executions whose model answers about when their reservation expires.
    """

    url: str
    folder: str
    workers: int
    executions: int
    ttl_ms: int
    top_up_mc: int
    timeout_ms: int
    hasty: float
    sweep_every_s: float = 0.1

    @classmethod
    def from_json(cls, text: str) -> Course:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def preview_limit_mc(self) -> int:
        """What about half of the previews will be charged."""
        return self.executions // 10 * 250

    def delivered_to(self, worker: int) -> Iterator[int]:
        """The executions that a queue gives to a worker: some are given to two, some to all.

        The worker behind the last one has executions of its own, which nobody finishes.
        """
        if worker == self.workers:
            yield from range(self.executions, self.executions + 2_000)
            return
        for number in range(self.executions):
            first = number % self.workers
            also = (first + 1) % self.workers if number % 10 == 5 else first
            if number % 100 == 0 or worker in {first, also}:
                yield number

    def attempt(self, number: int, **changes: str) -> ExecutionAttempt:
        """A new attempt on an execution, whose dimensions follow from its number."""
        chance = random.Random(number)
        dimensions = {
            "workspace_id": chance.choice(("retail", "retail", "outlet")),
            "campaign_id": chance.choice(("welcome", "autumn")),
            "action": chance.choice(("route", "score")),
            "source": chance.choices(("live", "preview", "test"), (8, 1, 1))[0],
        }
        return IDENTITY.attempt(
            account_id=ACCOUNT,
            execution_id=_execution_id(number),
            person_id=f"person-{number}",
            action_version="v1",
            model="writer",
            **(dimensions | changes),
        )

    def connect(self) -> Redis:
        """A client as the product makes it."""
        pool = BlockingConnectionPool.from_url(
            self.url,
            max_connections=16,
            timeout=1,
            socket_connect_timeout=1,
            socket_timeout=None,
        )
        return Redis.from_pool(pool)

    def open_ledger(
        self,
        client: Redis,
        on_alert: Callable[[Alert], None] = lambda alert: None,
        timeout_ms: int | None = None,
    ) -> CreditLedger:
        timeout_ms = timeout_ms or self.timeout_ms
        return CreditLedger(
            client,
            IDENTITY,
            LedgerSettings(PREFIX, low_marks=MARKS, alert_cooldown_ms=0, timeout_ms=timeout_ms),
            Commerce(PLANS),
            on_alert=on_alert,
        )

    def open_spool(self) -> Spool:
        """The folder that all workers share."""
        return Spool(Path(self.folder) / "spool")

    def log(self, role: str, number: int) -> Log:
        return Log(Path(self.folder) / f"{role}-{number}.log")

    def logs(self, role: str) -> list[Log]:
        return [Log(path) for path in sorted(Path(self.folder).glob(f"{role}-*.log"))]


@dataclass(frozen=True, slots=True)
class Log:
    """What a process has told, a JSON list a line. Its death may cut the last line short."""

    path: Path

    def open(self) -> Callable[..., None]:
        """Return what writes a line, behind the whole ones that are there.

        A line is in the file, though not on the disk, when its writing returns: it outlives the
        process.
        """
        self.path.touch()
        with self.path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
        stream = self.path.open("ab", buffering=0)

        def write(*fields: object) -> None:
            stream.write(json.dumps(fields).encode() + b"\n")

        return write

    def lines(self) -> Iterator[Any]:
        for line in self.path.read_bytes().splitlines(keepends=True) if self.path.exists() else []:
            if line.endswith(b"\n"):
                yield json.loads(line)
