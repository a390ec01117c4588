"""Profiles, logs, special days and any object of simulated meters, through real sessions."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.driver.support import ScriptedCheckpoint, driver, execute, meter_of

from metercast.domain.outcome import How
from metercast.domain.words import ErrorWord
from metercast.driver.timeouts import Timeouts
from metercast.profiles.collection import Profiles
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import DEFAULT_CONFORMANCE, SELECTIVE_ACCESS, HdlcSpec


def population(**options: Any) -> Population:
    return Population.build(1, security="hls-gmac", clock_offset=0.0, **options)


@pytest.mark.parametrize("hdlc", [None, HdlcSpec(max_info=256)])
async def test_days_of_a_load_profile(hdlc: HdlcSpec | None) -> None:
    async with Simulator(population(hdlc=hdlc)) as simulator:
        (document,) = simulator.device_records()
        end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        start = end - timedelta(days=3)
        raw = {"from": start.isoformat(), "to": end.isoformat()}
        outcome = await execute(meter_of(document), "READ_PROFILE", raw)
        assert outcome.how is How.DONE, outcome.detail
        rows = outcome.result["rows"]
        times = [datetime.fromisoformat(row[0]) for row in rows]
        assert times == [start + number * timedelta(minutes=15) for number in range(3 * 96 + 1)]
        assert [column.get("unit") for column in outcome.result["columns"]] == [None, "Wh", "Wh"]
        energies = [int(row[1]) for row in rows]
        assert energies == sorted(energies)
        entries = await execute(meter_of(document), "READ_PROFILE", {"entries": {"first": 5, "last": 7}})
        assert len(entries.result["rows"]) == 3


async def test_without_selective_access_the_whole_is_read_and_filtered() -> None:
    spec = population()
    (meter,) = spec.meters
    plain = Population((_without_selective_access(meter),))
    async with Simulator(plain) as simulator:
        (document,) = simulator.device_records()
        await execute(meter_of(document), "DISCONNECT", by=driver())
        raw = {"from": "2020-01-01T00:00:00Z", "to": "2090-01-01T00:00:00Z", "windowHours": 8784, "log": 2}
        outcome = await execute(meter_of(document), "READ_EVENTS", raw)
        assert [row[1] for row in outcome.result["rows"]] == ["62"], outcome.detail


def _without_selective_access(spec: Any) -> Any:
    from dataclasses import replace

    return replace(spec, conformance=DEFAULT_CONFORMANCE & ~SELECTIVE_ACCESS)


async def test_ten_thousand_rows_of_one_meter() -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        patient = driver(timeouts=Timeouts(progress=30.0, session=60.0))
        outcome = await execute(
            meter_of(document), "READ_PROFILE", {"entries": {"first": 1, "last": 10_000}}, by=patient
        )
        assert outcome.error is None, outcome.detail
        assert len(outcome.result["rows"]) == 10_000


async def test_events_tell_what_was_done() -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        await execute(meter, "DISCONNECT", by=by)
        await execute(meter, "RECONNECT", by=by)
        rows = (await execute(meter, "READ_EVENTS", {"log": 2}, by=by)).result["rows"]
        assert [row[1] for row in rows] == ["62", "63"]
        assert abs(datetime.fromisoformat(rows[0][0]) - datetime.now(UTC)) < timedelta(minutes=1)


async def test_special_days_and_any_object() -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        entries = [{"index": 1, "date": "*-12-25", "dayId": 1}, {"index": 2, "date": "2027-04-27", "dayId": 2}]
        assert (await execute(meter, "SET_SPECIAL_DAYS", {"entries": entries}, by=by)).how is How.DONE
        assert (await execute(meter, "SET_SPECIAL_DAYS", {"entries": entries}, by=by)).how is How.ALREADY_SO
        merge = {"mode": "merge", "delete": [1], "entries": [{"index": 3, "date": "*-01-01", "dayId": 1}]}
        outcome = await execute(meter, "SET_SPECIAL_DAYS", merge, by=by)
        assert [each["index"] for each in outcome.result["entries"]] == [2, 3]
        raw = {"class": 11, "obis": "0.0.11.0.0.255", "attribute": 2}
        assert len((await execute(meter, "GET", raw, by=by)).result["value"]["value"]) == 2
        reset = {"class": 9, "obis": "0.0.10.0.1.255", "method": 1, "parameter": {"tag": "long-unsigned", "value": 1}}
        assert (await execute(meter, "ACTION", reset, by=by)).how is How.DONE
        mode = {"class": 70, "obis": "0.0.96.3.10.255", "attribute": 4, "value": {"tag": "enum", "value": 2}}
        assert (await execute(meter, "SET", mode, by=by)).how is How.DONE
        unknown = {"class": 3, "obis": "1.0.99.8.0.255", "attribute": 2}
        assert (await execute(meter, "GET", unknown, by=by)).error is ErrorWord.OBJECT_UNDEFINED


async def test_what_belongs_to_a_calendar() -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        days = {"entries": [{"index": 1, "date": "*-12-25", "dayId": 1}]}
        await execute(meter, "SET_SPECIAL_DAYS", days, by=by)
        raw = {"include": ["specialDays", "scripts"], "raw": True}
        result = (await execute(meter, "GET_TOU", raw, by=by)).result
        assert result["specialDays"] == days
        switched = {each["selector"] for each in result["active"]["days"][0]["schedule"]}
        assert switched <= {each["script"] for each in result["scripts"]["entries"]}
        assert {each["service"] for script in result["scripts"]["entries"] for each in script["actions"]} == {"execute"}
        read = [(each["class"], each["attribute"]) for each in result["raw"]]
        assert read == [*((20, index) for index in range(2, 11)), (11, 2), (9, 2)]
        name = next(each["hex"] for each in result["raw"] if each["attribute"] == 2)
        assert bytes.fromhex(name) == b"\x09\x07FACTORY"


async def test_a_table_that_the_meter_does_not_show_leaves_the_calendar(tmp_path: Path) -> None:
    (tmp_path / "bare.toml").write_text('extends = "generic"\n[objects]\ntariff_scripts = "0.0.10.0.99.255"\n')
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        by = driver(profiles=Profiles.load(tmp_path))
        raw = {"include": ["scripts"]}
        outcome = await execute(meter_of({**document, "profile": "bare"}), "GET_TOU", raw, by=by)
        assert outcome.how is How.DONE, outcome.detail
        assert outcome.result["scripts"]["error"] == "ObjectUndefined"
        assert "class 9 0.0.10.0.99.255 attribute 2" in outcome.result["scripts"]["errorDetail"]
        assert outcome.result["active"]["calendarName"] == "FACTORY"


async def test_what_the_meter_says_of_itself() -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        objects = (await execute(meter, "READ_ASSOCIATION", by=by)).result["objects"]
        assert {"class": 7, "obis": "1.0.99.1.0.255"}.items() <= next(o for o in objects if o["class"] == 7).items()
        security = (await execute(meter, "READ_SECURITY", by=by)).result
        assert (security["policyCode"], security["suite"]) == (3, 0)
        assert security["serverSystemTitle"] == document["identity"]["serverSystemTitle"]
        items = (await execute(meter, "READ_INSTANTANEOUS", by=by)).result["items"]
        assert {item["unit"] for item in items if "unit" in item} == {"V", "A", "W", "Hz"}
        assert [item["obis"] for item in items if "error" in item] == ["1.0.13.7.0.255"]


async def test_a_billing_period_is_closed_once() -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        first = await execute(meter, "BILLING_RESET", by=by)
        checkpoint = ScriptedCheckpoint(progress=first.progress)
        outcome = await execute(meter, "BILLING_RESET", by=by, checkpoint=checkpoint)
        assert outcome.result == {"counterBefore": 0, "counterAfter": 1}
        again = await execute(meter, "BILLING_RESET", by=by, checkpoint=checkpoint)
        assert again.result == {"counterBefore": 0, "counterAfter": 1}
        assert simulator.meter(document["deviceId"]).state.billing_counter == 1


async def test_an_emergency_changes_the_threshold_that_holds() -> None:
    async with Simulator(population()) as simulator:
        (document,) = simulator.device_records()
        meter, by = meter_of(document), driver()
        begin = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=1)
        raw = {
            "thresholdNormal": 5000,
            "thresholdEmergency": 1000,
            "emergencyProfile": {"id": 3, "activationTime": begin.isoformat(), "durationSeconds": 3600},
            "emergencyProfileGroups": [3],
        }
        assert (await execute(meter, "SET_LIMITER", raw, by=by)).how is How.DONE
        active = {"class": 71, "obis": "0.0.17.0.0.255", "attribute": 3}
        assert (await execute(meter, "GET", active, by=by)).result["value"]["value"] == 1000
        assert (await execute(meter, "SET_LIMITER", {"emergencyProfileGroups": []}, by=by)).how is How.DONE
        assert (await execute(meter, "GET", active, by=by)).result["value"]["value"] == 5000
