"""The fuzz target, some thousand cases of each: `make fuzz` goes on for minutes, with another seed each time."""

import contextlib

import pytest
from tests.fuzz import running
from tests.fuzz.found import data_parsers, octet_parsers
from tests.fuzz.running import Finding, cases, messages_of, run_for
from tests.fuzz.targets import Target, targets

from metercast.dlms.data import decode_whole
from metercast.dlms.errors import DecodeError

SEED = 26
CASES = 4000
TARGETS = targets()


@pytest.mark.parametrize("target", TARGETS, ids=lambda target: target.name)
def test_only_documented_errors_and_bounded(target: Target) -> None:
    assert [str(finding) for finding in cases(target, SEED, range(CASES))] == []


def test_every_target_has_a_name_of_its_own() -> None:
    assert len({target.name for target in TARGETS}) == len(TARGETS)


def test_the_parsers_are_found() -> None:
    names = {parser.name.removeprefix("metercast.") for parser in [*octet_parsers(), *data_parsers()]}
    assert {
        "dlms.acse.decode_aarq",
        "dlms.access.decode_access_response",
        "dlms.data.decode_whole",
        "dlms.datetimes.CosemDateTime.decode",
        "dlms.describe.describe",
        "dlms.general_block.decode_general_block",
        "dlms.hdlc.decode_frame",
        "dlms.initiate.decode_initiate_response",
        "dlms.notification.decode_notification",
        "commands.readings.profile_object.decode_columns",
        "commands.meter.read_association.objects_json",
    } <= names


class Planted(Exception):
    """What no documentation names."""


def fragile(messages: list[bytes]) -> None:
    if any(b"\xc4" in message for message in messages):
        raise Planted
    decode_whole(messages[0])


def test_what_is_planted_is_found_and_made_short() -> None:
    target = Target("planted", fragile, (DecodeError,), [b"\x11\x07", b"\x09\x04\x01\xc4\x02\x03"])
    finding = next(cases(target, SEED, range(1000)))
    assert finding.what.startswith("Planted at test_fuzz_briefly.py:")
    assert finding.messages == [b"\xc4"]
    seed, number = map(int, finding.case.split("/"))
    with pytest.raises(Planted):
        fragile(messages_of(seed, target, number))
    assert "c4" in str(finding)


def test_what_takes_too_much_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(running, "_SHRINKING", 2)
    greedy = Target("greedy", lambda messages: bytearray(64 << 20), (), [])
    assert [finding.what for finding in cases(greedy, SEED, range(1))] == ["64 MiB of memory"]
    monkeypatch.setattr(running, "CPU_SECONDS", 0.0)
    slow = Target("slow", lambda messages: sum(range(100_000)), (), [])
    assert next(cases(slow, SEED, range(1, 2))).what == "0 s of CPU and more"


def test_a_run_ends_with_the_number_of_its_cases() -> None:
    *findings, count = run_for([Target("fine", lambda messages: None, (), [])], SEED, 0.05)
    assert findings == []
    assert not isinstance(count, Finding)
    assert count >= 50


@pytest.mark.parametrize(
    ("name", "messages"),
    [
        # A first block that is lost, and a last one that carries nothing.
        ("client, accessing", ["e0810002000003001107", "e0880001000100"]),
        ("client, sealed answers", [""]),
        ("simulated meter, sealed requests", [""]),
        ("metercast.dlms.deciphering.split_ciphered", [""]),
    ],
)
def test_what_was_found_before(name: str, messages: list[str]) -> None:
    (target,) = (each for each in TARGETS if each.name == name)
    with contextlib.suppress(*target.errors):
        target.run([bytes.fromhex(message) for message in messages])
