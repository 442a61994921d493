"""The things that processes of a drill share: the ledger, its accounts, where they write."""

from __future__ import annotations

import json
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from creditgate import ActionSpec, Config, ExecutionRequest
from runtime.credits.identity import Identity
from tests.harness.workbench import action, make_config

PREFIX = "drill"
_NOBODY = "http://127.0.0.1:9/v1"


@dataclass(frozen=True, slots=True)
class Plan:
    """The parts of one round of a drill.

    Args:
        folder: where everything of the round is: results, spool, servers.
        url: the ledger's Redis, as workers reach it.
        workers: how many processes execute.
        own_accounts: each worker has an account of its own, so that what its process was told of
            the account is what its callers were told; else all share three.
        at_once: executions under way in a worker. Below the size of a batch, the answers of an
            account come in the order in which its scripts ran.
        faults: the share of model calls that fail or give an unusable answer.
        deadline_ms: of an execution.
        ttl_ms: how long a reservation lives.
        cluster: the address is that of a node of a cluster.
    """

    folder: str
    url: str
    workers: int
    own_accounts: bool = True
    at_once: int = 12
    faults: float = 0.0
    durability: str = "relaxed"
    wait_replicas: int = 1
    timeout_ms: int = 500
    deadline_ms: int = 1_500
    ttl_ms: int = 3_000
    archive_url: str = "sqlite"
    cluster: bool = False

    @classmethod
    def from_json(cls, text: str) -> Plan:
        return cls(**json.loads(text))

    def to_json(self) -> str:
        return json.dumps(asdict(self))

    @property
    def root(self) -> Path:
        return Path(self.folder)

    @property
    def spool(self) -> Path:
        return self.root / "data" / "spool"

    @property
    def accounts(self) -> tuple[str, ...]:
        """All accounts of the round."""
        count = self.workers if self.own_accounts else 3
        return tuple(f"account-{number}" for number in range(count))

    def config(self) -> Config:
        """The configuration of every process."""

        def change(config: dict[str, Any]) -> None:
            config["redis"] |= {
                "durability": self.durability,
                "wait_replicas": self.wait_replicas,
                "cluster": self.cluster,
            }
            config["archive"] = {"url": self.archive_url}
            config["executions"]["reservation_ttl_ms"] = self.ttl_ms

        return make_config(
            self.root / "data",
            self.url,
            PREFIX,
            _NOBODY,
            timeout_ms=self.timeout_ms,
            wait_ms=100,
            change=change,
        )

    def request(self, worker: int, number: int) -> ExecutionRequest:
        """Return the request of that number in the queue of a worker."""
        accounts = self.accounts
        account = accounts[worker if self.own_accounts else number % len(accounts)]
        person = f"person-{worker}-{number}"
        return ExecutionRequest(
            execution_id=f"journey-{worker}-{number}:route:1",
            account_id=account,
            workspace_id="retail",
            campaign_id="drill",
            person_id=person,
            action=_spec(self.deadline_ms),
            data={"customer": {"message": f"Where is my card? I am {person}."}},
        )

    def identity(self) -> Identity:
        """The installation's keyed hashes, once a process has made its key."""
        return Identity((self.root / "data" / "installation.key").read_bytes())

    def results(self, worker: int) -> Path:
        """The file in which a worker's callers write what they received."""
        return self.root / f"results-{worker}.jsonl"

    def told(self, worker: int) -> Path:
        """The file of what the ledger told a worker's process of accounts."""
        return self.root / f"told-{worker}.jsonl"

    def calls(self, worker: int) -> Path:
        """The file of the tokens of each call that a worker's provider answered."""
        return self.root / f"calls-{worker}.jsonl"

    def errors(self, worker: int) -> Path:
        return self.root / f"worker-{worker}.stderr"

    def archived(self, archiver: int) -> Path:
        """The file in which an archiver writes how many entries it archived, round by round."""
        return self.root / f"archived-{archiver}.jsonl"

    def archiver_errors(self, archiver: int) -> Path:
        return self.root / f"archiver-{archiver}.stderr"


@cache
def _spec(deadline_ms: int) -> ActionSpec:
    return action(limits={"deadline_ms": deadline_ms, "min_output_tokens": 20})


class Lines:
    """A file of JSON lines that outlives the death of the process that writes it.

    A line is with the kernel when its writing returns. A death may cut the last one short; whoever
    goes on writing removes that.
    """

    def __init__(self, path: Path) -> None:
        path.touch()
        with path.open("r+b") as file:
            file.truncate(file.read().rfind(b"\n") + 1)
        self._stream = path.open("ab", buffering=0)

    def write(self, *fields: object) -> None:
        self._stream.write(json.dumps(fields).encode() + b"\n")


def lines_of(path: Path) -> list[Any]:
    """Return the whole lines of a file, none if it is not there."""
    if not path.exists():
        return []
    whole, _, _ = path.read_bytes().rpartition(b"\n")
    return [json.loads(line) for line in whole.splitlines()]


@dataclass(frozen=True, slots=True)
class Received:
    """What a caller received: a line of a worker's results."""

    number: int
    account_id: str
    execution_key: str
    status: str
    charged_mc: int
    kept: bool
    reasons: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Told:
    """How far an account's journal had come, as the ledger told the process of a worker."""

    worker: int
    account_id: str
    epoch: str
    seq: int
    chain: str


def received(plan: Plan) -> list[Received]:
    """Return what the callers of all workers received."""
    identity = plan.identity()
    found = []
    for worker in range(plan.workers):
        for number, account, execution_id, status, charged_mc, kept, reasons in lines_of(
            plan.results(worker)
        ):
            key = identity.execution_key(account, execution_id)
            found.append(Received(number, account, key, status, charged_mc, kept, tuple(reasons)))
    return found


def told(plan: Plan) -> list[Told]:
    """Return what the processes of all workers were told."""
    return [
        Told(worker, account, *_parts(text))
        for worker in range(plan.workers)
        for account, text in lines_of(plan.told(worker))
    ]


def _parts(text: str) -> tuple[str, int, str]:
    epoch, seq, chain = text.split("\t")
    return epoch, int(seq), chain
