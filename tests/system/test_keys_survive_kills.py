"""A server killed again and again while it replaces keys: each meter is reached afterwards, no key was ever shown."""

import asyncio
import random
import time
from collections import Counter
from datetime import UTC, datetime
from pathlib import Path

import pytest
from tests.system.processes import ServerProcess, SimulatorProcess
from tests.system.stored import Stored

from metercast.databases import open_store
from metercast.domain.meter import AssociationSecrets
from metercast.domain.replacement import SecretKind
from metercast.simulator.keys import fingerprint
from metercast.store.contract import Store
from metercast.store.mongo import MongoStore
from metercast.store.postgres import PostgresStore
from metercast.vault import Vault, parse_master_key

FLEET, KILLS, FEWER_KILLS = 60, 5, 2
RETRY = {"maxAttempts": 12, "initialDelaySeconds": 0.3, "maxDelaySeconds": 1.0}
FAULTS = [
    {"count": 40, "faults": [{"kind": "delay-answers", "minimum": 0.02, "maximum": 0.3}]},
    {"count": 15, "faults": [{"kind": "lose-action-answer", "actions": 2}]},
]
KEYS = [SecretKind.ENCRYPTION_KEY, SecretKind.AUTHENTICATION_KEY, SecretKind.BROADCAST_KEY]


@pytest.mark.xdist_group("keys survive kills")
@pytest.mark.parametrize("stored", ["sqlite", "postgres"], indirect=True)  # other kills are on the third
def test_kills_while_keys_are_replaced(tmp_path: Path, stored: Stored | None) -> None:
    chance = random.Random(20261128)
    with (
        SimulatorProcess(tmp_path, FLEET, "--security", "hls-gmac", faults=FAULTS) as simulator,
        ServerProcess(tmp_path, stored, log_level="debug", progress_timeout_seconds="10", session_limit="20") as server,
    ):
        server.start()
        server.register(simulator)
        records = simulator.records()
        meters = [record["deviceId"] for record in records]
        since = datetime.now(UTC)
        parameters = {"keys": ["encryption", "authentication", "broadcast"]}
        replacing = server.submit("REPLACE_KEYS", meters, commandParams=parameters, retry=RETRY)
        hit: Counter[str] = Counter()
        caught = 0
        for _ in range(KILLS if stored is None else FEWER_KILLS):
            while not server.stored.sent(since).total() and not server.task(replacing)["outcome"]:
                time.sleep(0.02)
            time.sleep(chance.uniform(0.1, 0.8))
            server.kill()
            hit += server.stored.sent(since)
            caught += check_nothing_is_lost(server, simulator, meters)
            server.start()
            since = datetime.now(UTC)
        (task,) = server.final([replacing])
        reading = server.submit("READ_CLOCK", meters, retry=RETRY)
        (read,) = server.final([reading])
        shown = server.call("GET", f"/devices/{meters[0]}")["replacements"]["management"]
        assert {kind: set(told) for kind, told in shown.items()} == {kind.value: {"replacedAt"} for kind in KEYS}
        answers = str([server.call("GET", path) for path in _paths(replacing, meters)])
        assert server.terminate() == 0
        state = simulator.stop()
    print(f"{server.stored.url.partition(':')[0]}: in flight at the kills: {hit.total()}; keys pending then: {caught}")
    assert hit.total() > FLEET // 4, "the kills hit nothing"
    assert caught, "no kill came between a key's staging and its proof"
    assert task["counts"]["success"] == FLEET, task["counts"]
    assert read["counts"]["success"] == FLEET, read["counts"]
    secrets = asyncio.run(_stored(server, meters))
    for meter, kept in secrets.items():
        assert kept.pending == []
        for kind in KEYS:
            assert state[meter]["keys"][kind.value] == fingerprint(bytes.fromhex(kept.value(kind) or ""))
    old = [record["associations"]["management"] for record in records]
    every = {each[kind.value] for each in old for kind in KEYS} | {
        kept.value(kind) or "" for kept in secrets.values() for kind in KEYS
    }
    assert len(every) == 2 * len(KEYS) * FLEET, "every key was replaced"
    _nowhere(every, answers, server)


async def _stored(server: ServerProcess, meters: list[str]) -> dict[str, AssociationSecrets]:
    """While no server runs."""
    vault = Vault(parse_master_key((server.data_dir / "master.key").read_bytes(), "master.key"))
    store = await _open(server.stored.url)
    try:
        found = await store.find_devices(meters)
    finally:
        await store.close()
    return {meter: vault.open(each).secrets["management"] for meter, each in found.items()}


async def _open(url: str) -> Store:
    """Beside a claim of the killed server, if need be."""
    if url.startswith("sqlite"):
        return await open_store(url)
    if url.startswith("mongodb"):
        return await MongoStore.open(url, exclusive=False)
    return await PostgresStore.open(url, exclusive=False)


def check_nothing_is_lost(server: ServerProcess, simulator: SimulatorProcess, meters: list[str]) -> int:
    """What the meters really hold is stored, current or pending; how many keys are pending."""
    held = simulator.look()
    stored = asyncio.run(_stored(server, meters))
    for meter, kept in stored.items():
        assert len(kept.pending) <= 1, "one key at a time"
        for kind in KEYS:
            known = {kept.value(kind), kept.replacement(kind).pending} - {None}
            assert held[meter]["keys"][kind.value] in {fingerprint(bytes.fromhex(each or "")) for each in known}
    return sum(len(kept.pending) for kept in stored.values())


def _paths(task_id: str, meters: list[str]) -> list[str]:
    each = [f"/tasks/{task_id}/devices/{meter}" for meter in meters] + [f"/devices/{meter}" for meter in meters]
    return [f"/tasks/{task_id}", "/tasks", "/devices?limit=100", *each]


def _nowhere(secrets: set[str], answers: str, server: ServerProcess) -> None:
    files = {path: path.read_bytes() for path in server.data_dir.rglob("*") if path.is_file()}
    files[server.errors] = server.errors.read_bytes()
    assert len(files) > 2
    for secret in secrets:
        for form in (secret, secret.lower()):
            assert form not in answers
            for path, content in files.items():
                assert form.encode() not in content, path
        for path, content in files.items():
            assert bytes.fromhex(secret) not in content, path
