"""Random and mutated octets against everything that reads: only documented errors, whatever the state."""

import contextlib
from collections.abc import Callable
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tests.dlms.meter import (
    AK,
    ALL_SERVICES,
    CTOS,
    EK,
    SERVER,
    STOC,
    aare,
    hls_client,
    initiate_response,
    plain_client,
    proof,
    seal,
    settings_of,
)
from tests.dlms.test_hls_signatures import settings as signing_settings
from tests.dlms.test_security_suites import client_and_meter

from metercast.dlms import acse, initiate, service_error
from metercast.dlms.access import decode_access_request, decode_access_response
from metercast.dlms.access_transfer import AccessGet, AccessSet
from metercast.dlms.action import decode_action_request, decode_action_response, decode_reassembled_response
from metercast.dlms.association import ClientAssociation, State
from metercast.dlms.ciphering import Cipher, decode_ded, decode_glo
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data, decode_whole
from metercast.dlms.deciphering import Keys
from metercast.dlms.describe import describe
from metercast.dlms.elliptic import PrivateKey
from metercast.dlms.errors import DecodeError, DlmsError, RemoteProtocolError
from metercast.dlms.general_block import decode_general_block
from metercast.dlms.general_ciphering import (
    AgreedKey,
    Heading,
    IdentifiedKey,
    decode_general_ciphering,
    protect_general,
)
from metercast.dlms.general_protection import decode_general, encode_general
from metercast.dlms.general_signing import decode_general_signing, sign_general
from metercast.dlms.get import decode_get_request, decode_get_response
from metercast.dlms.key_agreement import verify_ephemeral
from metercast.dlms.key_wrap import unwrap_key
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.notification import decode_notification
from metercast.dlms.set import decode_set_request, decode_set_response
from metercast.dlms.settings import Authentication

CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
TAGS = [
    0x01,
    0x08,
    0x0E,
    0x60,
    0x61,
    0x62,
    0x63,
    0xC0,
    0xC1,
    0xC3,
    0xC4,
    0xC5,
    0xC7,
    0xD8,
    0xC8,
    0xCC,
    0xCF,
    0x21,
    0x28,
    0xD4,
    0xDB,
    0xDC,
    0xDD,
    0xDF,
    0x0F,
    0xC2,
    0xCA,
    0xD9,
    0xDA,
    0xE0,
]
SIGNER = PrivateKey.parse("01" * 32, 1).public
HEADING = Heading(b"\x01\x02", SERVER, SERVER)
DECODERS: list[Callable[[bytes], Any]] = [
    acse.decode_aarq,
    acse.decode_aare,
    acse.decode_rlrq,
    acse.decode_rlre,
    initiate.decode_initiate_request,
    initiate.decode_initiate_response,
    service_error.decode_confirmed_service_error,
    service_error.decode_exception_response,
    decode_get_request,
    decode_get_response,
    decode_set_request,
    decode_set_response,
    decode_action_request,
    decode_action_response,
    decode_reassembled_response,
    decode_notification,
    decode_access_request,
    decode_access_response,
    decode_general_block,
    decode_whole,
    lambda octets: decode_glo(Cipher(EK, AK), SERVER, octets),
    lambda octets: decode_ded(Cipher(EK, AK), SERVER, octets),
    lambda octets: decode_general(Cipher(EK, AK), SERVER, octets),
    lambda octets: decode_general_ciphering(octets).unprotect(EK, AK, 1),
    lambda octets: decode_general_signing(octets).verify(SIGNER),
    lambda octets: unwrap_key(EK, octets),
    lambda octets: verify_ephemeral(octets, SIGNER, 1),
]
GOOD = [
    aare(initiate_response()),
    aare(seal(initiate_response(), 1), context=3, diagnostic=14, title=SERVER, challenge=STOC),
    aare(None, result=1, diagnostic=13),
    initiate_response(),
    bytes.fromhex("0e010601"),
    bytes.fromhex("d8010600000123"),
    bytes.fromhex("6328800100BE230421281F3001234567891214A0845E475714383F65BC19745CA235906525E4F3E1C893"),
    bytes.fromhex("c401c1000203110109020102130211090461626364")[:-2],
    bytes.fromhex("c402c10000000001000401020304"),
    bytes.fromhex("c403c1020011070104"),
    bytes.fromhex("c504c102000300000002"),
    bytes.fromhex("c703c10200000001001107"),
    bytes.fromhex("c003c10200030100010800ff020000030100020800ff0200"),
    seal(bytes.fromhex("c401c1001107"), 9),
    encode_general(0xDB, Cipher(EK, AK), 0x30, SERVER, 9, bytes.fromhex("c401c1001107")),
    protect_general(HEADING, IdentifiedKey(0), (EK, AK), 1, 0x30, 9, bytes.fromhex("c401c1001107")).encode(),
    protect_general(HEADING, AgreedKey(b"\x01", bytes(128)), (EK, AK), 1, 0x30, 9, b"\xc4").encode(),
    sign_general(HEADING, bytes.fromhex("c401c1001107"), PrivateKey.parse("01" * 32, 1)).encode(),
    seal(bytes.fromhex("c701c10001000911") + proof(SERVER, 2, CTOS), 3),
    bytes.fromhex("0001000100100006") + bytes.fromhex("c401c1001107"),
    bytes.fromhex("0f000000010c07e40101ff00030000ff88001107"),
    bytes.fromhex("c20000010000600b00ff02113e"),
    bytes.fromhex("d9c00000010003 0100080000010000ff02 0200080000010000ff02 0300080000010000ff06 03 00 1101 10ffe2"),
    bytes.fromhex("dac00000010000 03 1107 00 00 03 0100 0203 0302"),
    bytes.fromhex("e0010001000003c401c1"),
    bytes.fromhex("e0810002000003001107"),
    bytes.fromhex("e0880001000100"),
]


@st.composite
def octets(draw: st.DrawFn) -> bytes:
    """Random, random behind a known tag, or a good APDU with some octets changed, cut or put in."""
    kind = draw(st.integers(0, 3))
    if kind == 0:
        return draw(st.binary(max_size=80))
    if kind == 1:
        return bytes((draw(st.sampled_from(TAGS)), draw(st.integers(0, 9)))) + draw(st.binary(max_size=60))
    good = bytearray(draw(st.sampled_from(GOOD)))
    for _ in range(draw(st.integers(1, 4))):
        at = draw(st.integers(0, len(good)))
        match draw(st.integers(0, 2)):
            case 0:
                good[at : at + 1] = bytes((draw(st.integers(0, 255)),))
            case 1:
                del good[at : at + draw(st.integers(1, 8))]
            case _:
                good[at:at] = draw(st.binary(max_size=4))
    return bytes(good)


@given(octets())
@settings(deadline=None, max_examples=500)
def test_decoders(data: bytes) -> None:
    for decode in DECODERS:
        with contextlib.suppress(RemoteProtocolError):
            decode(data)


@given(octets(), st.booleans())
@settings(deadline=None, max_examples=500)
def test_describe(data: bytes, keyed: bool) -> None:
    with contextlib.suppress(DlmsError):
        description = describe(data, [Keys(EK, AK, None, SERVER)] if keyed else [])
        assert list(description.lines())
        assert description.as_dict()["name"] == description.name


def associating() -> ClientAssociation:
    client = ClientAssociation(settings_of("hls-gmac", "both"), iter(range(1, 99)), CTOS)
    client.associate()
    return client


def authenticating() -> ClientAssociation:
    client = associating()
    client.receive(GOOD[1])
    return client


def reading() -> ClientAssociation:
    client = plain_client()
    client.get(CLOCK)
    return client


def reading_in_blocks() -> ClientAssociation:
    client = plain_client(conformance=ALL_SERVICES | 0x200000)
    client.get(CLOCK)
    return client


def writing_in_blocks() -> ClientAssociation:
    client = plain_client(conformance=(ALL_SERVICES | 0x200000) & ~0x001C00, size=64)
    client.set(CLOCK, Data.octets(bytes(400)))
    return client


def reading_a_list() -> ClientAssociation:
    client = plain_client()
    client.get_list([(CLOCK, None), (CLOCK, None)])
    return client


def accessing() -> ClientAssociation:
    client = plain_client(conformance=ALL_SERVICES | 0x000040)
    client.access([AccessGet(CLOCK), AccessSet(CLOCK, Data.unsigned(1))])
    return client


def writing() -> ClientAssociation:
    client = plain_client(size=64)
    client.set(CLOCK, Data.octets(bytes(100)))
    return client


def reading_ciphered() -> ClientAssociation:
    client = hls_client()
    client.get(CLOCK)
    return client


def reading_under_a_dedicated_key() -> ClientAssociation:
    client, _ = client_and_meter(dedicated=True, general=True)
    client.get(CLOCK)
    return client


def proving_with_signatures() -> ClientAssociation:
    client = ClientAssociation(signing_settings(Authentication.HLS_ECDSA, 1), challenge=CTOS)
    client.associate()
    client.receive(aare(initiate_response(), diagnostic=14, title=SERVER, challenge=STOC, mechanism=7))
    return client


def releasing() -> ClientAssociation:
    client = hls_client()
    client.release()
    return client


@pytest.mark.parametrize(
    "make",
    [
        *(associating, authenticating, reading, writing, reading_ciphered, releasing),
        *(reading_under_a_dedicated_key, proving_with_signatures),
        *(reading_in_blocks, writing_in_blocks, reading_a_list, accessing),
    ],
)
@given(answers=st.lists(octets(), min_size=1, max_size=4))
@settings(deadline=None, max_examples=150)
def test_the_association(make: Callable[[], ClientAssociation], answers: list[bytes]) -> None:
    client = make()
    for answer in answers:
        if client.state in (State.CLOSED, State.BROKEN):
            return
        try:
            client.receive(answer)
        except RemoteProtocolError:
            assert client.state.name == "BROKEN"


@given(octets())
@settings(deadline=None, max_examples=300)
def test_no_unsealed_octets_become_data(answer: bytes) -> None:
    """Without the keys nobody makes a ciphered association believe an answer."""
    client = reading_ciphered()
    if answer in (GOOD[13], GOOD[14]):
        return
    with contextlib.suppress(RemoteProtocolError):
        event = client.receive(answer)
        assert type(event).__name__ in ("Ignored", "ExceptionResponse", "ServiceError")


def test_nesting_does_not_end_the_process() -> None:
    inner = b""
    for _ in range(3000):
        inner = acse.Rlrq(0, inner or None).encode()
    assert list(describe(inner).lines())
    for deep in (b"\x01\x01" * 5000 + b"\x00", b"\xc4\x01\xc1\x00" + b"\x02\x01" * 5000 + b"\x00"):
        with pytest.raises(DecodeError):
            describe(deep)
