"""ACCESS: its octets, round trips, results item by item, and answers that are wrong."""

from contextlib import suppress

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dlms.meter import AK, ALL_SERVICES, CLIENT, EK, SERVER, hls_client, plain_client

from metercast.dlms.access import (
    AccessItemResult,
    AccessKind,
    AccessRequest,
    AccessResponse,
    AccessSpecification,
    decode_access_request,
    decode_access_response,
)
from metercast.dlms.access_transfer import AccessAction, AccessGet, AccessItem, AccessSet
from metercast.dlms.association import State
from metercast.dlms.ciphering import Cipher
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import NULL, Data
from metercast.dlms.describe import ApduReader
from metercast.dlms.errors import (
    DecodeError,
    EncodeError,
    LocalProtocolError,
    NotNegotiated,
    RemoteProtocolError,
    UnexpectedAnswer,
)
from metercast.dlms.events import AccessResult, ActionResult, GetResult, Ignored, Send, SetResult
from metercast.dlms.general_protection import GENERAL_GLO, decode_general, encode_general
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode, DataAccessResult

ACCESS = ALL_SERVICES | 0x000040
CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
PROFILE = CosemAttribute(7, LogicalName.parse("1.0.99.1.0.255"), 2)
SHIFT = CosemMethod(8, LogicalName.parse("0.0.1.0.0.255"), 6)
TIME = bytes.fromhex("07e40101ff00030000ff8800")
ITEMS: list[AccessItem] = [AccessGet(CLOCK), AccessSet(CLOCK, Data.unsigned(1)), AccessAction(SHIFT, Data.long(-30))]


def test_octets_by_hand() -> None:
    client = plain_client(conformance=ACCESS)
    request = client.access(ITEMS)
    assert request.hex() == (
        "d9" "c0000001" "00"
        "03" "0100080000010000ff02" "0200080000010000ff02" "0300080000010000ff06"
        "03" "00" "1101" "10ffe2"
    )  # fmt: skip
    event = client.receive(bytes.fromhex("da c0000001 00 00 03 1107 00 00 03 0100 0203 0302"))
    assert event == AccessResult(
        b"",
        [
            GetResult(Data.unsigned(7)),
            SetResult(DataAccessResult.READ_WRITE_DENIED),
            ActionResult(ActionResultCode.TEMPORARY_FAILURE),
        ],
    )
    assert client.state is State.ASSOCIATED


def test_selections_and_break_on_error() -> None:
    client = plain_client(conformance=ACCESS)
    items: list[AccessItem] = [
        AccessGet(PROFILE, Selection(2, NULL)),
        AccessSet(PROFILE, Data.unsigned(1), Selection(1, NULL)),
        AccessAction(SHIFT),
    ]
    request = client.access(items, break_on_error=True)
    assert request.hex() == (
        "d9" "e0000001" "00"
        "03" "0400070100630100ff020200" "0500070100630100ff020100" "0300080000010000ff06"
        "03" "00" "1101" "00"
    )  # fmt: skip
    described = "01 03 0400070100630100ff020200 0500070100630100ff020100 0300080000010000ff06"
    answer = bytes.fromhex(f"da c0000001 0c {TIME.hex()} {described} 03 0900 00 1105 03 0100 0200 0300")
    assert client.receive(answer) == AccessResult(
        TIME, [GetResult(Data.octets(b"")), SetResult(), ActionResult(ActionResultCode.SUCCESS, Data.unsigned(5))]
    )


attributes = st.builds(
    CosemAttribute, st.integers(0, 65535), st.binary(min_size=6, max_size=6).map(LogicalName), st.integers(-128, 127)
)
methods = st.builds(
    CosemMethod, st.integers(0, 65535), st.binary(min_size=6, max_size=6).map(LogicalName), st.integers(-128, 127)
)
selections = st.builds(Selection, st.integers(0, 255), st.integers(0, 255).map(Data.unsigned))
specifications = st.one_of(
    st.builds(AccessSpecification, st.sampled_from([AccessKind.GET, AccessKind.SET]), attributes),
    st.builds(
        AccessSpecification,
        st.sampled_from([AccessKind.GET_WITH_SELECTION, AccessKind.SET_WITH_SELECTION]),
        attributes,
        selections,
    ),
    st.builds(AccessSpecification, st.just(AccessKind.ACTION), methods),
)
values = st.lists(st.one_of(st.just(NULL), st.integers(0, 255).map(Data.unsigned)), max_size=5)
results = st.one_of(
    st.builds(
        AccessItemResult,
        st.sampled_from([AccessKind.GET, AccessKind.SET]),
        st.integers(0, 255).map(DataAccessResult),
    ),
    st.builds(AccessItemResult, st.just(AccessKind.ACTION), st.integers(0, 255).map(ActionResultCode)),
)
invokes = st.integers(0, 2**32 - 1)
times = st.sampled_from([b"", TIME])


@given(st.builds(AccessRequest, invokes, st.lists(specifications, max_size=5), values, times))
@settings(deadline=None)
def test_requests_survive_the_wire(request: AccessRequest) -> None:
    octets = request.encode()
    assert decode_access_request(octets) == request
    for cut in range(1, len(octets)):
        with pytest.raises(DecodeError):
            decode_access_request(octets[:cut])
    with pytest.raises(DecodeError):
        decode_access_request(octets + b"\0")


@given(
    st.builds(
        AccessResponse,
        invokes,
        values,
        st.lists(results, max_size=5),
        times,
        st.none() | st.lists(specifications, max_size=3),
    )
)
@settings(deadline=None)
def test_responses_survive_the_wire(response: AccessResponse) -> None:
    octets = response.encode()
    assert decode_access_response(octets) == response
    for cut in range(1, len(octets)):
        with pytest.raises(DecodeError):
            decode_access_response(octets[:cut])
    with pytest.raises(DecodeError):
        decode_access_response(octets + b"\0")


ANSWER = "dac00000010000 03 1107 00 00 03 0100 0203 0302".replace(" ", "")


@pytest.mark.parametrize(
    ("answer", "error"),
    [
        ("dac0000001 00 00 02 1107 00 03 0100 0203 0302", UnexpectedAnswer),
        ("dac0000001 00 00 03 1107 00 00 02 0100 0203", UnexpectedAnswer),
        ("dac0000001 00 00 03 1107 00 00 03 0200 0203 0302", UnexpectedAnswer),  # a result of another kind
        ("dac0000001 00 00 03 1107 00 00 03 0100 0203 0402", DecodeError),
        ("dac0000001 00 02 03 1107 00 00 03 0100 0203 0302", DecodeError),
        ("dac0000001 00 00 ff", DecodeError),
        ("da", DecodeError),
        ("c401c1001107", UnexpectedAnswer),
    ],
)
def test_answers_that_are_wrong(answer: str, error: type[RemoteProtocolError]) -> None:
    client = plain_client(conformance=ACCESS)
    client.access(ITEMS)
    with pytest.raises(error):
        client.receive(bytes.fromhex(answer))
    assert client.state is State.BROKEN


def test_an_answer_to_another_invocation_is_passed_over() -> None:
    client = plain_client(conformance=ACCESS)
    client.access(ITEMS)
    assert isinstance(client.receive(bytes.fromhex(ANSWER.replace("c0000001", "c0000002"))), Ignored)
    assert isinstance(client.receive(bytes.fromhex(ANSWER)), AccessResult)


@given(st.data())
@settings(deadline=None, max_examples=300)
def test_mutated_answers_raise_only_what_is_documented(data: st.DataObject) -> None:
    octets = bytearray(bytes.fromhex(ANSWER))
    for _ in range(data.draw(st.integers(1, 4))):
        octets[data.draw(st.integers(0, len(octets) - 1))] = data.draw(st.integers(0, 255))
    client = plain_client(conformance=ACCESS)
    client.access(ITEMS)
    with suppress(RemoteProtocolError):
        client.receive(bytes(octets))


def test_what_was_not_negotiated_is_not_sent() -> None:
    with pytest.raises(NotNegotiated, match="ACCESS"):
        plain_client().access(ITEMS)
    with pytest.raises(NotNegotiated, match="selective"):
        plain_client(conformance=ACCESS & ~0x000004).access([AccessGet(PROFILE, Selection(1, NULL))])
    with pytest.raises(NotNegotiated, match="does not fit"):
        plain_client(conformance=ACCESS, size=30).access(ITEMS)
    with pytest.raises(LocalProtocolError, match="without items"):
        plain_client(conformance=ACCESS).access([])
    with pytest.raises(EncodeError):
        AccessRequest(1 << 32, [], []).encode()


def test_in_general_ciphering_and_within_the_servers_size() -> None:
    client = hls_client(conformance=ACCESS, size=110)
    request = client.access([AccessGet(CLOCK)] * 6)
    assert request[0] == GENERAL_GLO
    assert len(request) <= 110
    with pytest.raises(NotNegotiated, match="does not fit"):
        hls_client(conformance=ACCESS, size=110).access([AccessGet(CLOCK)] * 7)
    plain = decode_general(Cipher(EK, AK), CLIENT, request).plaintext
    invoke = plain[1:5]
    answer = b"\xda" + invoke + b"\x00\x00\x06" + b"\x11\x07" * 6 + b"\x06" + b"\x01\x00" * 6
    sealed = encode_general(GENERAL_GLO, Cipher(EK, AK), 0x30, SERVER, 4, answer)
    assert client.receive(sealed) == AccessResult(b"", [GetResult(Data.unsigned(7))] * 6)


def test_a_long_one_goes_in_general_blocks() -> None:
    client = plain_client(conformance=ACCESS | 0x200000, size=60)
    assert client.access([AccessGet(CLOCK)] * 20)[0] == 0xE0
    assert isinstance(client.receive(bytes.fromhex("e0040001000100")), Send)


def test_a_secret_in_it_is_not_shown() -> None:
    secret = CosemAttribute(15, LogicalName.parse("0.0.40.0.0.255"), 7)
    for item in (AccessSet(secret, Data.octets(b"PASSWORD")), AccessGet(secret)):
        reader = ApduReader()
        request = plain_client(conformance=ACCESS).access([item])
        shown = "\n".join(reader.apdu(request).lines())
        assert "class 15" in shown
        assert "PASSWORD" not in shown
        assert b"PASSWORD".hex() not in shown
        answer = bytes.fromhex("dac0000001000001 0908 50415353574f5244 01 0100".replace(" ", ""))
        assert "50415353" not in "\n".join(reader.apdu(answer).lines())
