"""What a profile says of a model matters on the wire: with a wrong one it fails or misreads, with the right one not."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from tests.commands.calendars import set_tou
from tests.driver.support import driver, meter_of
from tests.driver.support import execute as run

from metercast.dlms.logical_name import LogicalName
from metercast.domain.outcome import How, Outcome, Phase
from metercast.domain.words import ErrorWord
from metercast.driver.dlms import DlmsDriver
from metercast.driver.memory import MeterMemory
from metercast.driver.timeouts import Timeouts
from metercast.profiles.collection import Profiles
from metercast.simulator import faults
from metercast.simulator.dialect import Dialect
from metercast.simulator.log import AssociationReleased, Refused, ServiceAnswered
from metercast.simulator.population import Population
from metercast.simulator.simulator import Simulator

PATIENT = Timeouts(connect=20.0, progress=20.0, session=60.0, release=2.0)
SHORT = Timeouts(connect=20.0, progress=2.0, session=60.0, release=2.0)  # for a meter that keeps silent


class Bench:
    """One simulated meter, and a driver that knows the profile "acme" beside those that come with Metercast."""

    def __init__(self, simulator: Simulator, profiles: Profiles, memory: MeterMemory) -> None:
        self.simulator = simulator
        self.profiles = profiles
        (self.document,) = simulator.device_records()
        self.by: DlmsDriver = driver(timeouts=PATIENT, profiles=profiles, memory=memory)

    async def execute(self, profile: str, command: str = "READ_CLOCK", raw: Any = None, **changes: Any) -> Outcome:
        return await run(meter_of({**self.document, "profile": profile, **changes}), command, raw, by=self.by)

    @property
    def meter(self) -> Any:
        return self.simulator.meter("meter-0001")

    def sets(self) -> list[tuple[int, int]]:
        """Class and attribute of every SET that was asked for."""
        events = [each for each in self.simulator.events if isinstance(each, ServiceAnswered)]
        return [(each.class_id, each.index) for each in events if each.service == "set"]


@asynccontextmanager
async def bench(
    tmp_path: Path, dialect: Dialect, acme: str = "", memory: MeterMemory | None = None, **options: Any
) -> AsyncIterator[Bench]:
    (tmp_path / "acme.toml").write_text(f'extends = "generic"\n{acme}')
    options = {"security": "none", "clock_offset": 0.0, **options}
    async with Simulator(Population.build(1, dialect=dialect, **options), keep_events=True) as simulator:
        yield Bench(simulator, Profiles.load(tmp_path), memory or MeterMemory())


INVERTED = '[dates]\ndeviation_sign = "inverted"\n'
KOLKATA: dict[str, Any] = {"time_zone": "Asia/Kolkata"}  # UTC+05:30 all the year


async def test_the_sign_of_the_deviation_reading(tmp_path: Path) -> None:
    async with bench(tmp_path, Dialect(deviation_inverted=True), INVERTED, **KOLKATA) as it:
        wrong = (await it.execute("generic")).result
        assert wrong["differenceSeconds"] == pytest.approx(2 * 19800, abs=60)
        right = (await it.execute("acme")).result
        assert right["differenceSeconds"] == pytest.approx(0, abs=60)
        assert right["deviationMinutes"] == 330


async def test_the_sign_of_the_deviation_writing(tmp_path: Path) -> None:
    """With the wrong sign the clock is set wrong by twice its offset."""
    raw = {"strategy": "set"}
    async with bench(tmp_path, Dialect(deviation_inverted=True), INVERTED, **KOLKATA) as it:
        assert (await it.execute("generic", "SYNC_CLOCK", raw)).error is ErrorWord.VERIFICATION_FAILED
        assert abs(it.meter.snapshot()["clockOffsetSeconds"]) == pytest.approx(2 * 19800, abs=60)
        assert (await it.execute("acme", "SYNC_CLOCK", raw)).how is How.DONE
        assert it.meter.snapshot()["clockOffsetSeconds"] == pytest.approx(0, abs=60)


async def test_the_sign_of_the_deviation_in_rows(tmp_path: Path) -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0)
    raw = {"from": (end - timedelta(hours=2)).isoformat(), "to": end.isoformat()}
    async with bench(tmp_path, Dialect(deviation_inverted=True), INVERTED, **KOLKATA) as it:
        right = await it.execute("acme", "READ_PROFILE", raw)
        times = [datetime.fromisoformat(row[0]) for row in right.result["rows"]]
        assert times == [end - timedelta(hours=2) + number * timedelta(minutes=15) for number in range(9)]
        whole = await it.execute("generic", "READ_PROFILE", {"entries": {"first": 1, "last": 1}})
        same = await it.execute("acme", "READ_PROFILE", {"entries": {"first": 1, "last": 1}})
        told, meant = (datetime.fromisoformat(each.result["rows"][0][0]) for each in (whole, same))
        assert abs(told - meant) == timedelta(hours=11)


TAGS = '[dates]\ndate_time_tag = "date-time"\ndate_tag = "date"\ntime_tag = "time"\n'
LATER = {"mode": "at", "at": "2090-01-01T00:00:00Z"}


@pytest.mark.parametrize(
    ("command", "raw"),
    [
        ("SYNC_CLOCK", {"strategy": "set", "thresholdSeconds": 0}),
        ("SET_SPECIAL_DAYS", {"entries": [{"index": 1, "date": "*-12-25", "dayId": 1}]}),
        ("SET_TOU", {**set_tou(), "activation": LATER}),
        ("SET_TOU", set_tou()),
        ("SET_TIME", {"zone": {"name": "America/New_York"}, "strategy": "keep"}),
    ],
)
async def test_the_types_of_dates(tmp_path: Path, command: str, raw: dict[str, Any]) -> None:
    async with bench(tmp_path, Dialect(own_date_tags=True), TAGS, clock_offset=1.0) as it:
        wrong = await it.execute("generic", command, raw)
        assert wrong.error is ErrorWord.TYPE_UNMATCHED, wrong.detail
        right = await it.execute("acme", command, raw)
        assert right.how in (How.DONE, How.SCHEDULED), right.detail
    async with bench(tmp_path, Dialect(), TAGS, clock_offset=1.0) as it:
        assert (await it.execute("acme", command, raw)).error is ErrorWord.TYPE_UNMATCHED


@pytest.mark.parametrize(
    ("ranges", "acme"),
    [
        ("utc", '[buffers]\nrange_time = "utc"\n'),
        ("utc", '[buffers]\nrange_time = "utc"\nrange_deviation = false\n'),
        ("refused", "[buffers]\nby_range = false\n"),
    ],
)
async def test_the_bounds_of_ranges(tmp_path: Path, ranges: Any, acme: str) -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    start = end - timedelta(hours=3)
    raw = {"from": start.isoformat(), "to": end.isoformat()}
    async with bench(tmp_path, Dialect(ranges=ranges), acme, **KOLKATA) as it:
        wrong = await it.execute("generic", "READ_PROFILE", raw)
        assert wrong.error is ErrorWord.OTHER_REASON if ranges == "refused" else wrong.result["rows"] == []
        right = await it.execute("acme", "READ_PROFILE", raw)
        times = [datetime.fromisoformat(row[0]) for row in right.result["rows"]]
        assert times == [start + number * timedelta(minutes=15) for number in range(13)]


async def test_local_bounds_are_what_a_meter_means_that_looks_at_no_deviation(tmp_path: Path) -> None:
    end = datetime.now(UTC).replace(minute=0, second=0, microsecond=0) - timedelta(hours=1)
    raw = {"from": (end - timedelta(hours=3)).isoformat(), "to": end.isoformat()}
    async with bench(tmp_path, Dialect(ranges="local"), '[buffers]\nrange_time = "utc"\n', **KOLKATA) as it:
        assert len((await it.execute("dsmr", "READ_PROFILE", raw)).result["rows"]) == 13
        assert (await it.execute("acme", "READ_PROFILE", raw)).result["rows"] == []


NAMED: dict[str, Any] = {
    "seasons": [{"name": "S", "start": {"month": 4, "day": 1}, "week": "W"}],
    "weeks": [{"name": "W", "days": [1, 1, 1, 1, 1, 2, 2]}],
}


async def test_the_order_in_which_a_calendar_is_written(tmp_path: Path) -> None:
    order = '[calendar]\nwrite_order = ["days", "weeks", "seasons", "name"]\n'
    raw = set_tou(**NAMED, days=[{"id": day, "schedule": [{"start": "06:00:00", "selector": 1}]} for day in (1, 2)])
    async with bench(tmp_path, Dialect(checks_references=True), order) as it:
        wrong = await it.execute("generic", "SET_TOU", raw)
        assert (wrong.error, str(wrong.detail)[:22]) == (ErrorWord.OTHER_REASON, "nothing was activated:")
        assert it.meter.snapshot()["activations"] == 0
        assert it.sets() == [(20, 6), (20, 7), (20, 8), (20, 9)]
    async with bench(tmp_path, Dialect(checks_references=True), order) as it:
        right = await it.execute("acme", "SET_TOU", raw)
        assert right.how is How.DONE, right.detail
        assert it.sets() == [(20, 9), (20, 8), (20, 7), (20, 6)]
        assert it.meter.snapshot()["activeCalendarName"] == "TOU26"


@pytest.mark.parametrize(
    ("raw", "told"),
    [
        (set_tou(**NAMED), "the season's name 'S', the profile asks for one digit"),
        (
            set_tou(days=[{"id": day, "schedule": [{"start": "06:00:00", "selector": 1}]} for day in range(1, 6)]),
            "5 days, the meter's profile allows 4",
        ),
    ],
)
async def test_what_fits_in_a_calendar(tmp_path: Path, raw: dict[str, Any], told: str) -> None:
    async with bench(tmp_path, Dialect(one_digit_names=True, most_rows=4)) as it:
        wrong = await it.execute("generic", "SET_TOU", raw)
        assert wrong.error is ErrorWord.OTHER_REASON
        assert it.sets()  # a part was written, and left behind
        before = len(it.sets())
        right = await it.execute("dsmr", "SET_TOU", raw)
        assert (right.error, right.phase) == (ErrorWord.PROFILE_LIMIT, Phase.READING)
        assert told in str(right.detail)
        assert len(it.sets()) == before
        assert (await it.execute("dsmr", "SET_TOU", set_tou())).how is How.DONE


async def test_a_meter_that_knows_no_release(tmp_path: Path) -> None:
    async with bench(tmp_path, Dialect(releases=False), "[association]\nrelease = false\n") as it:
        assert (await it.execute("acme")).how is How.DONE
        assert not [each for each in it.simulator.events if isinstance(each, Refused)]
        assert (await it.execute("generic")).how is How.DONE  # the end never changes a result
        refused = [each for each in it.simulator.events if isinstance(each, Refused)]
        assert [each.reason for each in refused] == ["an RLRQ, which this model does not know"]
    async with bench(tmp_path, Dialect()) as it:
        assert (await it.execute("generic")).how is How.DONE
        assert [each for each in it.simulator.events if isinstance(each, AssociationReleased)]


MOVED = {
    "0.0.13.0.0.255": "0.0.13.0.1.255",
    "0.0.1.0.0.255": "0.0.1.0.9.255",
    "0.0.11.0.0.255": "0.0.11.0.1.255",
    "0.0.96.3.10.255": "0.1.96.3.10.255",
    "0.0.17.0.0.255": "0.1.17.0.0.255",
    "0.0.42.0.0.255": "0.1.42.0.0.255",
    "0.0.43.0.0.255": "0.0.43.0.5.255",
    "0.0.0.1.0.255": "1.0.0.1.0.255",
    "1.0.99.1.0.255": "1.0.99.2.0.255",
}
MOVED_PROFILE = """[objects]
activity_calendar = "0.0.13.0.1.255"
clock = "0.0.1.0.9.255"
special_days = "0.0.11.0.1.255"
disconnect_control = "0.1.96.3.10.255"
limiter = "0.1.17.0.0.255"
logical_device_name = "0.1.42.0.0.255"
security_setup = "0.0.43.0.5.255"
billing_counter = "1.0.0.1.0.255"
load_profile = "1.0.99.2.0.255"
"""


@pytest.mark.parametrize(
    ("command", "raw"),
    [
        ("GET_TOU", {}),
        ("SET_TOU", set_tou()),
        ("READ_CLOCK", {}),
        ("SYNC_CLOCK", {"strategy": "set"}),
        ("SET_SPECIAL_DAYS", {"entries": []}),
        ("DISCONNECT", {}),
        ("SET_LIMITER", {"thresholdNormal": 5000}),
        ("READ_SECURITY", {}),
        ("BILLING_RESET", {}),
        ("READ_PROFILE", {"entries": {"first": 1, "last": 2}}),
    ],
)
async def test_objects_under_other_names(tmp_path: Path, command: str, raw: dict[str, Any]) -> None:
    moved = tuple((LogicalName.parse(usual), LogicalName.parse(here)) for usual, here in MOVED.items())
    async with bench(tmp_path, Dialect(moved=moved), MOVED_PROFILE) as it:
        named: dict[str, Any] = {"identity": {}} if command != "DISCONNECT" else {}
        wrong = await it.execute("generic", command, raw, **named)
        assert wrong.error is ErrorWord.OBJECT_UNDEFINED, wrong.detail
        right = await it.execute("acme", command, raw)
        assert right.error is None, right.detail


async def test_what_a_task_names_goes_before_the_profile(tmp_path: Path) -> None:
    clock = LogicalName.parse("0.0.1.0.0.255"), LogicalName.parse("0.0.1.0.9.255")
    async with bench(tmp_path, Dialect(moved=(clock,)), '[objects]\nclock = "0.0.1.0.8.255"\n') as it:
        assert (await it.execute("acme")).error is ErrorWord.OBJECT_UNDEFINED
        assert (await it.execute("acme", "READ_CLOCK", {"obis": "0.0.1.0.9.255"})).how is How.DONE


async def test_clients_and_their_counters(tmp_path: Path) -> None:
    """Of IS 15959: management is client 48, and its counter is not the one of generic."""
    counter = LogicalName.parse("0.0.43.1.0.255"), LogicalName.parse("0.0.43.1.3.255")
    dialect = Dialect(management_client=48, moved=(counter,))
    async with bench(tmp_path, dialect, "[clients.management]\nsap = 48\n", security="hls-gmac") as it:
        associations = {name: dict(each) for name, each in it.document["associations"].items()}
        for each in associations.values():
            del each["clientSap"]
        assert (await it.execute("generic", associations=associations)).error is ErrorWord.ASSOCIATION_REJECTED
        assert (await it.execute("is15959", associations=associations)).how is How.DONE
        it.by = driver(timeouts=SHORT, profiles=it.profiles)
        await it.simulator.set_faults("meter-0001", (faults.StaleCounter(ahead=5000, silent=True),))
        wrong = await it.execute("acme", associations=associations)
        assert wrong.phase is Phase.ASSOCIATING
        assert "the counter could not be read" in str(wrong.detail)
        assert (await it.execute("is15959", associations=associations)).how is How.DONE
        # The record goes before the profile: the same client, named by it.
        assert (await it.execute("generic")).how is How.DONE


class Hours:
    now = 0.0

    def __call__(self) -> float:
        return self.now


async def test_a_meter_that_locks_is_never_brought_to_it(tmp_path: Path) -> None:
    clock = Hours()
    dialect = Dialect(lock_after=5, management_client=48)
    async with bench(tmp_path, dialect, memory=MeterMemory(clock), security="lls") as it:
        associations = it.document["associations"]
        wrong = {**associations, "management": {**associations["management"], "password": "nonsense"}}
        for _ in range(8):
            outcome = await it.execute("spodes", associations=wrong)
            assert outcome.error is ErrorWord.AUTHENTICATION_FAILED
        assert str(outcome.detail).startswith("not tried: the meter refused 4 times and locks at 5")
        assert outcome.phase is Phase.BEFORE_ASSOCIATION
        assert it.meter.wrong_passwords == 4
        assert (await it.execute("spodes")).error is ErrorWord.AUTHENTICATION_FAILED  # the right one waits too
        clock.now += 3601
        assert (await it.execute("spodes")).how is How.DONE
        for _ in range(8):
            await it.execute("generic", associations=wrong)
        assert it.meter.wrong_passwords == 5
        assert (await it.execute("generic")).error is ErrorWord.AUTHENTICATION_FAILED  # locked


async def test_a_meter_that_rests_between_associations(tmp_path: Path) -> None:
    pause = "[delays]\nbetween_associations = 1.5\n"
    async with bench(tmp_path, Dialect(rest_seconds=1.0), pause) as it:
        for _ in range(3):
            assert (await it.execute("acme")).how is How.DONE
        hurried = await it.execute("generic")
        assert hurried.error is ErrorWord.METER_BUSY, hurried.detail


async def test_a_threshold_of_nothing(tmp_path: Path) -> None:
    async with bench(tmp_path, Dialect(), "[limiter]\nzero_threshold = true\n") as it:
        refused = await it.execute("generic", "SET_LIMITER", {"thresholdNormal": 0})
        assert refused.error is ErrorWord.PROFILE_LIMIT
        assert it.sets() == []
        assert (await it.execute("acme", "SET_LIMITER", {"thresholdNormal": 0})).how is How.DONE


async def test_event_logs_and_what_their_codes_mean(tmp_path: Path) -> None:
    async with bench(tmp_path, Dialect()) as it:
        named = await it.execute("dsmr", "READ_EVENTS", {"log": "standard"})
        assert named.result["obis"] == "0.0.99.98.0.255"
        assert named.result["columns"][1]["names"] == {"2": "power up"}
        assert "names" not in named.result["columns"][0]
        plain = await it.execute("generic", "READ_EVENTS", {"log": 0})
        assert plain.result["rows"] == named.result["rows"]
        assert all("names" not in column for column in plain.result["columns"])
        unknown = await it.execute("is15959", "READ_EVENTS", {"log": "standard"})
        assert unknown.error is ErrorWord.OBJECT_UNDEFINED
        assert "it has control, current, non-rollover" in str(unknown.detail)


async def test_what_is_proposed_to_a_strict_meter(tmp_path: Path) -> None:
    """Of more than it knows it wants to hear nothing (catalogue 2.9, initiate 2 and 3)."""
    services = 'withheld_services = ["multiple-references", "general-block-transfer", "access"]\n'
    async with bench(tmp_path, Dialect(strict=True), f"[association]\nmax_receive_pdu = 1024\n{services}") as it:
        assert (await it.execute("generic")).error is ErrorWord.ASSOCIATION_REJECTED
        right = await it.execute("acme")
        assert right.how is How.DONE, right.detail
    async with bench(tmp_path, Dialect(strict=True), f"[association]\n{services}") as it:
        assert (await it.execute("acme")).error is ErrorWord.ASSOCIATION_REJECTED  # the PDU is too large still


async def test_how_far_a_counter_may_jump(tmp_path: Path) -> None:
    async with bench(tmp_path, Dialect(), "[association]\nmax_counter_jump = 4000\n", security="hls-gmac") as it:
        await it.simulator.set_faults("meter-0001", (faults.StaleCounter(ahead=5000),))
        refused = await it.execute("acme")
        assert refused.error is ErrorWord.INVOCATION_COUNTER_ERROR
        assert "the limit is 4000" in str(refused.detail)
        assert (await it.execute("generic")).how is How.DONE
