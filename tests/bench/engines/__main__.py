"""``python -m tests.bench.engines``: streaq and taskiq-redis on the worker's job.

Each in an environment of its own, which uv makes and which is thrown away. Prints one JSON object
a line: tickets enqueued and run a second, CPU of the worker a ticket, what stays in Redis, and for
a worker that is killed with SIGKILL the time until its tickets run again, and how many are lost.
"""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from pathlib import Path
from typing import Any

from redis import Redis, RedisCluster

from tests.harness.paths import ROOT
from tests.harness.servers import CLUSTER, CLUSTER_SCHEME, NEWER, LedgerServers

PACKAGES = {
    "streaq": ["streaq==7.2.0"],
    "taskiq": ["taskiq==0.13.0", "taskiq-redis==1.2.4"],
}
_CHILD = Path(__file__).with_name("ticket_worker.py")
_MANY, _SLOW, _SLOW_S = 5_000, 40, 1.0
_GIVE_UP_S = 60.0


def main() -> None:
    """Measure both engines on one server and on a cluster."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        servers = LedgerServers(folder)
        try:
            for engine in PACKAGES:
                python = _environment(engine, folder)
                for kind in (NEWER, CLUSTER):
                    url = servers.url(kind).removeprefix(CLUSTER_SCHEME)
                    log = folder / f"{engine}-{kind}"
                    found = _Job(engine, python, url, kind, log).measure()
                    print(json.dumps({"engine": engine, "server": kind, **found}), flush=True)
        finally:
            servers.close()


def _environment(engine: str, folder: Path) -> str:
    uv = str(ROOT / ".tools" / "bin" / "uv")
    python = folder / engine / "bin" / "python"
    subprocess.run([uv, "venv", "-q", "--python", sys.executable, folder / engine], check=True)
    command = [uv, "pip", "install", "-q", "--python", str(python), *PACKAGES[engine]]
    subprocess.run(command, check=True)
    return str(python)


class _Job:
    def __init__(self, engine: str, python: str, url: str, kind: str, log: Path) -> None:
        is_cluster = kind == CLUSTER
        self._start = [python, str(_CHILD), engine]
        self._where = [url, "cluster" if is_cluster else "one"]
        self._log = log
        log.touch()
        self._redis: Any = (RedisCluster if is_cluster else Redis).from_url(url)
        self._redis.flushall()

    def measure(self) -> dict[str, Any]:
        found: dict[str, Any] = {"enqueued_per_s": round(_MANY / self._enqueue("fast", _MANY, 0))}
        found |= self._throughput()
        self._enqueue("twice", 100, 0)
        self._enqueue("twice", 100, 0)
        worker = self._work()
        self._until(lambda: len({w for w in self._ended() if w.startswith("twice")}) == 100)
        time.sleep(1)
        found["runs_of_100_enqueued_twice"] = sum(w.startswith("twice") for w in self._ended())
        _kill(worker)
        return found | self._killed()

    def _throughput(self) -> dict[str, Any]:
        worker = self._work()
        self._until(lambda: len(self._ended()) >= 1)
        since_s, before, cpu_s = time.monotonic(), len(self._ended()), _cpu_s(worker.pid)
        self._until(lambda: len(self._ended()) >= _MANY)
        took_s, ran = time.monotonic() - since_s, len(self._ended()) - before
        cpu_s = _cpu_s(worker.pid) - cpu_s
        time.sleep(1)
        _kill(worker)
        left = {
            key.decode(): self._redis.xlen(key)
            for key in self._redis.scan_iter("*")
            if self._redis.type(key) == b"stream"
        }
        return {
            "run_per_s": round(ran / took_s),
            "cpu_ms_a_ticket": round(1000 * cpu_s / max(1, ran), 2),
            "entries_left_in_streams": left,
        }

    def _killed(self) -> dict[str, Any]:
        """Kill the first of two workers that runs eight tickets."""
        self._enqueue("slow", _SLOW, _SLOW_S)
        workers = [self._work(), self._work()]
        self._until(lambda: any(len(self._running(w.pid)) >= 8 for w in workers))
        workers.sort(key=lambda worker: len(self._running(worker.pid)), reverse=True)
        lost = self._running(workers[0].pid)
        _kill(workers[0])
        killed_at = time.time()
        done = self._until(lambda: len({w for w in self._ended() if w.startswith("slow")}) == _SLOW)
        again = [
            at
            for at, what, ticket, pid in self._lines()
            if ticket in lost and what == "began" and pid != workers[0].pid
        ]
        ended = Counter(w for w in self._ended() if w.startswith("slow"))
        _kill(workers[1])
        return {
            "killed_with": len(lost),
            "first_again_after_s": round(min(again) - killed_at, 1) if again else None,
            "last_again_after_s": round(max(again) - killed_at, 1) if again else None,
            "lost": _SLOW - len(ended),
            "ended_twice": sum(count > 1 for count in ended.values()),
            "all_done": done,
        }

    def _enqueue(self, prefix: str, count: int, seconds: float) -> float:
        arguments = [*self._start, "enqueue", *self._where]
        arguments += [prefix, str(count), str(seconds), str(self._log)]
        done = subprocess.run(arguments, check=True, capture_output=True, text=True)
        return float(done.stdout)

    def _work(self) -> subprocess.Popen[bytes]:
        arguments = [*self._start, "work", *self._where]
        with self._log.with_suffix(".err").open("ab") as errors:
            return subprocess.Popen(arguments, stdout=errors, stderr=errors)

    def _lines(self) -> list[tuple[float, str, str, int]]:
        lines = [line.split() for line in self._log.read_text().splitlines()]
        return [(float(at), what, ticket, int(pid)) for at, what, ticket, pid in lines]

    def _ended(self) -> list[str]:
        return [ticket for _, what, ticket, _ in self._lines() if what == "ended"]

    def _running(self, pid: int) -> set[str]:
        mine = [(what, ticket) for _, what, ticket, of in self._lines() if of == pid]
        return {t for w, t in mine if w == "began"} - {t for w, t in mine if w == "ended"}

    def _until(self, is_so: Any) -> bool:
        until_s = time.monotonic() + _GIVE_UP_S
        while not is_so():
            if time.monotonic() > until_s:
                return False
            time.sleep(0.05)
        return True


def _kill(process: subprocess.Popen[bytes]) -> None:
    process.send_signal(signal.SIGKILL)
    process.wait()


def _cpu_s(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


if __name__ == "__main__":
    main()
