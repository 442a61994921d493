"""Two archivers at once, on SQLite or PostgreSQL, which are killed while they archive."""

from __future__ import annotations

import random
import signal
import time
from pathlib import Path

from tests.drills import archiver
from tests.drills.archiver import Archivers
from tests.drills.books import Findings, check
from tests.drills.drill import Drill, Round
from tests.drills.journals import open_accounts
from tests.drills.plan import Plan
from tests.drills.workers import Workers
from tests.harness.postgres import CAREFUL, PostgresServer, PostgresUnavailable
from tests.harness.servers import NEWER, Server, program

_LONGEST_PAUSE_S = 0.6
_ARCHIVERS = 2
_ENDS_WITHIN_S = 30.0


def postgres_missing() -> str:
    """Return why there is no PostgreSQL here, or ""."""
    try:
        PostgresServer().stop()
    except PostgresUnavailable as error:
        return str(error)
    return ""


async def _on_sqlite(this: Round) -> Findings:
    return await _kill_archivers(this, "sqlite")


async def _on_postgres(this: Round) -> Findings:
    postgres = PostgresServer(CAREFUL)
    try:
        postgres.start()
        return await _kill_archivers(this, postgres.new_database())
    finally:
        postgres.stop()


async def _kill_archivers(this: Round, archive_url: str) -> Findings:
    chance = random.Random(this.seed)
    server = Server(program(NEWER), this.folder / "redis")
    server.start()
    try:
        plan = Plan(str(this.folder), server.url, 2, own_accounts=False, archive_url=archive_url)
        await open_accounts(plan)
        with Workers(plan) as workers, Archivers(plan, _ARCHIVERS) as archivers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                archivers.kill_one(chance)
            workers.end()
            archivers.end()
            found = await check(plan)
            found.counts["archivers killed"] = archivers.kills
            _check_that_it_archived(found)
            return found
    finally:
        server.stop()


async def _kill_at_each_statement(this: Round) -> Findings:
    """Kill an archiver at its first statement, the next one at its second, and so on to the end."""
    server = Server(program(NEWER), this.folder / "redis")
    postgres = PostgresServer(CAREFUL) if this.seed % 2 and not postgres_missing() else None
    url = "sqlite"
    try:
        server.start()
        if postgres is not None:
            postgres.start()
            url = postgres.new_database()
        plan = Plan(str(this.folder), server.url, 1, own_accounts=False, at_once=2, archive_url=url)
        await open_accounts(plan)
        with Workers(plan) as workers, Archivers(plan, 0, archiver.run_to_statement) as archivers:
            for _ in range(this.strikes):
                statement = 0
                code: int | None = -signal.SIGKILL
                while code == -signal.SIGKILL:
                    workers.wait_until_going_on()
                    statement += 1
                    process = archivers.start(statement)
                    process.join(_ENDS_WITHIN_S)
                    code = process.exitcode
                    archivers.kills += code == -signal.SIGKILL
                assert code == 0, archivers.told(statement)
            workers.end()
            found = await check(plan)
            found.counts["archivers killed"] = archivers.kills
            _check_that_it_archived(found)
            return found
    finally:
        if postgres is not None:
            postgres.stop()
        server.stop()


async def _kill_postgres(this: Round) -> Findings:
    chance = random.Random(this.seed)
    server = Server(program(NEWER), this.folder / "redis")
    postgres = PostgresServer(CAREFUL)
    try:
        server.start()
        postgres.start()
        plan = Plan(
            str(this.folder),
            server.url,
            2,
            own_accounts=False,
            archive_url=postgres.new_database(),
        )
        await open_accounts(plan)
        with Workers(plan) as workers, Archivers(plan, _ARCHIVERS) as archivers:
            workers.wait_until_executing()
            for _ in range(this.strikes):
                _wait_until_archiving(plan)
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                postgres.kill()
                time.sleep(chance.random() * _LONGEST_PAUSE_S)
                postgres.start()
            workers.wait_until_going_on()
            workers.end()
            archivers.end()
            found = await check(plan)
            found.counts["PostgreSQL killed"] = this.strikes
            _check_that_it_archived(found)
            return found
    finally:
        postgres.stop()
        server.stop()


def _wait_until_archiving(plan: Plan) -> None:
    sizes = {path: size_of(path) for path in map(plan.archived, range(_ARCHIVERS))}
    give_up_at_s = time.monotonic() + 60
    while all(size_of(path) <= size for path, size in sizes.items()):
        assert time.monotonic() < give_up_at_s, "nothing is archived"
        time.sleep(0.02)


def size_of(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def _check_that_it_archived(found: Findings) -> None:
    found.check(found.counts["archived meanwhile"] > 0, "nothing was archived under load")


KILLED_ARCHIVERS = (
    *(
        Drill(
            f"killed-archivers-{name}",
            f"two archivers at once, on {about}, killed at random points while they archive",
            strikes=100,
            each=20,
            run=run,
            needs=needs,
        )
        for name, about, run, needs in (
            ("sqlite", "SQLite", _on_sqlite, lambda: ""),
            ("postgres", "PostgreSQL", _on_postgres, postgres_missing),
        )
    ),
    Drill(
        "each-statement",
        "an archiver is killed before and after each statement, commit and trimming, one after "
        "another, on SQLite or PostgreSQL",
        strikes=10,
        each=1,
        run=_kill_at_each_statement,
    ),
    Drill(
        "killed-postgres",
        "PostgreSQL is killed and restarted while two archivers archive into it",
        strikes=20,
        each=5,
        run=_kill_postgres,
        needs=postgres_missing,
    ),
)
