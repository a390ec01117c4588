"""Meters of every kind of security through the whole server, and one of them with somebody on its line."""

import asyncio
from pathlib import Path
from typing import Any

import httpx
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from prometheus_client.parser import text_string_to_metric_families
from tests.driver.tap import Tap
from tests.web.conftest import Api

from metercast.app import Metercast
from metercast.config import Config
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import MeterSpec

KINDS: list[dict[str, Any]] = [
    {"security": "hls-ecdsa", "suite": 1, "protection": "both", "dedicated": True, "general": True},
    {"security": "hls-ecdsa", "suite": 2},
    {"security": "hls-gmac", "suite": 2, "dedicated": True},
    {"security": "hls", "protection": "authenticated", "general": True},
    {"security": "lls", "suite": 1, "protection": "encrypted"},
    {"security": "hls-gmac", "suite": 1},  # the one that is attacked
]


def fleet() -> Population:
    meters: list[MeterSpec] = []
    for number, kind in enumerate(KINDS, start=1):
        meters += Population.build(1, first_number=number, **kind).meters
    return Population(tuple(meters))


def in_pem(document: dict[str, Any]) -> dict[str, Any]:
    """The keys for signatures as other tools write them."""
    management = document["associations"]["management"]
    if "signingKey" not in management:
        return document
    curve = ec.SECP256R1() if management["securitySuite"] == 1 else ec.SECP384R1()
    private = ec.derive_private_key(int(management["signingKey"], 16), curve)
    public = ec.EllipticCurvePublicKey.from_encoded_point(curve, bytes.fromhex("04" + management["serverPublicKey"]))
    pem = {
        "signingKey": private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()).decode(),
        "serverPublicKey": public.public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode(),
    }
    return {**document, "associations": {"management": management | pem}}


def files_with(directory: Path, octets: bytes) -> list[Path]:
    return [path for path in directory.rglob("*") if path.is_file() and octets in path.read_bytes()]


async def test_every_kind_of_security_and_an_attack(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    async with Simulator(fleet()) as simulator:
        documents = {each["deviceId"]: in_pem(each) for each in simulator.device_records()}
        attacked = list(documents)[-1]
        tap = Tap(documents[attacked]["connection"]["port"])
        line = await asyncio.start_server(tap.connected, "127.0.0.1", 0)
        documents[attacked]["connection"]["port"] = line.sockets[0].getsockname()[1]
        parts = await Metercast.open(config)
        transport = httpx.ASGITransport(app=parts.web())
        async with httpx.AsyncClient(transport=transport, base_url="http://127.0.0.1:8080") as client:
            api = Api(client, parts, config, config.data_dir)
            for device_id, document in documents.items():
                del document["deviceId"]
                response = await client.put(f"/devices/{device_id}", json=document)
                assert response.status_code == 201, response.text
                assert "PRIVATE KEY" not in (await client.get(f"/devices/{device_id}")).text
            await parts.engine.start()
            task = (await api.submit(*documents, commandType="DISCONNECT")).json()
            assert (await api.ended(task["taskId"]))["counts"]["success"] == len(documents)
            assert all(not meter.state.relay.output for meter in simulator.meters)

            tap.says = lambda number, apdu: apdu[:-1] + bytes((apdu[-1] ^ 1,)) if apdu[0] == 0xCF else apdu
            task = (await api.submit(*documents, commandType="RECONNECT")).json()
            ended = await api.ended(task["taskId"])
            assert (ended["outcome"], ended["counts"]["success"], ended["counts"]["failed"]) == ("PARTIAL", 5, 1)
            device = (await client.get(f"/tasks/{task['taskId']}/devices/{attacked}")).json()
            assert (device["commandStatus"], device["error"], device["attempts"]) == ("FAILED", "SecurityViolation", 1)
            assert "tag is wrong" in device["errorDetail"]
            samples = {
                sample.labels["kind"]: sample.value
                for family in text_string_to_metric_families((await client.get("/metrics")).text)
                for sample in family.samples
                if sample.name == "metercast_security_events_total"
            }
            assert samples == {"downgraded": 0, "replayed": 0, "forged": 1, "impostor": 0}
        await parts.engine.drain(0.5)
        await parts.store.close()
        line.close()
    assert not files_with(tmp_path, b"PRIVATE KEY")
