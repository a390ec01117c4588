from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.harness import World

from metercast.engine import patience, scheduler, worker


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (patience, scheduler, worker):
        monkeypatch.setattr(module, "REST_SECONDS", 0.02)
    monkeypatch.setattr(worker, "_FLUSH_SECONDS", 0.3)


@pytest.fixture
async def world(tmp_path: Path) -> AsyncIterator[World]:
    """A store and an engine that runs."""
    opened = await World.open(tmp_path)
    await opened.engine.start()
    yield opened
    await opened.close()
