"""The demo's own check notices whatever is not as planned."""

import copy
from collections.abc import Callable
from typing import Any

import pytest

from metercast.cli.demo.check import FACTORY, check
from metercast.cli.demo.plan import CALENDAR, GATEWAY_METERS, LAST_MISFIT, MIN_METERS, MISFITS, Plan
from metercast.commands.tariff.calendar_codec import decode_tables, encode_calendar, tables_json
from metercast.commands.tariff.set_tou import SetTou
from metercast.dlms.data import encode_data
from metercast.simulator.calendar import factory_calendar
from metercast.simulator.faults import parse_fault_rules

PLAN = Plan(30)
GOOD, BAD = "meter-0001", "meter-0011"


def as_planned() -> tuple[dict[str, Any], dict[str, Any], dict[str, Any]]:
    import msgspec

    calendar = encode_calendar(msgspec.convert(CALENDAR, SetTou).calendar)
    read_back = {"active": tables_json(decode_tables(*calendar))}
    new = [encode_data(each).hex() for each in calendar]
    old = [encode_data(each).hex() for each in factory_calendar()]
    devices, meters = {}, {}
    for device_id, word in PLAN.error_of.items():
        good = word is None
        devices[device_id] = {
            "commandStatus": "SUCCESS" if good else "FAILED",
            "error": word,
            "errorDetail": None,
            "result": copy.deepcopy(read_back) if good else None,
        }
        meters[device_id] = {
            "activeCalendarName": "SUMMER" if good else FACTORY,
            "activeCalendar": list(new if good else old),
            "activations": int(good),
            "maxConcurrentSessions": 1,
        }
    counts = {"total": 30, "pending": 0, "sent": 0, "success": 24, "failed": 6, "cancelled": 0}
    return {"status": "COMPLETED", "outcome": "PARTIAL", "counts": counts}, devices, meters


def test_what_is_as_planned_has_no_problem() -> None:
    assert check(PLAN, *as_planned()) == []


def set_(where: int, *path: str) -> Callable[[Any, Any], None]:
    def change(parts: Any, value: Any) -> None:
        target = parts[where]
        for step in path[:-1]:
            target = target[step]
        if value is None:
            del target[path[-1]]
        else:
            target[path[-1]] = value

    return change


@pytest.mark.parametrize(
    ("change", "value", "part"),
    [
        (set_(0, "status"), "FAILED", "the task's status is FAILED"),
        (set_(0, "outcome"), "SUCCEEDED", "the task's outcome is SUCCEEDED"),
        (set_(0, "counts", "sent"), 1, "the task's counts"),
        (set_(1, GOOD), None, "is missing from the task"),
        (set_(1, GOOD, "commandStatus"), "FAILED", "meter-0001 is FAILED"),
        (set_(1, BAD, "error"), "Expired", "meter-0011 is FAILED Expired"),
        (set_(1, GOOD, "result"), {"active": {}}, "the read-back and the calendar that it holds do not agree"),
        (set_(2, GOOD), None, "knows no such meter"),
        (set_(2, GOOD, "activeCalendar"), [encode_data(each).hex() for each in factory_calendar()], "is not the one"),
        (set_(2, GOOD, "activations"), 2, "activated a calendar 2 times"),
        (set_(2, BAD, "activeCalendarName"), "SUMMER", "failed, and yet its calendar was changed"),
        (set_(2, BAD, "activations"), 1, "failed, and yet its calendar was changed"),
        (set_(2, GOOD, "maxConcurrentSessions"), 2, "was in 2 sessions at once"),
    ],
)
def test_each_deviation_is_noticed(change: Callable[[Any, Any], None], value: Any, part: str) -> None:
    parts = as_planned()
    change(parts, value)
    assert any(part in problem for problem in check(PLAN, *parts))


def test_the_faulty_meters_are_within_the_smallest_fleet_and_not_behind_the_gateway() -> None:
    numbers = [number for misfits in MISFITS for number in misfits.numbers]
    assert len(set(numbers)) == len(numbers)
    assert max(numbers) == LAST_MISFIT
    for meters in range(MIN_METERS, 60):  # those behind the gateway are not faulty
        assert max(n for each in Plan(meters).misfits for n in each.numbers) <= meters - Plan(meters).gateway_meters
    assert PLAN.gateway_meters == Plan(200).gateway_meters == GATEWAY_METERS
    assert sum(PLAN.errors.values()) == 6
    # A wrong key can't show where no authentication is used: the simulator gives every third meter none.
    assert all((number - 1) % 3 for each in MISFITS if each.fault["kind"] == "wrong-key" for number in each.numbers)


def test_the_fault_rules_are_the_simulators() -> None:
    import msgspec

    assert len(parse_fault_rules(msgspec.json.encode(PLAN.fault_rules))) == len(MISFITS)
