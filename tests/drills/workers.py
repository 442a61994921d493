"""The worker processes of a drill."""

from __future__ import annotations

import time

from tests.drills import worker
from tests.drills.plan import Plan
from tests.drills.processes import END_WITHIN_S, Processes


class Workers(Processes):
    """The processes that execute."""

    def __init__(self, plan: Plan) -> None:
        super().__init__(plan, plan.workers, worker.run, plan.errors)

    def wait_until_executing(self) -> None:
        """Wait until the ledger has answered each worker."""
        self._wait_for_more(dict.fromkeys(self.running, 0))

    def wait_until_going_on(self) -> None:
        """Wait until the ledger has answered each worker more than it has now."""
        self._wait_for_more({number: self._size(number) for number in self.running})

    def _wait_for_more(self, sizes: dict[int, int]) -> None:
        give_up_at_s = time.monotonic() + END_WITHIN_S
        while any(self._size(number) <= size for number, size in sizes.items()):
            for number, process in self.running.items():
                assert process.is_alive(), self.told(number)
            assert time.monotonic() < give_up_at_s, f"nobody executes: {self.told(0)}"
            time.sleep(0.02)

    def _size(self, number: int) -> int:
        path = self._plan.told(number)
        return path.stat().st_size if path.exists() else 0
