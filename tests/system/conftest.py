from collections.abc import Iterator

import pytest
from tests.system.stored import MongoStored, PostgresStored, Stored


@pytest.fixture(params=["sqlite", "postgres", "mongodb"])
def stored(request: pytest.FixtureRequest) -> Iterator[Stored | None]:
    """A database of each kind on a durable server of its own; None: the file in the data directory."""
    if request.param == "sqlite":
        yield None
    elif request.param == "postgres":
        from tests.servers.postgres import PostgresServer

        postgres = PostgresServer.started(durable=True)
        yield PostgresStored(postgres.url())
        postgres.delete()
    else:
        from tests.servers.mongodb import MongoServer

        mongo = MongoServer.started()
        found = MongoStored(mongo.url("metercast"))
        yield found
        found.close()
        mongo.delete()
