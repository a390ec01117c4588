"""Clock, relay, registers, scripts, security setup and association, APDU by APDU."""

from datetime import UTC, datetime

import pytest
from tests.simulator.harness import Bench, TrueTime, associated, spec_of
from tests.simulator.raw_client import AARQ_NONE

from metercast.dlms.data import Data, Tag, decode_whole
from metercast.dlms.datetimes import CosemDateTime
from metercast.simulator.log import ActionExecuted

MIDDAY = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)


def get(bench: Bench, class_id: int, name: str, index: int) -> Data:
    """The value; fails the test where the answer is an error."""
    octets = bytes(int(part) for part in name.split(".")).hex()
    answer = bench.ask(f"c001c1{class_id:04x}{octets}{index:02x}00")
    assert answer.startswith("c401c100"), answer
    return decode_whole(bytes.fromhex(answer[8:]))


def clock(bench: Bench) -> datetime:
    return CosemDateTime.decode(get(bench, 8, "0.0.1.0.0.255", 2).value).to_datetime()


def test_the_clock_tells_local_time_with_deviation_and_summer_time() -> None:
    bench = associated()
    # Monday 1 June 2026 14:00:00.00, 120 minutes before UTC is reached, DST active
    assert get(bench, 8, "0.0.1.0.0.255", 2).value.hex() == "07ea0601010e000000ff8880"
    assert get(bench, 8, "0.0.1.0.0.255", 3) == Data.long(-60)
    assert get(bench, 8, "0.0.1.0.0.255", 4) == Data.unsigned(0x80)
    assert get(bench, 8, "0.0.1.0.0.255", 5).value.hex() == "ffff03fe0702000000" + "8000ff"
    assert get(bench, 8, "0.0.1.0.0.255", 6).value.hex() == "ffff0afe0703000000" + "8000ff"
    assert get(bench, 8, "0.0.1.0.0.255", 7) == Data.integer(60)
    assert get(bench, 8, "0.0.1.0.0.255", 8) == Data.boolean(True)
    bench.true_time.now += 61.5
    assert (clock(bench) - MIDDAY).total_seconds() == 61.5


def test_the_clock_is_set_and_shifted_by_the_golden_apdus() -> None:
    bench = associated()
    assert bench.ask("c101c100080000010000ff0200090c07ea0911ff0c0f0600ff4c00") == "c501c100"
    assert clock(bench) == datetime(2026, 9, 17, 9, 15, 6, tzinfo=UTC)
    assert bench.ask("c301c100080000010000ff060110ffe2") == "c701c10000"
    assert clock(bench) == datetime(2026, 9, 17, 9, 14, 36, tzinfo=UTC)


@pytest.mark.parametrize(
    ("value", "result"),
    [
        ("090c07ea0911ff0c0f06008000ff", "00"),  # no deviation: the meter's own zone
        ("090cffff0911ff0c0f0600ff4c00", "fa"),
        ("090c07ea0d11ff0c0f0600ff4c00", "fa"),
        ("090c07ea0911ff0c0fff00ff4c00", "fa"),
        ("090b07ea0911ff0c0f0600ff4c", "0c"),
        ("1907ea0911ff0c0f0600ff4c00", "0c"),
        ("0600000000", "0c"),
    ],
)
def test_what_the_clock_takes(value: str, result: str) -> None:
    assert associated().ask("c101c100080000010000ff0200" + value) == "c501c1" + result


@pytest.mark.parametrize(
    ("parameter", "result"), [("100384", "00"), ("10fc7c", "00"), ("100385", "fa"), ("10fc7b", "fa"), ("0f05", "0c")]
)
def test_shift_time_takes_900_seconds_either_way(parameter: str, result: str) -> None:
    assert associated().ask("c301c100080000010000ff0601" + parameter) == f"c701c1{result}00"


def test_disconnect_and_reconnect_by_the_golden_apdus() -> None:
    bench = associated(control_mode=4)
    assert bench.ask("c301c10046000060030aff01010f00") == "c701c10000"
    assert get(bench, 70, "0.0.96.3.10.255", 2) == Data.boolean(False)
    assert get(bench, 70, "0.0.96.3.10.255", 3) == Data.enum(0)
    assert bench.ask("c301c10046000060030aff02010f00") == "c701c10000"
    assert get(bench, 70, "0.0.96.3.10.255", 2) == Data.boolean(True)
    assert get(bench, 70, "0.0.96.3.10.255", 3) == Data.enum(1)


def test_reconnect_under_mode_1_waits_for_the_button() -> None:
    bench = associated(control_mode=1)
    bench.ask("c301c10046000060030aff01010f00")
    bench.ask("c301c10046000060030aff02010f00")
    assert get(bench, 70, "0.0.96.3.10.255", 3) == Data.enum(2)
    bench.meter.state.relay.manual_reconnect()
    assert get(bench, 70, "0.0.96.3.10.255", 3) == Data.enum(1)


def test_mode_0_refuses_and_the_mode_can_be_written() -> None:
    bench = associated(control_mode=0)
    assert bench.ask("c301c10046000060030aff01010f00") == "c701c1fa00"
    assert bench.ask("c101c10046000060030aff04001604") == "c501c100"
    assert bench.ask("c101c10046000060030aff04001608") == "c501c1fa"
    assert bench.ask("c101c10046000060030aff04001104") == "c501c10c"
    assert bench.ask("c101c10046000060030aff02000300") == "c501c103"
    assert get(bench, 70, "0.0.96.3.10.255", 4) == Data.enum(4)


def test_every_mdi_reset_counts() -> None:
    bench = associated()
    for count in (1, 2):
        assert bench.ask("c301c1000900000a0001ff0101120001") == "c701c10000"
        assert get(bench, 1, "0.0.0.1.0.255", 2) == Data.double_long_unsigned(count)
    assert bench.ask("c301c1000900000a0001ff0101120002") == "c701c1fa00"
    assert bench.ask("c301c1000900000a0001ff01011101") == "c701c10c00"
    assert bench.meter.snapshot()["executed"] == {"9/0.0.10.0.1.255/1": 2}
    assert [event.count for event in bench.events if isinstance(event, ActionExecuted)] == [1, 2]


def test_a_tariff_script_sets_the_active_tariff() -> None:
    bench = associated()
    assert bench.ask("c301c1000900000a0064ff0101120003") == "c701c10000"
    assert get(bench, 1, "0.0.96.14.0.255", 2) == Data.unsigned(3)
    assert len(get(bench, 9, "0.0.10.0.100.255", 2).elements()) == 4


def test_energy_only_grows_and_the_tariffs_make_it_up() -> None:
    bench = associated()
    before = get(bench, 3, "1.0.1.8.0.255", 2)
    assert before.tag is Tag.DOUBLE_LONG_UNSIGNED
    assert get(bench, 3, "1.0.1.8.0.255", 3) == Data.structure([Data.integer(0), Data.enum(30)])
    bench.true_time.now += 7200
    after = get(bench, 3, "1.0.1.8.0.255", 2).number()
    assert 200 < after - before.number() < 6000
    parts = sum(get(bench, 3, f"1.0.1.8.{tariff}.255", 2).number() for tariff in (1, 2, 3, 4))
    assert abs(parts - after) <= 4
    assert 2200 < get(bench, 3, "1.0.32.7.0.255", 2).number() < 2400


def test_identity_and_security_setup() -> None:
    spec = spec_of("hls-gmac", authentication="none", protection="none")
    bench = Bench(spec)
    bench.ask(AARQ_NONE)
    assert get(bench, 1, "0.0.42.0.0.255", 2) == Data.octets(spec.logical_device_name.encode())
    assert get(bench, 1, "0.0.96.1.0.255", 2) == Data.octets(spec.serial.encode())
    assert get(bench, 64, "0.0.43.0.0.255", 2) == Data.enum(0)
    assert get(bench, 64, "0.0.43.0.0.255", 3) == Data.enum(0)
    assert get(bench, 64, "0.0.43.0.0.255", 5) == Data.octets(spec.system_title)
    bench.meter.security.client_counter = 77
    assert get(bench, 1, "0.0.43.1.0.255", 2) == Data.double_long_unsigned(77)


def test_the_object_list_names_every_object_with_its_rights() -> None:
    bench = associated(max_pdu=65535)
    entries = get(bench, 15, "0.0.40.0.0.255", 2).elements()
    assert len(entries) > 40
    for entry in entries:
        class_id, version, name, rights = entry.elements(4)
        assert version.tag is Tag.UNSIGNED
        text = ".".join(map(str, name.octet_string(6)))
        for attribute in rights.elements(2)[0].elements():
            index, mode, _ = attribute.elements(3)
            is_long = (text, index.number()) == ("1.0.99.1.0.255", 2)  # months of rows, in blocks
            if mode.number() & 1 and not is_long:
                get(bench, class_id.number(), text, index.number())


@pytest.mark.parametrize(
    ("apdu", "answer"),
    [
        ("c001c100030100630500ff0200", "c401c10104"),  # no such object
        ("c001c100040100010800ff0200", "c401c10109"),  # another class
        ("c001c100030100010800ff0900", "c401c10104"),  # no such attribute
        ("c001c100030100010800ff02010100", "c401c101fa"),  # selective access, which it has not
        ("c101c100030100010800ff02000600000000", "c501c103"),  # not to be written
        ("c301c100030100010800ff01010f00", "c701c10400"),  # no such method
        ("c001c100010000600100ff0100", "c401c100" + "09060000600100ff"),  # attribute 1 is the logical name
        ("c003c10100010000600100ff0100", "d80202"),  # with-list was not negotiated
        ("c001c1000100006001", "d80103"),  # cut off
        ("0100", "d80202"),  # an InitiateRequest out of place
        ("dd00", "d80202"),  # general-ciphering
    ],
)
def test_answers_of_a_strict_meter(apdu: str, answer: str) -> None:
    assert associated().ask(apdu) == answer


def test_the_public_client_reads_five_things_and_changes_nothing() -> None:
    bench = Bench(spec_of("hls-gmac"))
    bench.client_sap = 16
    assert "a203020100" in bench.ask(AARQ_NONE)
    assert len(get(bench, 15, "0.0.40.0.0.255", 2).elements()) == 5
    for name, class_id in (("0.0.42.0.0.255", 1), ("0.0.1.0.0.255", 8), ("0.0.43.1.0.255", 1), ("0.0.41.0.0.255", 17)):
        get(bench, class_id, name, 2)
    assert bench.ask("c001c100030100010800ff0200") == "c401c10103"
    assert bench.ask("c001c100080000010000ff0300") == "c401c10103"
    assert bench.ask("c101c100080000010000ff0200090c07ea0911ff0c0f0600ff4c00") == "c501c103"
    assert bench.ask("c301c10046000060030aff01010f00") == "c701c10300"
    assert bench.meter.state.relay.output


def test_an_unconfirmed_request_is_done_and_not_answered() -> None:
    bench = associated()
    assert bench.ask("c101010046000060030aff04001602") == ""
    assert bench.meter.state.relay.mode == 2


def test_true_time_stands_still_for_these_tests() -> None:
    assert datetime.fromtimestamp(TrueTime()(), UTC) == MIDDAY
