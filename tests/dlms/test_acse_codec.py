"""AARQ, AARE, RLRQ, RLRE and the initiate APDUs: what real meters leave out or write longer, and what is refused."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.dlms.acse import (
    Aare,
    Aarq,
    Rlre,
    Rlrq,
    decode_aare,
    decode_aarq,
    decode_rlre,
    decode_rlrq,
)
from metercast.dlms.conformance import CLIENT_DEFAULT, Conformance, names
from metercast.dlms.errors import DecodeError, EncodeError
from metercast.dlms.initiate import (
    InitiateRequest,
    InitiateResponse,
    decode_initiate_request,
    decode_initiate_response,
)
from metercast.dlms.service_error import (
    ConfirmedServiceError,
    ExceptionResponse,
    decode_confirmed_service_error,
    decode_exception_response,
)

ACCEPTED = "A109060760857405080101A203020100A305A103020100"
CONTEXT = "A109060760857405080101"


def element(tag: int, contents: bytes) -> bytes:
    return bytes((tag, len(contents))) + contents


def test_fields_that_nobody_needs_are_passed_over() -> None:
    body = bytes.fromhex("80020780" + ACCEPTED + "A403040100" + "A503020105" + "BD0200AA")
    aare = decode_aare(element(0x61, body))
    assert (aare.result, aare.diagnostic, aare.responding_ap_title, aare.user_information) == (0, 0, b"\x00", None)


def test_a_diagnostic_of_the_provider() -> None:
    aare = decode_aare(element(0x61, bytes.fromhex(CONTEXT + "A203020101A305A203020102")))
    assert (aare.result, aare.diagnostic_source, aare.diagnostic) == (1, 2, 2)
    assert decode_aare(aare.encode()) == aare


@pytest.mark.parametrize("head", ["6181", "618200", "6184000000"])
def test_ber_lengths_in_longer_forms(head: str) -> None:
    body = bytes.fromhex(ACCEPTED)
    longer = bytes.fromhex("A18109060760857405080101" + "A2820003020100" + "A38105A103020100")
    for contents in (body, longer):
        aare = decode_aare(bytes.fromhex(head) + bytes((len(contents),)) + contents)
        assert (aare.result, aare.diagnostic, aare.application_context) == (0, 0, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "61",
        "6100",
        "6180" + ACCEPTED,  # indefinite length
        "6117" + ACCEPTED + "00",  # trailing octet
        "6118" + ACCEPTED,  # cut
        "6017" + ACCEPTED,
        "610B" + CONTEXT,  # no result
        "6114" + CONTEXT + "A203020100A20302",  # rubbish
        "611C" + ACCEPTED + "A203020100",  # result twice
        "6117" + "A109060760857405080201" + "A203020100A305A103020100",  # a mechanism for a context
        "6117" + "A109060760857405080101" + "A203020100A305A303020100",  # no such source
        "6117" + "A109060760857405080101" + "A203030100A305A103020100",  # not an integer
        "6118" + "A109060760857405080101" + "A20402020000A305A103020100",  # two octets
        "6119" + ACCEPTED + "BE00",
        "611B" + ACCEPTED + "BE020500",
        "611C" + ACCEPTED + "BE03040200",
    ],
)
def test_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_aare(bytes.fromhex(text))


def test_release_with_and_without_reason() -> None:
    assert decode_rlre(bytes.fromhex("6300")) == Rlre(None, None)
    assert decode_rlre(bytes.fromhex("6303800100")) == Rlre(0, None)
    assert decode_rlrq(bytes.fromhex("6203800100")) == Rlrq(0, None)
    assert Rlrq().encode().hex() == "6203800100"
    with pytest.raises(DecodeError):
        decode_rlre(bytes.fromhex("630480020000"))


octets = st.binary(max_size=150)
aarqs = st.builds(
    Aarq,
    application_context=st.integers(1, 4),
    user_information=st.none() | octets,
    calling_ap_title=st.none() | octets,
    mechanism=st.none() | st.integers(0, 7),
    authentication=st.none() | octets,
)
aares = st.builds(
    Aare,
    application_context=st.integers(1, 4),
    result=st.integers(0, 2),
    diagnostic=st.integers(0, 14),
    diagnostic_source=st.integers(1, 2),
    user_information=st.none() | octets,
    responding_ap_title=st.none() | octets,
    mechanism=st.none() | st.integers(0, 7),
    authentication=st.none() | octets,
)
conformances = st.integers(0, 0xFFFFFF)


@given(aarqs)
def test_aarq_survives(aarq: Aarq) -> None:
    assert decode_aarq(aarq.encode()) == aarq


@given(aares)
def test_aare_survives(aare: Aare) -> None:
    assert decode_aare(aare.encode()) == aare


@given(st.none() | st.integers(0, 255), st.none() | octets)
def test_release_survives(reason: int | None, user_information: bytes | None) -> None:
    assert decode_rlrq(Rlrq(reason, user_information).encode()) == Rlrq(reason, user_information)
    assert decode_rlre(Rlre(reason, user_information).encode()) == Rlre(reason, user_information)


@given(
    st.builds(
        InitiateRequest,
        conformance=conformances,
        client_max_receive_pdu_size=st.integers(0, 0xFFFF),
        dedicated_key=st.none() | st.binary(max_size=32),
        response_allowed=st.booleans(),
        quality_of_service=st.none() | st.integers(-128, 127),
        dlms_version=st.integers(0, 255),
    )
)
def test_initiate_request_survives(request_: InitiateRequest) -> None:
    assert decode_initiate_request(request_.encode()) == request_


@given(
    st.builds(
        InitiateResponse,
        conformance=conformances,
        server_max_receive_pdu_size=st.integers(0, 0xFFFF),
        quality_of_service=st.none() | st.integers(-128, 127),
        vaa_name=st.integers(0, 0xFFFF),
    )
)
def test_initiate_response_survives(response: InitiateResponse) -> None:
    assert decode_initiate_response(response.encode()) == response


def test_a_conformance_tag_of_one_octet_is_read() -> None:
    response = decode_initiate_response(bytes.fromhex("0800065F040000501F01F40007"))
    assert (int(response.conformance), response.server_max_receive_pdu_size) == (0x501F, 500)


@pytest.mark.parametrize(
    "text",
    ["", "08", "0800", "0800065F1F040000501F01F4", "0800065F1F040000501F01F4000700", "0800065F1F050000501F01F40007"],
)
def test_initiate_responses_refused(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_initiate_response(bytes.fromhex(text))


def test_out_of_range_is_our_own_error() -> None:
    with pytest.raises(EncodeError):
        InitiateRequest(conformance=1 << 24, client_max_receive_pdu_size=1).encode()
    with pytest.raises(EncodeError):
        InitiateRequest(conformance=0, client_max_receive_pdu_size=65536).encode()


def test_conformance_bits_count_from_the_left() -> None:
    assert Conformance.GET.value == 0x000010
    assert Conformance.ACTION.value == 0x000001
    assert Conformance.BLOCK_TRANSFER_GET.value == 0x001000
    assert Conformance.GENERAL_PROTECTION.value == 0x400000
    assert names(0x00101D) == ["block-transfer-get", "get", "set", "selective-access", "action"]
    assert int(CLIENT_DEFAULT) == 0x205E5D


def test_exception_responses() -> None:
    counter = decode_exception_response(bytes.fromhex("D8010600000123"))
    assert counter == ExceptionResponse(1, 6, 0x123)
    assert str(counter) == "service-not-allowed, invocation-counter-error (291)"
    assert counter.encode().hex() == "d8010600000123"
    assert str(decode_exception_response(bytes.fromhex("D80202"))) == "service-unknown, service-not-supported"
    assert decode_exception_response(bytes.fromhex("D80963")).encode().hex() == "d80963"
    for text in ("D801", "D80105000001", "D8010500000123", "D8010600000123FF", "C80101"):
        with pytest.raises(DecodeError):
            decode_exception_response(bytes.fromhex(text))


def test_confirmed_service_errors() -> None:
    error = decode_confirmed_service_error(bytes.fromhex("0E010006"))
    assert error == ConfirmedServiceError(1, 0, 6)
    assert str(error) == "initiate: application-reference, deciphering-error"
    assert str(ConfirmedServiceError(9, 200, 201)) == "service 9: kind 200, code 201"
    for text in ("", "0E0106", "0E01060100"):
        with pytest.raises(DecodeError):
            decode_confirmed_service_error(bytes.fromhex(text))
