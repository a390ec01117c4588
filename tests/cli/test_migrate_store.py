"""`metercast migrate-store`: from a database to another, and what keeps it from doing so."""

import asyncio
import json
import subprocess
from pathlib import Path
from typing import Any

import pytest
from tests.cli.support import METERCAST, SECONDS, answers, complains, environment, running_server

from metercast.cli.exits import FAILED, USAGE
from metercast.client import Api
from metercast.store.sqlite import SqliteStore

RECORD = {"connection": {"host": "10.0.0.1"}, "associations": {"management": {"clientSap": 1, "password": "hunter2"}}}


async def fill(data_dir: Path) -> None:
    """A server's database with a meter, its secret, and a task that waits."""
    with running_server(data_dir) as url:
        async with Api(url) as api:
            await api.put_device("meter-1", RECORD)
            await api.submit(
                {
                    "commandId": "c",
                    "commandType": "READ_CLOCK",
                    "devices": ["meter-1"],
                    "scheduledAt": "2035-01-01T00:00:00Z",
                }
            )


async def opened_and_closed(path: Path) -> None:
    store = await SqliteStore.open(path)
    await store.close()


def migrate(source: str, target: str) -> "subprocess.CompletedProcess[str]":
    arguments = ["migrate-store", "--from", source, "--to", target, "--json"]
    return subprocess.run(
        [*METERCAST, *arguments], capture_output=True, text=True, env=environment(), timeout=SECONDS, check=False
    )


async def test_everything_is_there_and_a_server_goes_on_with_it(tmp_path: Path) -> None:
    await fill(tmp_path / "data")
    source, target = f"sqlite:///{tmp_path}/data/metercast.db", f"sqlite:///{tmp_path}/other.db"
    for skipped in (0, 1):
        done = await asyncio.to_thread(migrate, source, target)
        assert (done.returncode, done.stderr) == (0, "")
        copied: dict[str, Any] = json.loads(done.stdout)
        checksum = copied.pop("checksum")
        expected = {"meters": 1, "counters": 0, "keys": 1, "images": 0, "tasks": 1, "skipped": skipped, "devices": 1}
        assert copied == expected
        assert len(checksum) == 32
    with running_server(tmp_path / "data", METERCAST_DATABASE_URL=target) as url:
        async with Api(url) as api:
            (task,) = (await api.tasks({}))["tasks"]
            assert task["counts"]["pending"] == 1
            device = json.dumps(await api.device("meter-1"))
            assert '["password"]' in device  # it is there, and is not told
            assert "hunter2" not in device
            assert (await api.act(task["taskId"], "cancel"))["status"] == "CANCELLED"


def test_it_says_what_it_did(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    asyncio.run(opened_and_closed(tmp_path / "a.db"))
    text = answers(capsys, "migrate-store", "--from", f"sqlite:///{tmp_path}/a.db", "--to", f"sqlite:///{tmp_path}/b")
    assert text.startswith(
        "0 meters, 0 invocation counters, 0 API keys, 0 images, 0 tasks with 0 devices: copied and compared"
    )


async def test_a_database_in_use_is_told(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = await SqliteStore.open(tmp_path / "a.db")
    urls = ("--from", f"sqlite:///{tmp_path}/a.db", "--to", f"sqlite:///{tmp_path}/b.db")
    text = await asyncio.to_thread(complains, capsys, "migrate-store", *urls, code=FAILED)
    assert "is in use by another process" in text
    await store.close()


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("sqlite:///none.db", "sqlite:///b.db", "there is no file none.db"),
        ("sqlite:///a.db", "sqlite:///a.db", "are the same database"),
        ("a.db", "sqlite:///b.db", "--from: 'a.db' is no URL"),
        ("sqlite:///a.db", "oracle://h/d", "--to: 'oracle://h/d' names the database oracle"),
        ("sqlite:///a.db", "postgresql://u:hunter2@h/d", "--to: a password does not belong on a command line"),
    ],
)
def test_bad_urls(source: str, target: str, said: str, capsys: pytest.CaptureFixture[str]) -> None:
    text = complains(capsys, "migrate-store", "--from", source, "--to", target, code=USAGE)
    assert said in text
    assert "hunter2" not in text


def test_both_are_required(capsys: pytest.CaptureFixture[str]) -> None:
    assert "--from or METERCAST_MIGRATE_FROM is required" in complains(
        capsys, "migrate-store", "--to", "sqlite:///b.db", code=USAGE
    )
