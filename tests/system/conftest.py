from collections.abc import Iterator

import pytest
from tests.system.stored import PostgresStored, Stored


@pytest.fixture(params=["sqlite", "postgres"])
def stored(request: pytest.FixtureRequest) -> Iterator[Stored | None]:
    """A durable server of its own; None: the file in the data directory.

    The MongoDB-wire server of the tests is too slow for thousands of meters: processes on it are killed in the suite of
    the stores.
    """
    if request.param == "sqlite":
        yield None
    else:
        from tests.servers.postgres import PostgresServer

        postgres = PostgresServer.started(durable=True)
        yield PostgresStored(postgres.url())
        postgres.delete()
