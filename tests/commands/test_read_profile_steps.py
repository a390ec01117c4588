"""READ_PROFILE and READ_EVENTS on a fake meter: windows, packing, units, times."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from tests.commands.fake_session import FakeSession, attribute, run

from metercast.commands.contract import MeterRefused, StepFailed
from metercast.dlms.cosem import CosemAttribute, Selection
from metercast.dlms.data import NULL, Data, Tag, TypeDescription, decode_whole, encode_data
from metercast.dlms.datetimes import CosemDateTime
from metercast.domain.outcome import How
from metercast.domain.problem import InvalidField
from metercast.domain.words import ErrorWord

PROFILE = "1.0.99.1.0.255"
START = datetime(2026, 9, 1, tzinfo=UTC)
PERIOD = timedelta(minutes=15)
RANGE: dict[str, Any] = {"from": "2026-09-01T00:00:00Z", "to": "2026-09-02T00:00:00Z"}
# GET of class 7 attribute 2, range 2026-09-01 to 02, all columns: the catalogue's, with deviation 0 and status told.
BY_RANGE = (
    "c001c100070100630100ff0201010204020412000809060000010000ff0f02120000"
    "090c07ea0901ff00000000000000" + "090c07ea0902ff00000000000000" + "0100"
)
BY_ENTRY = "c001c100070100630100ff02010202040600000001060000000a120001120000"


def capture(class_id: int, obis: str, index: int = 2) -> Data:
    name = attribute(class_id, obis, index).logical_name
    return Data.structure([Data.long_unsigned(class_id), Data.octets(name), Data.integer(index), Data.long_unsigned(0)])


def clock(instant: datetime) -> Data:
    return Data.octets(CosemDateTime.from_datetime(instant).encode())


def told(cell: Data) -> datetime:
    return CosemDateTime.decode(cell.value).to_datetime()


class ProfileMeter(FakeSession):
    """Quarter hours of energy; `selective` False: the association has no selective access."""

    def __init__(self, rows: list[list[Data]], selective: bool = True, zone: str = "UTC") -> None:
        columns = [capture(8, "0.0.1.0.0.255"), capture(3, "1.0.1.8.0.255")]
        objects = {
            (7, PROFILE, 2): Data.array([Data.structure(row) for row in rows]),
            (7, PROFILE, 3): Data.array(columns),
            (7, PROFILE, 4): Data.double_long_unsigned(900),
            (3, "1.0.1.8.0.255", 3): Data.structure([Data.integer(-1), Data.enum(30)]),
        }
        super().__init__(objects, zone)
        self.selective = selective
        self.ranges: list[tuple[datetime, datetime]] = []

    def selected(self, attribute: CosemAttribute, selection: Selection, /) -> Data:
        if not self.selective:
            return super().selected(attribute, selection)
        rows = self.value_of(attribute).value
        if selection.selector == 2:
            first, last, _, _ = (each.value for each in selection.parameters.value)
            return Data.array(rows[first - 1 : last or None])
        _, first, last, _ = selection.parameters.value
        start, end = told(first), told(last)
        self.ranges.append((start, end))
        return Data.array([row for row in rows if start <= told(row.value[0]) <= end])


def quarters(count: int) -> list[list[Data]]:
    return [[clock(START + n * PERIOD), Data.double_long_unsigned(1000 + n)] for n in range(count)]


async def test_a_day_comes_scaled_and_with_times() -> None:
    session = ProfileMeter(quarters(200))
    outcome = await run(session, "READ_PROFILE", RANGE)
    assert outcome.how is How.DONE
    result = outcome.result
    assert result["capturePeriodSeconds"] == 900
    assert result["columns"] == [
        {"class": 8, "obis": "0.0.1.0.0.255", "attribute": 2},
        {"class": 3, "obis": "1.0.1.8.0.255", "attribute": 2, "unit": "Wh", "scaler": -1},
    ]
    assert len(result["rows"]) == 97  # both ends are in it
    assert result["rows"][0] == ["2026-09-01T00:00:00+00:00", "100.0"]
    assert result["rows"][-1] == ["2026-09-02T00:00:00+00:00", "109.6"]
    assert session.changes == []


async def test_the_requests_are_the_catalogues() -> None:
    session = ProfileMeter(quarters(4))
    await run(session, "READ_PROFILE", RANGE)
    assert session.apdus[-1] == BY_RANGE
    await run(session, "READ_PROFILE", {"entries": {"first": 1, "last": 10}})
    assert session.apdus[-1] == BY_ENTRY


@pytest.mark.parametrize("hours", [0.25, 1, 7, 24, 100])
@pytest.mark.parametrize("selective", [True, False])
async def test_windows_give_each_row_once(hours: float, selective: bool) -> None:
    session = ProfileMeter(quarters(300), selective)
    raw = {"from": "2026-09-01T01:00:00Z", "to": "2026-09-03T03:00:00Z", "windowHours": hours}
    rows = (await run(session, "READ_PROFILE", raw)).result["rows"]
    expected = [(START + timedelta(hours=1) + n * PERIOD).isoformat() for n in range(201)]
    assert [row[0] for row in rows] == expected
    assert len(session.ranges) == (-(-50 // hours) if selective else 0)


async def test_by_number_and_whole() -> None:
    for selective in (True, False):
        session = ProfileMeter(quarters(20), selective)
        rows = (await run(session, "READ_PROFILE", {"entries": {"first": 3, "last": 5}})).result["rows"]
        assert [row[1] for row in rows] == ["100.2", "100.3", "100.4"]
        rows = (await run(session, "READ_PROFILE", {"entries": {"first": 19}})).result["rows"]
        assert [row[1] for row in rows] == ["101.8", "101.9"]
        assert len((await run(session, "READ_PROFILE")).result["rows"]) == 20


async def test_no_rows_is_a_success() -> None:
    assert (await run(ProfileMeter([]), "READ_PROFILE", RANGE)).result["rows"] == []


async def test_packed_rows_are_unpacked() -> None:
    rows = [
        [clock(START), Data.double_long_unsigned(2**32 - 2)],
        [NULL, NULL],
        [NULL, Data(Tag.DELTA_UNSIGNED, 3)],
        [clock(START + timedelta(hours=5)), Data(Tag.DELTA_INTEGER, -1)],
        [NULL, Data.double_long_unsigned(7)],
    ]
    found = (await run(ProfileMeter(rows), "READ_PROFILE")).result["rows"]
    times = [START + timedelta(minutes=each) for each in (0, 15, 30, 300, 315)]
    assert [row[0] for row in found] == [each.isoformat() for each in times]
    assert [row[1] for row in found] == ["429496729.4", "429496729.4", "0.1", "0.0", "0.7"]


async def test_deltas_of_a_unix_time_are_seconds() -> None:
    since = int(START.timestamp())
    rows = [
        [Data.double_long_unsigned(since), Data.double_long_unsigned(5)],
        [Data(Tag.DELTA_LONG_UNSIGNED, 900), NULL],
        [NULL, Data(Tag.DELTA_UNSIGNED, 1)],
        [Data(Tag.DELTA_LONG_UNSIGNED, 600), NULL],
    ]
    session = ProfileMeter(rows)
    session.objects[attribute(7, PROFILE, 3)] = Data.array([capture(1, "0.0.1.1.0.255"), capture(3, "1.0.1.8.0.255")])
    found = (await run(session, "READ_PROFILE")).result["rows"]
    assert [row[0] for row in found] == [(START + timedelta(minutes=each)).isoformat() for each in (0, 15, 30, 40)]
    assert [row[1] for row in found] == ["0.5", "0.5", "0.6", "0.6"]
    first_is_a_delta = ProfileMeter([[Data(Tag.DELTA_LONG_UNSIGNED, 900), NULL]])
    with pytest.raises(StepFailed, match="delta in the first row"):
        await run(first_is_a_delta, "READ_PROFILE")


async def test_rows_in_a_compact_array() -> None:
    element = TypeDescription(
        Tag.STRUCTURE, 2, (TypeDescription(Tag.OCTET_STRING), TypeDescription(Tag.DOUBLE_LONG_UNSIGNED))
    )
    session = ProfileMeter([])
    values = [Data.structure([clock(START + n * PERIOD), Data.double_long_unsigned(n)]) for n in range(3)]
    packed = decode_whole(encode_data(Data.compact_array(element, values)))
    session.objects[attribute(7, PROFILE, 2)] = packed
    found = (await run(session, "READ_PROFILE")).result["rows"]
    assert found == [[(START + n * PERIOD).isoformat(), f"0.{n}"] for n in range(3)]


async def test_the_meters_zone_decides_where_it_tells_no_deviation() -> None:
    octets = CosemDateTime.from_datetime(START, specify_deviation=False).encode()
    rows = [[Data.octets(octets), Data.double_long_unsigned(1)]]
    found = (await run(ProfileMeter(rows, zone="Europe/Amsterdam"), "READ_PROFILE")).result["rows"]
    assert found[0][0] == "2026-09-01T00:00:00+02:00"


async def test_a_column_whose_unit_is_refused_comes_raw() -> None:
    session = ProfileMeter(quarters(1))
    session.fail["get 3/3"] = MeterRefused(ErrorWord.READ_WRITE_DENIED, "denied")
    result = (await run(session, "READ_PROFILE")).result
    assert result["columns"][1] == {"class": 3, "obis": "1.0.1.8.0.255", "attribute": 2}
    assert result["rows"] == [["2026-09-01T00:00:00+00:00", "1000"]]


@pytest.mark.parametrize(
    "rows",
    [
        [[clock(START)]],
        [[clock(START), Data.octets(b"x"), NULL]],
        [[clock(START), Data(Tag.DELTA_UNSIGNED, 1)]],
        [[clock(START), Data.octets(b"x")], [NULL, Data(Tag.DELTA_UNSIGNED, 1)]],
        [[Data.octets(b"short"), NULL]],
        [[Data.boolean(True), NULL]],
    ],
)
async def test_rows_that_are_none_are_the_meters_error(rows: list[list[Data]]) -> None:
    with pytest.raises(StepFailed) as caught:
        await run(ProfileMeter(rows), "READ_PROFILE")
    assert caught.value.error is ErrorWord.INVALID_RESPONSE
    assert PROFILE in caught.value.detail


async def test_events_are_rows_of_their_log() -> None:
    log = "0.0.99.98.2.255"
    objects = {
        (7, log, 2): Data.array([Data.structure([clock(START), Data.unsigned(62)])]),
        (7, log, 3): Data.array([capture(8, "0.0.1.0.0.255"), capture(1, "0.0.96.11.2.255")]),
        (7, log, 4): Data.double_long_unsigned(0),
    }
    result = (await run(FakeSession(objects), "READ_EVENTS", {"log": 2, **RANGE})).result
    assert (result["obis"], result["rows"]) == (log, [["2026-09-01T00:00:00+00:00", "62"]])


@pytest.mark.parametrize(
    ("raw", "path"),
    [
        ({"from": "2026-09-01T00:00:00Z"}, "to"),
        ({"to": "2026-09-01T00:00:00Z"}, "from"),
        ({"from": "2026-09-01T00:00:00", "to": "2026-09-02T00:00:00Z"}, "from"),
        ({"from": "2026-09-02T00:00:00Z", "to": "2026-09-02T00:00:00Z"}, "to"),
        ({**RANGE, "entries": {"first": 1}}, "entries"),
        ({"entries": {"first": 0}}, "entries.first"),
        ({"from": "2000-01-01T00:00:00Z", "to": "2026-01-01T00:00:00Z", "windowHours": 1}, "windowHours"),
        ({"obis": "1.0.99.1.0.256"}, "obis"),
    ],
)
async def test_what_is_asked_wrongly_is_refused_before_any_step(raw: dict[str, Any], path: str) -> None:
    session = ProfileMeter([])
    with pytest.raises(InvalidField) as caught:
        await run(session, "READ_PROFILE", raw)
    assert caught.value.path == f"commandParams.{path}"
    assert session.log == []
