from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.engine.harness import World
from tests.engine.stores import KINDS

from metercast.engine import patience, scheduler, worker


@pytest.fixture(autouse=True)
def short_rests(monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (patience, scheduler, worker):
        monkeypatch.setattr(module, "REST_SECONDS", 0.02)
    monkeypatch.setattr(worker, "_FLUSH_SECONDS", 0.3)


def pytest_generate_tests(metafunc: pytest.Metafunc) -> None:
    """What opens a world is run on every kind of store."""
    if "world" in metafunc.fixturenames or "World" in vars(metafunc.module):
        metafunc.parametrize("kind_of_store", KINDS, indirect=True)


@pytest.fixture(autouse=True)
def kind_of_store(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    kind: str = getattr(request, "param", KINDS[0])
    monkeypatch.setattr(World, "kind", kind)
    return kind


@pytest.fixture
async def world(kind_of_store: str, tmp_path: Path) -> AsyncIterator[World]:
    """A store and an engine that runs."""
    opened = await World.open(tmp_path)
    await opened.engine.start()
    yield opened
    await opened.close()
