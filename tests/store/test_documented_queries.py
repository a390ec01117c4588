"""The queries that docs/databases.md shows are asked of the databases that it shows them for."""

import re
import sqlite3
from pathlib import Path
from typing import Any

import asyncpg
import msgspec
import pytest
from pymongo import AsyncMongoClient
from tests.store.fleet import begun_bucket, create, failure, success
from tests.store.harness import STORES, StoreHarness

from metercast.domain.words import ErrorWord

PAGE = (Path(__file__).parents[2] / "docs" / "databases.md").read_text()
VIEWS = re.findall(r"^\| `(\w+)` \| [^|]* \| `([^`]*)` \|$", PAGE, re.MULTILINE)

CALL = re.compile(
    r"db\.(\w+)\.(find|aggregate)\((.*?)\)(?:\.sort\((.*?)\))?(?:\.limit\((\d+)\))?$", re.DOTALL | re.MULTILINE
)


def blocks(language: str) -> list[str]:
    return re.findall(rf"```{language}\n(.*?)```", PAGE, re.DOTALL)


async def fill(harness: StoreHarness) -> None:
    """A small task and a large one of SET_TOU that ended, with a failure each."""
    for task_id, count in (("small", 2), ("large", 60)):
        await create(harness, task_id, [f"m{number:02d}" for number in range(count)], command_type="SET_TOU")
        for _ in range(-(-count // 50)):
            bucket = await begun_bucket(harness, task_id)
            harness.clock.advance(3)
            results = [success(bucket, index) for index in range(1, len(bucket.devices))]
            await harness.store.record_results(bucket.lease, [failure(bucket, ErrorWord.TYPE_UNMATCHED), *results])
    await harness.store.finalise_ended()


@pytest.fixture
async def postgres(tmp_path: Path) -> Any:
    harness: Any = await STORES["postgres"](tmp_path)
    yield harness
    await harness.close()


@pytest.fixture
async def mongodb(tmp_path: Path) -> Any:
    harness: Any = await STORES["mongodb"](tmp_path)
    yield harness
    await harness.close()


def test_the_page_names_the_views() -> None:
    assert [name for name, _ in VIEWS] == [
        "task_success_rate",
        "failures_by_error",
        "time_to_completion",
        "slowest_gateways",
    ]


async def test_the_queries_for_postgresql(postgres: Any) -> None:
    await fill(postgres)
    connection = await asyncpg.connect(postgres.url)
    try:
        (made,) = [block for block in blocks("sql") if "CREATE ROLE" in block]
        name = "metercast_page"
        made = made.replace("ROLE metercast ", f"ROLE {name} ").replace("DATABASE metercast ", f"DATABASE {name} ")
        made = made.replace("OWNER metercast", f"OWNER {name}")
        for statement in made.split(";")[:-1]:
            await connection.execute(statement)
        await connection.execute(f"DROP DATABASE {name}")
        await connection.execute(f"DROP ROLE {name}")
        (queries,) = [block for block in blocks("sql") if "CREATE ROLE" not in block]
        asked = queries.replace("current_date - 7", "date '2026-01-01'").replace("= current_date - 1", "> '2026-01-01'")
        errors, gateways, times = [await connection.fetch(each) for each in asked.split(";")[:-1]]
        assert [tuple(row) for row in errors] == [("TypeUnmatched", 3)]
        assert [(row["channel"], row["sessions"], row["average"]) for row in gateways] == [("gateway-1", 59, 3)]
        assert [row["command_type"] for row in times] == ["SET_TOU"]
        grant = re.search(r"`(GRANT SELECT[^`]*)`", PAGE)
        assert grant is not None
        await connection.execute("CREATE ROLE reader_of_page")
        await connection.execute(" ".join(grant[1].split()).replace("TO reader", "TO reader_of_page"))
        await connection.execute("DROP OWNED BY reader_of_page")
        await connection.execute("DROP ROLE reader_of_page")
        for view, columns in VIEWS:
            row = await connection.fetchrow(f"SELECT * FROM {view}")
            assert list(row.keys()) == columns.split(", ")
    finally:
        await connection.close()


async def test_the_views_of_sqlite(tmp_path: Path) -> None:
    harness: Any = await STORES["sqlite"](tmp_path)
    await fill(harness)
    await harness.close()
    connection = sqlite3.connect(harness.path)
    connection.row_factory = sqlite3.Row
    for view, columns in VIEWS:
        assert list(connection.execute(f"SELECT * FROM {view}").fetchone().keys()) == columns.split(", ")
    (row,) = connection.execute("SELECT sum(devices) FROM failures_by_error").fetchall()
    connection.close()
    assert row[0] == 3


async def test_the_queries_for_mongodb(mongodb: Any) -> None:
    await fill(mongodb)
    client: AsyncMongoClient[dict[str, Any]] = AsyncMongoClient(mongodb.url)
    database = client.get_default_database()
    (text,) = [block for block in blocks("js") if "db." in block]
    text = text.replace("meter-0001", "m01").replace("2030-05-01", "2026-01-01")
    answers = []
    for name, verb, argument, sort, limit in re.findall(
        r"db\.(\w+)\.(find|aggregate)\((.*?)\)(?:\.sort\((.*?)\))?(?:\.limit\((\d+)\))?$",
        text,
        re.DOTALL | re.MULTILINE,
    ):
        value = from_shell(argument)
        if verb == "find":
            found: Any = database[name].find(value).sort(from_shell(sort)).limit(int(limit or 0))
        else:
            found = await database[name].aggregate(value)
        answers.append([each async for each in found])
    commands, errors, gateways = answers
    assert [(each["taskId"], each["commandStatus"]) for each in commands] == [
        ("large", "SUCCESS"),
        ("small", "SUCCESS"),
    ]
    fields = re.search(r"collections\): `([^`]*)`", PAGE)
    assert fields is not None
    assert set(commands[0]) <= set(" ".join(fields[1].split()).split(", "))
    assert errors == [{"_id": "TypeUnmatched", "devices": 3}]
    assert [(each["channel"], each["sessions"], each["averageSeconds"]) for each in gateways] == [
        ("gateway-1", 59, 3.0)
    ]
    for view, columns in VIEWS:
        first = await database[view].find_one({})
        assert first is not None
        assert {re.sub(r"_(\w)", lambda match: match[1].upper(), each) for each in columns.split(", ")} == set(first)
    await client.close()


def from_shell(text: str) -> Any:
    """What a shell's object means: names need no quotes there."""
    return msgspec.json.decode(re.sub(r"([{,]\s*)(\$?\w+):", r'\1"\2":', text).encode())


def test_sharding_is_by_the_keys_that_the_store_names() -> None:
    from metercast.store.mongo import schema

    (text,) = [block for block in blocks("js") if "shardCollection" in block]
    for collection, key in re.findall(r'shardCollection\("metercast\.(\w+)", \{(\w+): "hashed"\}\)', text):
        assert collection in schema.VALIDATORS
        assert schema.__doc__ is not None
        assert f"`{key}` hashed" in " ".join(schema.__doc__.split())
