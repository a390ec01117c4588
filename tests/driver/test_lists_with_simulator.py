"""Reads of several attributes: one request where the association has lists, one each where not, or where refused."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.driver.support import PATIENT, ScriptedCheckpoint, driver, execute, meter_of

from metercast.domain.outcome import How
from metercast.domain.words import ErrorWord
from metercast.profiles.collection import Profiles
from metercast.simulator.faults import AccessError, RefuseLists
from metercast.simulator.log import FaultPlayed, ServiceAnswered
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator
from metercast.simulator.spec import ACCESS, BLOCK_TRANSFERS, DEFAULT_CONFORMANCE, MULTIPLE_REFERENCES, HdlcSpec

LISTS = DEFAULT_CONFORMANCE | MULTIPLE_REFERENCES


def population(security: Any = "hls-gmac", hdlc: HdlcSpec | None = None, **changes: Any) -> Population:
    (spec,) = Population.build(1, security=security, clock_offset=0.0, hdlc=hdlc).meters
    return Population((replace(spec, **changes),))


async def requests_of(simulator: Simulator, name: str, raw: dict[str, Any] | None = None) -> tuple[int, Any]:
    """(how many APDUs and ends of links went out, the command's outcome)."""
    (document,) = simulator.device_records()
    checkpoint = ScriptedCheckpoint()
    outcome = await execute(meter_of(document), name, raw, checkpoint=checkpoint, by=driver(timeouts=PATIENT))
    return checkpoint.sends, outcome


@pytest.mark.parametrize(
    ("name", "singles"),
    [("GET_TOU", 9), ("READ_SECURITY", 4), ("READ_INSTANTANEOUS", 19), ("RECONNECT", 3)],
)
@pytest.mark.parametrize("several", [LISTS, DEFAULT_CONFORMANCE | ACCESS])
async def test_a_list_is_one_request(name: str, singles: int, several: int) -> None:
    results = []
    for conformance in (DEFAULT_CONFORMANCE, several):
        async with Simulator(population(conformance=conformance), keep_events=True) as simulator:
            sends, outcome = await requests_of(simulator, name)
            assert outcome.error is None, outcome.detail
            results.append((sends, outcome))
            gets = [each for each in simulator.events if isinstance(each, ServiceAnswered) and each.service == "get"]
            assert len(gets) == singles + 1  # the identity
    (one_by_one, first), (in_lists, second) = results
    lists = 2 if name == "READ_INSTANTANEOUS" else 1  # values, then scalers
    assert one_by_one - in_lists == singles - lists
    if name in ("GET_TOU", "READ_SECURITY"):
        assert {**first.result, "clientSystemTitle": ""} == {**second.result, "clientSystemTitle": ""}


async def test_each_item_of_a_list_has_its_own_result() -> None:
    denied = AccessError(service="get", class_id=3, logical_name="1.0.2.8.0.255", index=2, result=3)
    async with Simulator(population(conformance=LISTS, faults=(denied,))) as simulator:
        items = [{"obis": "1.0.1.8.0.255"}, {"obis": "1.0.2.8.0.255"}, {"obis": "1.0.77.8.0.255"}]
        _, outcome = await requests_of(simulator, "READ_REGISTERS", {"items": items})
        assert outcome.how is How.DONE, outcome.detail
        found = outcome.result["items"]
        assert found[0]["unit"] == "Wh"
        assert [item.get("error") for item in found] == [None, "ReadWriteDenied", "ObjectUndefined"]
        assert "1.0.2.8.0.255" in found[1]["errorDetail"]


@pytest.mark.parametrize("answer", ["exception-response", "confirmed-service-error", "data-access-result"])
@pytest.mark.parametrize(("promised", "asked"), [(LISTS, 1), (LISTS | ACCESS, 2), (DEFAULT_CONFORMANCE | ACCESS, 1)])
async def test_a_meter_that_promises_lists_and_refuses_them_is_read_one_by_one(
    answer: Any, promised: int, asked: int
) -> None:
    spec = population(conformance=promised, faults=(RefuseLists(answer=answer),))
    async with Simulator(spec, keep_events=True) as simulator:
        _, outcome = await requests_of(simulator, "READ_INSTANTANEOUS")
        assert outcome.how is How.DONE, outcome.detail
        assert [item["obis"] for item in outcome.result["items"] if "error" in item] == ["1.0.13.7.0.255"]
        played = [each for each in simulator.events if isinstance(each, FaultPlayed)]
        assert len(played) == asked  # each service once only


async def test_lists_are_cut_to_what_the_meter_takes() -> None:
    items = [{"obis": f"1.0.{quantity}.8.{tariff}.255"} for quantity in range(1, 6) for tariff in range(10)]
    raw = {"items": items, "withScaler": False}
    async with Simulator(population(conformance=LISTS, max_pdu=100)) as simulator:
        sends, outcome = await requests_of(simulator, "READ_REGISTERS", raw)
        assert outcome.error is None, outcome.detail
        assert len(outcome.result["items"]) == 50
    async with Simulator(population(conformance=LISTS)) as simulator:
        fewer, whole = await requests_of(simulator, "READ_REGISTERS", raw)
        assert [item["obis"] for item in whole.result["items"]] == [item["obis"] for item in items]
    # 100 octets less 19 of ciphering leave 7 items a request; without that limit there are 32.
    assert sends - fewer == 8 - 2


async def test_access_requests_are_cut_to_what_the_meter_takes() -> None:
    items = [{"obis": f"1.0.{quantity}.8.0.255"} for quantity in range(1, 21)]
    raw = {"items": items, "withScaler": False}
    sends = []
    for size in (100, 1024):
        async with Simulator(population(conformance=DEFAULT_CONFORMANCE | ACCESS, max_pdu=size)) as simulator:
            count, outcome = await requests_of(simulator, "READ_REGISTERS", raw)
            assert outcome.error is None, outcome.detail
            assert len(outcome.result["items"]) == 20
            sends.append(count)
    # 100 octets less 28 of general ciphering leave 5 items a request.
    assert sends[0] - sends[1] == 4 - 1


async def test_lists_answered_in_blocks(tmp_path: Path) -> None:
    """The client takes small PDUs only: the meter cuts its answers, to lists too."""
    (tmp_path / "narrow.toml").write_text('extends = "generic"\n[association]\nmax_receive_pdu = 80\n')
    by = driver(timeouts=PATIENT, profiles=Profiles.load(tmp_path))
    sends = []
    for conformance in (DEFAULT_CONFORMANCE, LISTS):
        async with Simulator(population(conformance=conformance)) as simulator:
            (document,) = simulator.device_records()
            checkpoint = ScriptedCheckpoint()
            meter = meter_of({**document, "profile": "narrow"})
            outcome = await execute(meter, "GET_TOU", checkpoint=checkpoint, by=by)
            assert outcome.how is How.DONE, outcome.detail
            assert outcome.result["active"]["days"]
            sends.append(checkpoint.sends)
    assert sends[1] < sends[0]


async def test_without_blocks_an_answer_must_fit_the_clients_pdu(tmp_path: Path) -> None:
    """What can be asked for in smaller parts is; the rest fails with the meter's word."""
    (tmp_path / "narrow.toml").write_text('extends = "generic"\n[association]\nmax_receive_pdu = 400\n')
    by = driver(timeouts=PATIENT, profiles=Profiles.load(tmp_path))
    async with Simulator(population(conformance=DEFAULT_CONFORMANCE & ~BLOCK_TRANSFERS)) as simulator:
        (document,) = simulator.device_records()
        meter = meter_of({**document, "profile": "narrow"})
        outcome = await execute(meter, "READ_ASSOCIATION", by=by)
        assert outcome.error is ErrorWord.PDU_TOO_LONG
        end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
        start = end - timedelta(days=1)
        day = {"from": start.isoformat(), "to": end.isoformat()}
        outcome = await execute(meter, "READ_PROFILE", day, by=by)
        assert outcome.how is How.DONE, outcome.detail
        times = [datetime.fromisoformat(row[0]) for row in outcome.result["rows"]]
        assert times == [start + number * timedelta(minutes=15) for number in range(97)]


async def test_what_a_profile_withholds_is_not_used(tmp_path: Path) -> None:
    (tmp_path / "plain.toml").write_text(
        'extends = "generic"\n[association]\nwithheld_services = ["multiple-references", "access"]\n'
    )
    by = driver(timeouts=PATIENT, profiles=Profiles.load(tmp_path))
    refuses = population(conformance=LISTS | ACCESS, faults=(RefuseLists(),))
    async with Simulator(refuses, keep_events=True) as simulator:
        (document,) = simulator.device_records()
        outcome = await execute(meter_of({**document, "profile": "plain"}), "GET_TOU", by=by)
        assert outcome.how is How.DONE, outcome.detail
        assert not any(isinstance(event, FaultPlayed) for event in simulator.events)


async def test_a_list_over_hdlc() -> None:
    async with Simulator(population("none", HdlcSpec(max_info=64), conformance=LISTS)) as simulator:
        _, outcome = await requests_of(simulator, "GET_TOU")
        assert outcome.how is How.DONE, outcome.detail
        assert set(outcome.result) == {"active", "passive", "activationTime"}


async def test_a_value_that_did_not_fit_the_list_is_read_alone() -> None:
    aborted = AccessError(service="get", class_id=3, logical_name="1.0.2.8.0.255", index=2, result=15)
    items = {"items": [{"obis": "1.0.1.8.0.255"}, {"obis": "1.0.2.8.0.255"}], "withScaler": False}
    sends = []
    for faults in ((), (aborted,)):
        async with Simulator(population(conformance=LISTS, faults=faults)) as simulator:
            count, outcome = await requests_of(simulator, "READ_REGISTERS", items)
            assert outcome.how is How.DONE, outcome.detail
            sends.append(count)
    assert outcome.result["items"][1]["error"] == "TransferAborted"  # it fits nowhere
    assert sends[1] - sends[0] == 1


async def test_a_list_of_refusals_only_fails_with_their_word() -> None:
    async with Simulator(population(conformance=LISTS)) as simulator:
        items = [{"obis": "1.0.77.8.0.255"}, {"obis": "1.0.78.8.0.255"}]
        _, outcome = await requests_of(simulator, "READ_REGISTERS", {"items": items})
        assert outcome.error is ErrorWord.OBJECT_UNDEFINED
