"""The activity calendar with the golden APDUs of the catalogue, and armed activations as time goes by."""

import pytest
from tests.simulator.harness import Bench, associated

SET_NAME = "c101c1001400000d0000ff06000905544f553236"
SET_SEASONS = "c101c1001400000d0000ff070001010203090131090cffff0401ff000000ff8000ff090131"
SET_WEEKS = "c101c1001400000d0000ff0800010102080901311101110111011101110111021102"
SET_DAYS = (
    "c101c1001400000d0000ff0900010202021101010102030904070000000906"
    "00000a0064ff120001020211020101020309040000000009060000" + "0a0064ff120002"
)
ARM = "c101c1001400000d0000ff0a00090c"
AT_2200 = ARM + "07ea0c1fff160000008000ff"  # 2026-12-31 22:00 by the meter's own time
DISARM = ARM + "ffffffffffffffffff8000ff"
ACTIVATE = "c301c1001400000d0000ff01010f00"
OK = "c501c100"
GET = "c001c1001400000d0000ff"
TYPE_UNMATCHED, OTHER_REASON, DENIED = "c501c10c", "c501c1fa", "c501c103"
NEW_YEARS_EVE_2200 = 1_798_750_800.0  # 2026-12-31T21:00:00Z, 22:00 in Amsterdam


def write_all(bench: Bench) -> None:
    for apdu in (SET_NAME, SET_SEASONS, SET_WEEKS, SET_DAYS):
        assert bench.ask(apdu) == OK


def active_name(bench: Bench) -> str:
    return bench.ask(GET + "0200")


NEW_NAME = "c401c1000905544f553236"
OLD_NAME = "c401c1000907" + b"FACTORY".hex()


def test_passive_tables_read_back_as_written_and_become_active_at_once() -> None:
    bench = associated()
    write_all(bench)
    for index, written in ((6, SET_NAME), (7, SET_SEASONS), (8, SET_WEEKS), (9, SET_DAYS)):
        assert bench.ask(GET + f"{index:02x}00") == "c401c100" + written[26:]
    assert active_name(bench) == OLD_NAME
    assert bench.ask(ACTIVATE) == "c701c10000"
    for index, written in ((2, SET_NAME), (3, SET_SEASONS), (4, SET_WEEKS), (5, SET_DAYS)):
        assert bench.ask(GET + f"{index:02x}00") == "c401c100" + written[26:]
    assert bench.meter.state.calendar.activations == 1


def test_an_armed_calendar_becomes_active_when_its_time_comes() -> None:
    bench = associated()
    write_all(bench)
    assert bench.ask(AT_2200) == OK
    assert bench.ask(GET + "0a00") == "c401c100090c" + AT_2200[30:]
    bench.true_time.now = NEW_YEARS_EVE_2200 - 1
    assert active_name(bench) == OLD_NAME
    bench.true_time.now = NEW_YEARS_EVE_2200
    assert active_name(bench) == NEW_NAME
    assert bench.ask(GET + "0a00") == "c401c100090cffffffffffffffffff8000ff"
    bench.true_time.now += 86400
    assert active_name(bench) == NEW_NAME
    assert bench.meter.state.calendar.activations == 1


def test_the_meters_own_clock_decides() -> None:
    bench = associated()
    write_all(bench)
    assert bench.ask(AT_2200) == OK
    bench.meter.state.clock.set(NEW_YEARS_EVE_2200 + 5)
    assert bench.meter.snapshot()["activeCalendarName"] == "TOU26"


def test_a_deviation_moves_the_moment() -> None:
    bench = associated()
    write_all(bench)
    # The same dial, at UTC-05:00: deviation +300, six hours after Amsterdam's.
    assert bench.ask(ARM + "07ea0c1fff16000000012c00") == OK
    assert bench.meter.state.calendar.armed_at == NEW_YEARS_EVE_2200 + 6 * 3600


def test_disarming_ends_it() -> None:
    bench = associated()
    write_all(bench)
    bench.ask(AT_2200)
    assert bench.ask(DISARM) == OK
    bench.true_time.now = NEW_YEARS_EVE_2200 + 1
    assert active_name(bench) == OLD_NAME
    assert bench.meter.snapshot()["armedTime"] is None


@pytest.mark.parametrize("past", ["at-once", "never"])
def test_a_time_that_is_past(past: str) -> None:
    bench = associated(past_activation=past)
    write_all(bench)
    assert bench.ask(ARM + "07e90c1fff160000008000ff") == OK
    assert active_name(bench) == (NEW_NAME if past == "at-once" else OLD_NAME)


@pytest.mark.parametrize(
    "value",
    [
        "ffff0c1fff160000008000ff",  # a year left open
        "07ea0dffff160000008000ff",  # month 13
        "07ea021fff160000008000ff",  # 31 February
        "07ea0c1f01160000008000ff",  # not a Monday
        "07ea0c1fffff0000008000ff",  # no hour
    ],
)
def test_half_a_time_is_refused_and_changes_nothing(value: str) -> None:
    bench = associated()
    bench.ask(AT_2200)
    assert bench.ask(ARM + value) == OTHER_REASON
    assert bench.ask(GET + "0a00") == "c401c100090c" + AT_2200[30:]


@pytest.mark.parametrize("index", [2, 3, 4, 5])
def test_the_active_calendar_is_not_written(index: int) -> None:
    bench = associated()
    assert bench.ask(f"c101c1001400000d0000ff{index:02x}000905544f553236") == DENIED
    assert active_name(bench) == OLD_NAME


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (6, "0a05544f553236"),  # a visible-string
        (7, "01010202090131090cffff0401ff000000ff8000ff"),  # two fields
        (7, "01010203090131090bffff0401ff000000ff8000090131"),  # eleven octets
        (7, "0101020309013119ffff0401ff000000ff8000ff090131"),  # date-time, tag 25
        (8, "010102080901311201001101110111011101110211" + "02"),  # a long-unsigned day
        (8, "02010208090131110111011101110111011102" + "1102"),  # a structure of weeks
        (9, "01010202110101010203090407000000090600000a0064ff1101"),  # an unsigned selector
        (9, "01010202110101010203090307000009060000" + "0a0064ff120001"),  # three octets of time
        (10, "19ffffffffffffffffff8000ff"),
        (10, "0905ffffffffff"),
    ],
)
def test_other_types_are_unmatched(index: int, value: str) -> None:
    bench = associated()
    before = bench.ask(GET + f"{index:02x}00")
    assert bench.ask(f"c101c1001400000d0000ff{index:02x}00" + value) == TYPE_UNMATCHED
    assert bench.ask(GET + f"{index:02x}00") == before


@pytest.mark.parametrize(
    ("index", "value"),
    [
        (6, "0921" + "41" * 33),  # a name too long
        (7, "01020203090131090cffff0401ff000000ff8000ff0901310203090131090cffff0a01ff000000ff8000ff090131"),
        (7, "01010203090131090cffff0d01ff000000ff8000ff090131"),  # month 13
        (9, "01010202110101010203090418000000090600000a0064ff120001"),  # 24:00
        (
            9,  # 07:00 and then 06:00
            "01010202110101020203090407000000090600000a0064ff1200010203090406000000090600000a0064ff120002",
        ),
    ],
)
def test_values_without_sense_are_refused(index: int, value: str) -> None:
    bench = associated()
    assert bench.ask(f"c101c1001400000d0000ff{index:02x}00" + value) == OTHER_REASON


def test_a_calendar_with_loose_ends_is_not_activated() -> None:
    bench = associated()
    assert bench.ask(SET_SEASONS.replace("090131", "090139")) == OK  # a season whose week is not there
    assert bench.ask(ACTIVATE) == "c701c1fa00"
    assert bench.meter.state.calendar.activations == 0
    assert bench.meter.state.executed == {}


def test_activation_takes_an_integer() -> None:
    bench = associated()
    assert bench.ask("c301c1001400000d0000ff0101120000") == "c701c10c00"
    assert bench.ask("c301c1001400000d0000ff0100") == "c701c10c00"
