"""Simulated meters against gurux-dlms, a client of other hands: both framings, every authentication and protection."""

import asyncio
import json
import subprocess
import sys
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from metercast.dlms.elliptic import PrivateKey
from metercast.simulator import MeterSpec, Population, Simulator
from metercast.simulator.firmware import make_image
from metercast.simulator.spec import (
    ACCESS,
    BLOCK_TRANSFERS,
    GENERAL_BLOCK_TRANSFER,
    MANAGEMENT_CLIENT,
    Authentication,
    HdlcSpec,
    Protection,
    Suite,
)

PROGRAM = Path(__file__).with_name("gurux_client.py")
PYTHON = Path(sys.prefix) / "gurux-client" / "bin" / "python"

AUTHENTICATIONS: dict[Authentication, str] = {
    "none": "NONE",
    "lls": "LOW",
    "hls": "HIGH",
    "hls-md5": "HIGH_MD5",
    "hls-sha1": "HIGH_SHA1",
    "hls-gmac": "HIGH_GMAC",
    "hls-sha256": "HIGH_SHA256",
    "hls-ecdsa": "HIGH_ECDSA",
}
PROTECTIONS: dict[Protection, str] = {
    "none": "NONE",
    "authenticated": "AUTHENTICATION",
    "encrypted": "ENCRYPTION",
    "both": "AUTHENTICATION_ENCRYPTION",
}
CLOCK, CALENDAR, RELAY = (8, "0.0.1.0.0.255"), (20, "0.0.13.0.0.255"), (70, "0.0.96.3.10.255")
PROFILE = "1.0.99.1.0.255"
WHOLE_SESSION: list[list[Any]] = [
    ["get", *CLOCK, 2],
    ["get", 3, "1.0.1.8.0.255", 3],
    ["set", *CALENDAR, 6, "OCTET_STRING", "hex:544f553236"],
    ["get", *CALENDAR, 6],
    ["action", *RELAY, 1, "INT8", 0],
    ["get", *RELAY, 3],
    ["rows", PROFILE, 1, 3],
    ["set", *CALENDAR, 2, "OCTET_STRING", "hex:00"],
    ["get", 3, "1.0.99.99.99.255", 2],
    ["object_list"],
]
READ_WRITE_DENIED, OBJECT_UNDEFINED = 3, 4


def configuration(spec: MeterSpec, host: str, port: int) -> dict[str, Any]:
    hdlc = spec.hdlc or HdlcSpec()
    return {
        "framing": "wrapper" if spec.hdlc is None else "hdlc",
        "addressSize": hdlc.address_size,
        "physicalDevice": hdlc.physical_device,
        "host": host,
        "port": port,
        "client": MANAGEMENT_CLIENT,
        "server": spec.server_sap,
        "authentication": AUTHENTICATIONS[spec.authentication],
        "password": spec.password.decode() if spec.password else None,
        "security": PROTECTIONS[spec.protection],
        "suite": spec.security_suite,
        "title": (spec.client_system_title or b"").hex(),
        "encryptionKey": (spec.encryption_key or b"").hex(),
        "authenticationKey": (spec.authentication_key or b"").hex(),
        "counter": 5,
        "maxPdu": 0xFFFF,
        "offers": [],
        "leaves": False,  # the connection without a release
        "dedicatedKey": None,
        "window": None,
        "signingKey": (spec.client_signing_key or b"").hex(),
        "publicKey": _public_key(spec),
    }


def offering(population: Population, conformance: int) -> Population:
    """The same meter, which offers more."""
    (spec,) = population.meters
    return Population((replace(spec, conformance=spec.conformance | conformance),))


def _public_key(spec: MeterSpec) -> str | None:
    if spec.signing_key is None:
        return None
    return "04" + PrivateKey.parse(spec.signing_key.hex(), spec.security_suite).public.octets.hex()


async def done(population: Population, steps: list[list[Any]], **more: Any) -> tuple[list[Any], dict[str, Any]]:
    """(what each step gave, the meter's state afterwards)."""
    (spec,) = population.meters
    async with Simulator(population) as simulator:
        given = configuration(spec, *simulator.endpoint(spec.meter_id)) | more | {"steps": steps}
        return await run(given), simulator.meter(spec.meter_id).snapshot()


async def run(given: dict[str, Any]) -> list[Any]:
    """What each step gave."""
    assert PYTHON.exists(), f"{PYTHON} is missing: `make test` makes the environment of the other client"
    ran = await asyncio.to_thread(_run, given)
    assert ran.returncode == 0, ran.stderr
    results: list[Any] = json.loads(ran.stdout.splitlines()[-1])["results"]
    return results


def _run(given: dict[str, Any]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [PYTHON, "-E", PROGRAM],
        input=json.dumps(given),
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def check_whole_session(results: list[Any], state: dict[str, Any]) -> None:
    clock, scaler_unit, written, name, opened, control, rows, denied, undefined, objects = results
    assert len(clock) == len("hex:") + 24
    assert scaler_unit == [0, 30]
    assert (written, name) == (None, "hex:544f553236")
    assert (opened, control) == (None, 0)
    assert state["controlState"] == "disconnected"
    times = [datetime.fromisoformat(row[0]) for row in rows]
    assert [later - earlier for earlier, later in pairwise(times)] == [timedelta(minutes=15)] * 2
    assert (denied, undefined) == ({"error": READ_WRITE_DENIED}, {"error": OBJECT_UNDEFINED})
    assert [8, "0.0.1.0.0.255", 0] in objects
    assert len(objects) > 40


@pytest.mark.parametrize(
    ("authentication", "protection"),
    [
        ("none", "none"),
        *((each, protection) for each in AUTHENTICATIONS if each != "none" for protection in PROTECTIONS),
    ],
)
async def test_a_whole_session(authentication: Authentication, protection: Protection) -> None:
    population = Population.build(1, security=authentication, protection=protection, clock_offset=0.0)
    results, state = await done(population, WHOLE_SESSION)
    check_whole_session(results, state)


@pytest.mark.parametrize(
    ("authentication", "suite"),
    [("hls-gmac", 1), ("hls-gmac", 2), ("hls-ecdsa", 1)],  # the other client can't sign on the curve of suite 2
)
async def test_a_whole_session_with_the_suites_of_elliptic_curves(authentication: Authentication, suite: Suite) -> None:
    population = Population.build(1, security=authentication, suite=suite, protection="both", clock_offset=0.0)
    results, state = await done(population, WHOLE_SESSION)
    check_whole_session(results, state)


@pytest.mark.parametrize(
    "options",
    [
        {"dedicatedKey": "A0" * 16},
        {"offers": ["GENERAL_PROTECTION"]},
        {"offers": ["GENERAL_PROTECTION"], "dedicatedKey": "A0" * 16},
        {"offers": ["GENERAL_BLOCK_TRANSFER"], "window": 1},
        {"offers": ["GENERAL_BLOCK_TRANSFER"], "window": 5},
    ],
    ids=str,
)
async def test_a_whole_session_with(options: dict[str, Any]) -> None:
    population = Population.build(1, security="hls-gmac", clock_offset=0.0)
    results, state = await done(offering(population, GENERAL_BLOCK_TRANSFER), WHOLE_SESSION, **options)
    check_whole_session(results, state)


@pytest.mark.parametrize(
    "hdlc",
    [
        HdlcSpec(),
        HdlcSpec(address_size=2),
        HdlcSpec(address_size=4, physical_device=17),
        HdlcSpec(max_info=64),
        HdlcSpec(max_info=256, window=3),
    ],
    ids=str,
)
@pytest.mark.parametrize("authentication", ["none", "hls-gmac"])
async def test_a_whole_session_over_hdlc(hdlc: HdlcSpec, authentication: Authentication) -> None:
    population = Population.build(1, security=authentication, hdlc=hdlc, clock_offset=0.0)
    results, state = await done(population, WHOLE_SESSION)
    check_whole_session(results, state)


@pytest.mark.parametrize("max_pdu", [128, 1024])
async def test_blocks_both_ways(max_pdu: int) -> None:
    population = Population.build(1, security="hls-gmac", max_pdu=max_pdu, clock_offset=0.0)
    results, state = await done(population, [*WHOLE_SESSION, ["rows", PROFILE, 1, 200]], maxPdu=max_pdu)
    check_whole_session(results[:-1], state)
    assert len(results[-1]) == 200


@pytest.mark.parametrize("security", ["none", "hls-gmac"])
@pytest.mark.parametrize("window", [1, 5])
@pytest.mark.parametrize("theirs", [1, 4])
async def test_general_blocks_both_ways(security: Any, window: int, theirs: int) -> None:
    """A meter without blocks of the services: streamed answers, and a protected request that is cut."""
    (spec,) = Population.build(1, security=security, clock_offset=0.0).meters
    conformance = spec.conformance & ~BLOCK_TRANSFERS | GENERAL_BLOCK_TRANSFER
    meter = Population((replace(spec, conformance=conformance, max_pdu=64, block_window=theirs),))
    name = "hex:" + "41" * 32
    steps: list[list[Any]] = [["set", *CALENDAR, 6, "OCTET_STRING", name], ["get", *CALENDAR, 6], ["object_list"]]
    more = {"offers": ["GENERAL_BLOCK_TRANSFER"], "window": window, "maxPdu": 200}
    (written, found, objects), _ = await done(meter, steps, **more)
    assert (written, found) == (None, name)
    assert [20, "0.0.13.0.0.255", 0] in objects
    assert len(objects) > 35


async def test_rows_of_a_time() -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    start = end - timedelta(hours=6)
    population = Population.build(1, security="hls-gmac", clock_offset=0.0)
    steps = [["rows_of_a_time", PROFILE, start.isoformat(), end.isoformat()]]
    (rows,), _ = await done(population, steps)
    times = [datetime.fromisoformat(row[0]) for row in rows]
    assert times == [start + number * timedelta(minutes=15) for number in range(25)]


async def test_lists() -> None:
    population = Population.build(1, security="hls-gmac", multiple_references=True, clock_offset=0.0)
    (found,), _ = await done(population, [["get_list", [*CLOCK, 2], [1, "0.0.42.0.0.255", 2], [*RELAY, 4]]])
    name = population.meters[0].logical_device_name.encode().hex()
    assert found[1:] == [f"hex:{name}", 4]


async def test_access() -> None:
    population = Population.build(1, security="hls-gmac", clock_offset=0.0)
    items = [[1, "0.0.42.0.0.255", 2], [3, "1.0.99.99.99.255", 2], [*RELAY, 4]]
    (found,), _ = await done(offering(population, ACCESS), [["access", *items]], offers=["ACCESS"])
    name = population.meters[0].logical_device_name.encode().hex()
    assert found == [f"hex:{name}", -OBJECT_UNDEFINED, 4]


async def test_keys_that_the_other_client_wraps_are_those_of_the_next_association() -> None:
    population = Population.build(1, security="hls-gmac", clock_offset=0.0)
    (spec,) = population.meters
    assert spec.master_key is not None
    unicast, authentication = bytes(range(16)).hex(), bytes(range(100, 116)).hex()
    async with Simulator(population) as simulator:
        given = configuration(spec, *simulator.endpoint(spec.meter_id))
        transfer = ["transfer_keys", spec.master_key.hex(), [0, unicast], [2, authentication]]
        assert await run(given | {"steps": [transfer]}) == [None]
        new = {"encryptionKey": unicast, "authenticationKey": authentication, "steps": [["get", *CLOCK, 3]]}
        assert await run(given | new) == [-60]
        with pytest.raises(AssertionError):
            await run(given | {"counter": 5000, "steps": [["get", *CLOCK, 3]]})


async def test_an_image_that_the_other_client_transfers_runs() -> None:
    population = Population.build(1, security="hls-gmac", clock_offset=0.0)
    (spec,) = population.meters
    image = make_image("ACME", "SIM-2.0", 3000)
    image_transfer = (18, "0.0.44.0.0.255")
    steps = [
        ["transfer_image", "ACME", image.hex()],
        ["get", *image_transfer, 4],
        ["action", *image_transfer, 3, "INT8", 0],
        ["get", *image_transfer, 6],
        ["action", *image_transfer, 4, "INT8", 0],
    ]
    async with Simulator(population) as simulator:
        given = configuration(spec, *simulator.endpoint(spec.meter_id))
        count, first_missing, verified, status, activated = await run(given | {"steps": steps, "leaves": True})
        assert (count, first_missing, verified, status, activated) == (6, 6, None, 3, None)
        await asyncio.sleep(1)
        version = ["get", 1, "1.0.0.2.0.255", 2]
        assert await run(given | {"counter": 500, "steps": [version]}) == ["hex:" + b"SIM-2.0".hex()]
