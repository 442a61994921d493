"""Laws 2a, 2c: whatever happened to an account, its statement and an outsider's program agree."""

from __future__ import annotations

import asyncio
import random
from pathlib import Path

import pytest

from runtime.credits.results import Balance
from runtime.wording.statement import entry_text
from tests.harness.archives import archive, check_books, open_pages
from tests.harness.ledger.duel import Duel
from tests.harness.ledger.walk import walk

STEPS = 4_000


@pytest.mark.long
def test_law_2c_any_books_are_explained_line_by_line_and_checked_without_our_code(
    redis_url: str, key_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "archive.db"
    balances: dict[str, Balance] = {}
    forget = Duel.forget

    async def archive_and_forget(duel: Duel) -> None:
        await archive(duel.desk, path, duel.account_id)
        balances[duel.account_id] = await duel.desk.ledger.accounts.balance(duel.account_id)
        await forget(duel)

    monkeypatch.setattr(Duel, "forget", archive_and_forget)
    walk(redis_url, key_prefix, steps=STEPS, first_seed=random.randrange(2**32))
    checked = check_books(tmp_path, path)
    asyncio.run(_compare(path, balances, checked.stdout.splitlines()))
    assert (checked.stderr, checked.returncode, len(balances) > 5) == ("", 0, True)


async def _compare(path: Path, balances: dict[str, Balance], checked: list[str]) -> None:
    found = {line.split()[0]: line for line in checked}
    assert found.keys() == balances.keys()
    async with open_pages(path) as statements:
        for account_id, balance in balances.items():
            left_mc = charged_mc = 0
            async for line in statements.lines(account_id, newest_first=False):
                left_mc += line.change_mc
                charged_mc += line.charged_mc
                assert line.left_mc == left_mc
                assert entry_text(line.entry)
            # A balance shows what is due by now, written or not.
            assert f" granted={balance.granted_mc} " in found[account_id]
            assert f" charged={charged_mc} " in found[account_id]
            assert f" available={left_mc} " in found[account_id]
            assert charged_mc == balance.charged_mc
