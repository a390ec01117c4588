"""What docs/commands/ shows is what happens: every example is sent to a meter, its result has the documented shape."""

import asyncio
import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.driver.images import MOST_SESSIONS, PATIENT, MemoryImages
from tests.driver.support import MemoryKeeper, ScriptedCheckpoint, driver, execute, meter_of

from metercast.commands.registry import COMMANDS
from metercast.domain.outcome import Outcome, OutcomeKind
from metercast.domain.words import ErrorWord
from metercast.driver.dlms import DlmsDriver
from metercast.driver.images import ImageShelf
from metercast.simulator.firmware import FirmwareSpec, make_image
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

FOLDER = Path(__file__).parents[2] / "docs" / "commands"
Shape = dict[str, Any] | None


def documented(name: str) -> tuple[dict[str, Any], Any]:
    parameters, result = re.findall(r"```json\n(.*?)```", (FOLDER / f"{name}.md").read_text(), re.DOTALL)
    return msgspec.json.decode(parameters), msgspec.json.decode(result)


def shape(value: Any) -> Shape:
    """The names in objects, those of all elements of a list together; None for what has no names."""
    if isinstance(value, dict):
        return {name: shape(inner) for name, inner in value.items()}
    if not isinstance(value, list):
        return None
    together: dict[str, Any] = {}
    for element in value:
        found = shape(element)
        if found is not None:
            together = merged(together, found)
    return together or None


def merged(one: Shape, other: Shape) -> Any:
    if one is None or other is None:
        return one or other
    return {name: merged(one.get(name), other.get(name)) for name in one | other}


def surplus(real: Shape, shown: Shape, path: str = "") -> list[str]:
    """Names of the real result that the page does not show; what it shows as null or empty may be anything."""
    if real is None or shown is None:
        return []
    found = []
    for name, inner in real.items():
        if name not in shown:
            found.append(f"{path}.{name}")
        else:
            found += surplus(inner, shown[name], f"{path}.{name}")
    return found


FIRMWARE = {"image": "ACME-2.1.bin", "version": "2.1", "identifier": "ACME-2.1", "rebootSeconds": 0}
# What was done to the meter before, where the example is of a meter that has a past.
BEFORE: dict[str, list[tuple[str, dict[str, Any]]]] = {
    "RECONNECT": [("DISCONNECT", {})],
    "VERIFY_TOU": [("SET_TOU", documented("VERIFY_TOU")[0] | {"activation": {"mode": "immediate"}})],
    "VERIFY_FIRMWARE": [("FIRMWARE_UPDATE", FIRMWARE)],
}


async def run(name: str, parameters: dict[str, Any]) -> Outcome:
    firmware = FirmwareSpec(reboot_seconds=0.1)
    images = MemoryImages({"ACME-2.1.bin": make_image("ACME-2.1", "2.1", 10_000)})
    async with Simulator(Population.build(1, security="hls-gmac", clock_offset=30.0, firmware=firmware)) as simulator:
        (document,) = simulator.device_records()
        keeper = MemoryKeeper(meter_of(document).secrets)
        by = driver(images=ImageShelf(images), keeper=keeper, timeouts=PATIENT)
        for earlier, given in BEFORE.get(name, ()):
            assert (await to_its_end(by, document, earlier, given)).succeeded
        return await to_its_end(by, document, name, parameters)


async def to_its_end(by: DlmsDriver, document: dict[str, Any], name: str, parameters: dict[str, Any]) -> Outcome:
    """Over as many sessions as the command takes; a meter that reboots is not there for a moment."""
    progress = None
    for _ in range(MOST_SESSIONS):
        checkpoint = ScriptedCheckpoint(progress=progress)
        outcome = await execute(meter_of(document), name, parameters, by=by, checkpoint=checkpoint)
        if outcome.kind is OutcomeKind.CHECKPOINT:
            progress = outcome.progress
        elif outcome.error is not ErrorWord.CONNECTION_REFUSED:
            return outcome
        await asyncio.sleep(0.05)
    raise AssertionError(f"no end after {MOST_SESSIONS} sessions")


@pytest.mark.parametrize("name", COMMANDS)
async def test_the_documented_example_is_what_happens(name: str) -> None:
    parameters, shown = documented(name)
    if name == "FIRMWARE_UPDATE":
        parameters["rebootSeconds"] = 0  # as this meter needs
    outcome = await run(name, parameters)
    assert outcome.succeeded, (outcome.error, outcome.detail)
    real = msgspec.json.decode(msgspec.json.encode(outcome.result))
    assert set(real) == set(shown)
    if name != "BUNDLE":  # its results are those of its members, each with a page of its own
        assert surplus(shape(real), shape(shown)) == []
