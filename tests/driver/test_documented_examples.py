"""What docs/commands/ shows is what happens: every example is sent to a meter, its result has the documented shape."""

import re
from pathlib import Path
from typing import Any

import msgspec
import pytest
from tests.driver.support import MemoryKeeper, ScriptedCheckpoint, driver, execute, meter_of

from metercast.commands.registry import COMMANDS
from metercast.domain.outcome import Outcome, OutcomeKind
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


async def run(name: str, parameters: dict[str, Any]) -> Outcome:
    """To its end, over as many sessions as the command takes."""
    async with Simulator(Population.build(1, security="hls-gmac", clock_offset=30.0)) as simulator:
        (document,) = simulator.device_records()
        by, progress = driver(keeper=MemoryKeeper(meter_of(document).secrets)), None
        if name == "RECONNECT":
            assert (await execute(meter_of(document), "DISCONNECT", by=by)).succeeded
        for _ in range(5):
            outcome = await execute(
                meter_of(document), name, parameters, by=by, checkpoint=ScriptedCheckpoint(progress=progress)
            )
            if outcome.kind is not OutcomeKind.CHECKPOINT:
                return outcome
            progress = outcome.progress
    raise AssertionError("no end after five sessions")


@pytest.mark.parametrize("name", COMMANDS)
async def test_the_documented_example_is_what_happens(name: str) -> None:
    parameters, shown = documented(name)
    outcome = await run(name, parameters)
    assert outcome.succeeded, (outcome.error, outcome.detail)
    real = msgspec.json.decode(msgspec.json.encode(outcome.result))
    assert set(real) == set(shown)
    if name != "BUNDLE":  # its results are those of its members, each with a page of its own
        assert surplus(shape(real), shape(shown)) == []
