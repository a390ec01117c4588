"""Notifications: their octets, round trips, hostile ones, and how an association takes them between its answers."""

from contextlib import suppress

import pytest
from dlms_cosem.protocol import xdlms
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dlms.meter import AK, EK, SERVER, hls_client, plain_client, seal, settings_of

from metercast.dlms.association import ClientAssociation, State
from metercast.dlms.ciphering import Cipher
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.errors import DecodeError, EncodeError, SecurityError
from metercast.dlms.events import ActionResult, GetResult, Ignored, Notified, Released
from metercast.dlms.general_protection import GENERAL_GLO, encode_general
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.notification import (
    DataNotification,
    EventNotification,
    Notification,
    decode_notification,
)

EVENT = CosemAttribute(1, LogicalName.parse("0.0.96.11.0.255"), 2)
CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
TIME = bytes.fromhex("07e40101ff00030000ff8800")
PUSH = DataNotification(0x0000_0001, TIME, Data.unsigned(7))
ALARM = EventNotification(None, EVENT, Data.unsigned(62))


def test_octets_by_hand() -> None:
    assert PUSH.encode().hex() == "0f000000010c07e40101ff00030000ff88001107"
    assert DataNotification(0xC0FFFFFF, b"", Data.null()).encode().hex() == "0fc0ffffff0000"
    assert ALARM.encode().hex() == "c200000100006 00b00ff02".replace(" ", "") + "113e"
    timed = EventNotification(TIME, EVENT, Data.unsigned(62))
    assert timed.encode().hex() == "c2010c07e40101ff00030000ff880000010000600b00ff02113e"
    assert decode_notification(timed.encode()) == timed
    with pytest.raises(EncodeError):
        DataNotification(1 << 32, b"", Data.null()).encode()


def test_the_witness_reads_what_we_write() -> None:
    seen = xdlms.DataNotification.from_bytes(DataNotification(0xC0000001, TIME, Data.unsigned(7)).encode())
    assert bytes(seen.body) == b"\x11\x07"
    assert seen.long_invoke_id_and_priority.long_invoke_id == 1
    assert seen.long_invoke_id_and_priority.prioritized
    assert seen.date_time is not None
    assert (seen.date_time.year, seen.date_time.minute) == (2020, 3)


data_values = st.recursive(
    st.one_of(st.integers(0, 255).map(Data.unsigned), st.binary(max_size=20).map(Data.octets), st.just(Data.null())),
    lambda inner: st.lists(inner, max_size=5).map(Data.structure),
    max_leaves=20,
)
notifications: st.SearchStrategy[Notification] = st.one_of(
    st.builds(DataNotification, st.integers(0, 2**32 - 1), st.sampled_from([b"", TIME]), data_values),
    st.builds(EventNotification, st.sampled_from([None, b"", TIME]), st.just(EVENT), data_values),
)


@given(notifications)
@settings(deadline=None, max_examples=150)
def test_round_trips(notification: Notification) -> None:
    octets = notification.encode()
    assert decode_notification(octets) == notification
    for cut in range(min(len(octets), 40)):
        with pytest.raises(DecodeError):
            decode_notification(octets[:cut] or b"\x0f")
    with pytest.raises(DecodeError):
        decode_notification(octets + b"\0")


@given(st.sampled_from([PUSH.encode(), ALARM.encode()]), st.data())
@settings(deadline=None, max_examples=300)
def test_mutations_raise_only_decode_errors(octets: bytes, data: st.DataObject) -> None:
    changed = bytearray(octets)
    for _ in range(data.draw(st.integers(1, 4))):
        changed[data.draw(st.integers(0, len(changed) - 1))] = data.draw(st.integers(0, 255))
    with suppress(DecodeError):
        decode_notification(bytes(changed))


@pytest.mark.parametrize("notification", [PUSH, ALARM])
def test_one_between_request_and_answer_is_not_the_answer(notification: Notification) -> None:
    client = plain_client()
    assert client.receive(notification.encode()) == Notified(notification)  # nothing was asked
    client.get(CLOCK)
    assert client.receive(notification.encode()) == Notified(notification)
    assert client.state is State.REQUESTING
    assert client.receive(bytes.fromhex("c401c1001107")) == GetResult(Data.unsigned(7))


def test_one_in_the_middle_of_blocks() -> None:
    client = plain_client()
    client.get(CLOCK)
    client.receive(bytes.fromhex("c402c100000000010001 11".replace(" ", "")))
    assert client.receive(PUSH.encode()) == Notified(PUSH)
    assert client.receive(bytes.fromhex("c402c10100000002000107")) == GetResult(Data.unsigned(7))


def test_one_while_the_association_is_released() -> None:
    client = plain_client()
    client.release()
    assert client.receive(ALARM.encode()) == Notified(ALARM)
    assert client.receive(bytes.fromhex("6303800100")) == Released(0)


def test_one_before_there_is_an_association() -> None:
    client = ClientAssociation(settings_of())
    assert isinstance(client.receive(PUSH.encode()), Ignored)
    client.associate()
    assert isinstance(client.receive(PUSH.encode()), Ignored)
    assert client.state is State.ASSOCIATING


def general(notification: Notification, counter: int, control: int = 0x30) -> bytes:
    return encode_general(GENERAL_GLO, Cipher(EK, AK), control, SERVER, counter, notification.encode())


def glo_event(counter: int) -> bytes:
    body = Cipher(EK, AK).protect(0x30, SERVER, counter, ALARM.encode())
    return bytes((0xCA, len(body))) + body


@pytest.mark.parametrize("asked", [False, True])
def test_ciphered_ones_in_a_ciphered_association(asked: bool) -> None:
    client = hls_client()
    if asked:
        client.get(CLOCK)
    assert client.receive(general(PUSH, 4)) == Notified(PUSH)
    assert client.receive(glo_event(5)) == Notified(ALARM)
    if asked:
        answer = client.receive(seal(bytes.fromhex("c401c2001107"), 6))
        assert answer == GetResult(Data.unsigned(7))
    with pytest.raises(SecurityError, match="counter"):
        client.receive(general(PUSH, 5))  # a replay
    assert client.state is State.BROKEN


def test_a_plain_one_in_a_ciphered_association_is_not_believed() -> None:
    client = hls_client()
    client.get(CLOCK)
    assert isinstance(client.receive(PUSH.encode()), Ignored)
    assert isinstance(client.receive(ALARM.encode()), Ignored)
    assert client.receive(seal(bytes.fromhex("c401c2001107"), 4)) == GetResult(Data.unsigned(7))


def test_a_forged_one_is_a_security_event() -> None:
    client = hls_client()
    forged = bytearray(glo_event(4))
    forged[-1] ^= 1
    with pytest.raises(SecurityError, match="tag"):
        client.receive(bytes(forged))
    client = hls_client()
    with pytest.raises(SecurityError, match="demanded"):
        client.receive(general(PUSH, 4, control=0x20))


def test_one_that_can_not_be_read_is_passed_over() -> None:
    client = plain_client()
    client.get(CLOCK)
    for octets in (b"\x0f", b"\x0f\0\0\0\1\0\x99", b"\xc2\x02", PUSH.encode() + b"\0"):
        assert isinstance(client.receive(octets), Ignored)
    assert client.receive(bytes.fromhex("c401c1001107")) == GetResult(Data.unsigned(7))
    assert not isinstance(client.receive(ALARM.encode()), ActionResult)
