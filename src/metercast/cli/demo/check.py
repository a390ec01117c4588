"""Whether the demo came out as planned: the server's record, the read-backs, and what the meters really hold."""

from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from typing import Any

from metercast.cli.demo.plan import CALENDAR, Json, Plan
from metercast.commands.parameters import parse_parameters
from metercast.commands.tariff.calendar_codec import decode_tables, encode_calendar, tables_json
from metercast.commands.tariff.set_tou import SET_TOU, SetTou
from metercast.dlms.data import decode_whole, encode_data

FACTORY = "FACTORY"
FINAL = {"status": "COMPLETED", "outcome": "PARTIAL"}


def check(plan: Plan, task: Json, devices: Mapping[str, Json], meters: Mapping[str, Json]) -> list[str]:
    """What is not as planned, one line each; empty where all is well.

    `devices` are the device commands with their results, by device id, as the API tells them. `meters` is the
    physical state of each meter, as the simulator tells it.
    """
    return [*_check_task(plan, task), *_check_devices(plan, devices), *_check_meters(plan, devices, meters)]


def _check_task(plan: Plan, task: Json) -> Iterator[str]:
    failed = sum(plan.errors.values())
    counts = {
        "total": plan.meters,
        "pending": 0,
        "sent": 0,
        "success": plan.meters - failed,
        "failed": failed,
        "cancelled": 0,
    }
    for name, expected in {**FINAL, "counts": counts}.items():
        if task[name] != expected:
            yield f"the task's {name} is {task[name]}, not {expected}"


def _check_devices(plan: Plan, devices: Mapping[str, Json]) -> Iterator[str]:
    for device_id, word in plan.error_of.items():
        device = devices.get(device_id)
        if device is None:
            yield f"{device_id} is missing from the task"
            continue
        expected = ("SUCCESS", None) if word is None else ("FAILED", word)
        if (device["commandStatus"], device["error"]) != expected:
            detail = f": {device['errorDetail']}" if device["errorDetail"] else ""
            yield f"{device_id} is {device['commandStatus']} {device['error'] or ''}{detail}; planned: {expected}"


def _check_meters(plan: Plan, devices: Mapping[str, Json], meters: Mapping[str, Json]) -> Iterator[str]:
    wanted = [encode_data(each).hex() for each in encode_calendar(_parameters().calendar)]
    for device_id in plan.device_ids:
        meter = meters.get(device_id)
        if meter is None:
            yield f"{device_id}: the simulator knows no such meter"
            continue
        if meter["maxConcurrentSessions"] > 1:
            yield f"{device_id} was in {meter['maxConcurrentSessions']} sessions at once"
        device = devices.get(device_id)
        if device is not None and device["commandStatus"] == "SUCCESS":
            yield from _check_changed(device_id, device, meter, wanted)
        elif meter["activeCalendarName"] != FACTORY or meter["activations"]:
            yield f"{device_id} failed, and yet its calendar was changed to {meter['activeCalendarName']}"


def _check_changed(device_id: str, device: Json, meter: Json, wanted: list[str]) -> Iterator[str]:
    if meter["activeCalendar"] != wanted:
        yield f"{device_id} succeeded, and the calendar that it holds is not the one that was asked for"
    if meter["activations"] != 1:
        yield f"{device_id} activated a calendar {meter['activations']} times"
    read_back = (device["result"] or {}).get("active")
    if read_back != _shown(meter["activeCalendar"]):
        yield f"{device_id}: the read-back and the calendar that it holds do not agree"


def _shown(attributes: list[str]) -> Any:
    """A calendar's attributes, hex each, as results show a calendar."""
    name, seasons, weeks, days = (decode_whole(bytes.fromhex(each)) for each in attributes)
    return tables_json(decode_tables(name, seasons, weeks, days))


def _parameters() -> SetTou:
    parameters = parse_parameters(SET_TOU, CALENDAR, datetime.now(UTC))
    assert isinstance(parameters, SetTou)
    return parameters
