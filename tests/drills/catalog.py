"""All drills, in the order in which they are run."""

from __future__ import annotations

from tests.drills.clusters import CLUSTERS
from tests.drills.failovers import FAILOVERS
from tests.drills.full_archive import FULL_ARCHIVE
from tests.drills.full_spool import FULL_SPOOL
from tests.drills.killed_archivers import KILLED_ARCHIVERS
from tests.drills.killed_redis import KILLED_REDIS
from tests.drills.killed_workers import KILLED_WORKERS
from tests.drills.power_loss import POWER_LOSSES
from tests.drills.soak import SOAK
from tests.drills.wrong_clock import WRONG_CLOCK

DRILLS = (
    KILLED_WORKERS,
    KILLED_REDIS,
    *POWER_LOSSES,
    *FAILOVERS,
    *CLUSTERS,
    FULL_SPOOL,
    FULL_ARCHIVE,
    *KILLED_ARCHIVERS,
    WRONG_CLOCK,
    SOAK,
)
