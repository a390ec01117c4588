"""docs/states.md shows the tables of both state machines, arrow by arrow."""

import re
from enum import StrEnum
from pathlib import Path

import pytest

from metercast.domain.states import (
    DEVICE_TRANSITIONS,
    FINAL_DEVICE,
    FINAL_TASK,
    TASK_TRANSITIONS,
    DeviceEvent,
    DeviceStatus,
    TaskStatus,
)

PAGE = (Path(__file__).parents[2] / "docs" / "states.md").read_text()
DIAGRAMS = re.findall(r"```mermaid\nstateDiagram-v2\n(.*?)```", PAGE, re.DOTALL)
ARROW = re.compile(r"^ {4}(\S+) --> (\S+?)(?:: (.+))?$")


def arrows(diagram: str) -> list[tuple[str, str | None, str]]:
    """State before, event, state after; every line must be an arrow."""
    found = []
    for line in diagram.splitlines():
        match = ARROW.match(line)
        assert match is not None, line
        found.append((match[1], match[3], match[2]))
    return found


@pytest.mark.parametrize(
    ("diagram", "table", "first", "final"),
    [
        (DIAGRAMS[0], DEVICE_TRANSITIONS, DeviceStatus.PENDING, FINAL_DEVICE),
        (DIAGRAMS[1], TASK_TRANSITIONS, TaskStatus.QUEUED, FINAL_TASK),
    ],
    ids=["device", "task"],
)
def test_a_diagram_shows_its_table(
    diagram: str,
    table: dict[tuple[StrEnum, StrEnum], StrEnum],
    first: StrEnum,
    final: frozenset[StrEnum],
) -> None:
    expected: list[tuple[str, str | None, str]] = [
        (before.value, event.value, after.value) for (before, event), after in table.items()
    ]
    expected += [("[*]", None, first.value), *((state.value, None, "[*]") for state in final)]
    assert sorted(arrows(diagram), key=str) == sorted(expected, key=str)


def test_every_state_and_event_is_explained() -> None:
    assert len(DIAGRAMS) == 2
    for state in (*DeviceStatus, *TaskStatus):
        assert f"| `{state.value}` |" in PAGE
    explained = ",".join(re.findall(r"^\| ([a-z, ]+) \|", PAGE, re.MULTILINE)).split(",")
    assert {event.value for event in DeviceEvent} <= {word.strip() for word in explained}
