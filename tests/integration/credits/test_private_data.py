"""Nothing starts on a data folder, a spool or a key that others could have changed."""

from __future__ import annotations

from pathlib import Path

import pytest

from runtime.bootstrap import open_estimator, open_runtime
from runtime.files.private import NotPrivate
from runtime.ledger_opening import open_ledger
from tests.harness.workbench import make_config


@pytest.mark.parametrize("name", ["data", "data/spool", "data/spool/dead"])
@pytest.mark.parametrize("opened", [open_runtime, open_ledger, open_estimator])
async def test_law_13_a_folder_that_others_can_write_to_is_refused_before_redis_is_asked(
    tmp_path: Path, name: str, opened: object
) -> None:
    (tmp_path / "data" / "spool" / "dead").mkdir(parents=True)
    (tmp_path / name).chmod(0o777)
    config = make_config(tmp_path / "data", "unix:///nowhere.sock", "cg", "http://127.0.0.1:9")
    with pytest.raises(NotPrivate, match="has mode 0777"):
        async with opened(config):  # type: ignore[operator]  # one of three of the same kind
            raise AssertionError("it has started")
