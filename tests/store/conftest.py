from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from tests.store.harness import STORES, StoreHarness


@pytest.fixture(params=list(STORES))
async def harness(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[StoreHarness]:
    """A store of each kind, on fresh storage."""
    started: StoreHarness = await STORES[request.param](tmp_path)
    yield started
    await started.close()
