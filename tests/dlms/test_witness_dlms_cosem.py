"""Our client and codecs against dlms-cosem 21.3.2, an independent implementation (only security control 30)."""

from datetime import UTC, datetime, timedelta, timezone
from itertools import count
from typing import Any

import pytest
from dlms_cosem import cosem, dlms_data, enumerations, security
from dlms_cosem import time as witness_time
from dlms_cosem.connection import DlmsConnection, XDlmsApduFactory
from dlms_cosem.protocol import acse, xdlms
from dlms_cosem.protocol.wrappers import WrapperHeader, WrapperProtocolDataUnit
from dlms_cosem.protocol.xdlms.conformance import Conformance as WitnessConformance
from dlms_cosem.utils import parse_as_dlms_data
from tests.dlms.meter import AK, CLIENT, CTOS, EK, SERVER, STOC, plain_client, settings_of

from metercast.dlms import hls
from metercast.dlms.acse import decode_aarq
from metercast.dlms.association import ClientAssociation
from metercast.dlms.ciphering import Cipher, encode_glo
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import Data, decode_whole, encode_data
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.events import ActionResult, Associated, GetListResult, GetResult, Released, Send, SetResult
from metercast.dlms.general_protection import GENERAL_GLO, decode_general, encode_general
from metercast.dlms.get import GetRequestList
from metercast.dlms.initiate import decode_initiate_request
from metercast.dlms.key_wrap import unwrap_key, wrap_key
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.wrapper import WrapperFrame, WrapperReader, encode_wrapper

BOTH = security.SecurityControlField(security_suite=0, authenticated=True, encrypted=True)
GMAC = security.SecurityControlField(security_suite=0, authenticated=True, encrypted=False)
CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
RELAY = CosemMethod(70, LogicalName.parse("0.0.96.3.10.255"), 1)


def witness_seal(tag: int, counter: int, apdu: bytes) -> bytes:
    sealed: bytes = security.encrypt(BOTH, SERVER, counter, EK, apdu, AK)
    body: bytes = b"\x30" + counter.to_bytes(4, "big") + sealed
    return bytes((tag, len(body))) + body


def witness_unseal(apdu: bytes) -> bytes:
    assert apdu[1] == len(apdu) - 2
    assert apdu[2] == 0x30
    plaintext: bytes = security.decrypt(BOTH, CLIENT, int.from_bytes(apdu[3:7], "big"), EK, apdu[7:], AK)
    return plaintext


def witness_proof(title: bytes, counter: int, challenge: bytes) -> bytes:
    tag: bytes = security.gmac(GMAC, title, counter, EK, AK, challenge)
    return b"\x10" + counter.to_bytes(4, "big") + tag


def witness_initiate(size: int = 500) -> Any:
    conformance = WitnessConformance(
        priority_management_supported=True,
        block_transfer_with_get_or_read=True,
        get=True,
        set=True,
        selective_access=True,
        action=True,
    )
    return xdlms.InitiateResponse(negotiated_conformance=conformance, server_max_receive_pdu_size=size)


def witness_aare(content: Any, **fields: Any) -> bytes:
    octets: bytes = acse.ApplicationAssociationResponse(
        result=enumerations.AssociationResult.ACCEPTED,
        result_source_diagnostics=fields.pop("diagnostic", enumerations.AcseServiceUserDiagnostics.NULL),
        user_information=acse.UserInformation(content=content),
        **fields,
    ).to_bytes()
    return octets


def witness_answer(request: Any, data: bytes) -> bytes:
    """Its own GetResponseNormal can't be encoded, only decoded; so it checks what stands here."""
    answer = b"\xc4\x01" + request.invoke_id_and_priority.to_bytes() + b"\x00" + data
    assert bytes(xdlms.GetResponseNormal.from_bytes(answer).data) == data
    return bytes(answer)


def test_it_reads_our_plain_aarq() -> None:
    aarq = XDlmsApduFactory.apdu_from_bytes(ClientAssociation(settings_of()).associate())
    assert aarq.ciphered is False
    assert aarq.authentication is None
    initiate = aarq.user_information.content
    assert initiate.client_max_receive_pdu_size == 0xFFFF
    assert initiate.proposed_conformance.get
    assert initiate.proposed_conformance.block_transfer_with_set_or_write
    assert not initiate.proposed_conformance.event_notification


def test_it_reads_our_aarq_with_lls() -> None:
    aarq = XDlmsApduFactory.apdu_from_bytes(ClientAssociation(settings_of("lls")).associate())
    assert aarq.authentication == enumerations.AuthenticationMechanism.LLS
    assert aarq.authentication_value == b"12345678"


def test_it_reads_our_ciphered_aarq_with_hls() -> None:
    client = ClientAssociation(settings_of("hls-gmac", "both"), count(7), CTOS)
    aarq = XDlmsApduFactory.apdu_from_bytes(client.associate())
    assert aarq.ciphered is True
    assert aarq.system_title == CLIENT
    assert aarq.authentication == enumerations.AuthenticationMechanism.HLS_GMAC
    assert aarq.authentication_value == CTOS
    sealed = aarq.user_information.content
    assert sealed.invocation_counter == 7
    plaintext = security.decrypt(BOTH, CLIENT, 7, EK, sealed.ciphered_text, AK)
    assert xdlms.InitiateRequest.from_bytes(plaintext).client_max_receive_pdu_size == 0xFFFF
    assert decode_initiate_request(plaintext).client_max_receive_pdu_size == 0xFFFF


def test_its_aarqs_are_read_here() -> None:
    for method in (enumerations.AuthenticationMechanism.LLS, None):
        connection = DlmsConnection(client_system_title=CLIENT, authentication_method=method, password=b"12345678")
        octets = connection.send(connection.get_aarq())
        aarq = decode_aarq(octets)
        assert aarq.mechanism == (1 if method else None)
        initiate = decode_initiate_request(aarq.user_information or b"")
        assert initiate.client_max_receive_pdu_size == 65535


def test_lists() -> None:
    client = plain_client()
    request = xdlms.GetRequestWithList.from_bytes(client.get_list([(CLOCK, None), (CLOCK, None)]))
    assert [item.attribute.instance.to_bytes() for item in request.cosem_attributes_with_selection] == [
        CLOCK.logical_name
    ] * 2
    answer = xdlms.GetResponseWithList(
        response_data=[dlms_data.OctetStringData(b"ab"), enumerations.DataAccessResult.OBJECT_UNDEFINED],
        invoke_id_and_priority=request.invoke_id_and_priority,
    )
    assert client.receive(bytes(answer.to_bytes())) == GetListResult(
        [GetResult(Data.octets(b"ab")), GetResult(None, DataAccessResult.OBJECT_UNDEFINED)]
    )
    assert GetRequestList(0xC1, [(CLOCK, None)]).encode() == bytes(
        xdlms.GetRequestWithList(
            [cosem.CosemAttributeWithSelection(request.cosem_attributes_with_selection[0].attribute, None)],
            xdlms.InvokeIdAndPriority(invoke_id=1, confirmed=True, high_priority=True),
        ).to_bytes()
    )


def test_a_plain_session() -> None:
    client = ClientAssociation(settings_of())
    client.associate()
    event = client.receive(witness_aare(witness_initiate()))
    assert isinstance(event, Associated)
    assert event.server_max_receive_pdu_size == 500
    request = XDlmsApduFactory.apdu_from_bytes(client.get(CLOCK))
    assert request.cosem_attribute.interface == enumerations.CosemInterface.CLOCK
    assert request.cosem_attribute.instance.to_bytes() == CLOCK.logical_name
    answer = witness_answer(request, b"\x09\x02ab")
    assert client.receive(answer) == GetResult(Data.octets(b"ab"))
    request = XDlmsApduFactory.apdu_from_bytes(client.get(CLOCK))
    refusal = xdlms.GetResponseNormalWithError(
        error=enumerations.DataAccessResult.READ_WRITE_DENIED, invoke_id_and_priority=request.invoke_id_and_priority
    )
    assert client.receive(bytes(refusal.to_bytes())) == GetResult(None, DataAccessResult.READ_WRITE_DENIED)
    request = XDlmsApduFactory.apdu_from_bytes(client.set(CLOCK, Data.octets(b"x")))
    assert bytes(request.data) == b"\x09\x01x"
    done = xdlms.SetResponseNormal(
        result=enumerations.DataAccessResult.SUCCESS, invoke_id_and_priority=request.invoke_id_and_priority
    )
    assert client.receive(bytes(done.to_bytes())) == SetResult()
    request = XDlmsApduFactory.apdu_from_bytes(client.action(RELAY, Data.integer(0)))
    assert request.cosem_method.method == 1
    assert bytes(request.data) == b"\x0f\x00"
    acted = xdlms.ActionResponseNormal(
        status=enumerations.ActionResultStatus.SUCCESS, invoke_id_and_priority=request.invoke_id_and_priority
    )
    assert client.receive(bytes(acted.to_bytes())) == ActionResult(ActionResultCode.SUCCESS)
    release = XDlmsApduFactory.apdu_from_bytes(client.release())
    assert release.reason == enumerations.ReleaseRequestReason.NORMAL


def test_get_in_its_blocks() -> None:
    client = ClientAssociation(settings_of())
    client.associate()
    client.receive(witness_aare(witness_initiate()))
    request = XDlmsApduFactory.apdu_from_bytes(client.get(CLOCK))
    invoke = request.invoke_id_and_priority
    block = xdlms.GetResponseWithBlock(data=b"\x09\x04ab", block_number=1, invoke_id_and_priority=invoke)
    event = client.receive(bytes(block.to_bytes()))
    assert isinstance(event, Send)
    assert XDlmsApduFactory.apdu_from_bytes(event.apdu).block_number == 1
    last = xdlms.GetResponseLastBlock(data=b"cd", block_number=2, invoke_id_and_priority=invoke)
    assert client.receive(bytes(last.to_bytes())) == GetResult(Data.octets(b"abcd"))


def test_an_hls_session_with_protection_both() -> None:
    client = ClientAssociation(settings_of("hls-gmac", "both"), count(1), CTOS)
    client.associate()
    initiate = witness_initiate().to_bytes()
    sealed = xdlms.GlobalCipherInitiateResponse(BOTH, 1, security.encrypt(BOTH, SERVER, 1, EK, initiate, AK))
    event = client.receive(
        witness_aare(
            sealed,
            ciphered=True,
            system_title=SERVER,
            authentication=enumerations.AuthenticationMechanism.HLS_GMAC,
            authentication_value=STOC,
            diagnostic=enumerations.AcseServiceUserDiagnostics.AUTHENTICATION_REQUIRED,
        )
    )
    assert isinstance(event, Send)
    assert event.apdu[0] == 0xCB
    pass_3 = XDlmsApduFactory.apdu_from_bytes(witness_unseal(event.apdu))
    assert pass_3.cosem_method.interface == enumerations.CosemInterface.ASSOCIATION_LN
    proof = bytes(parse_as_dlms_data(pass_3.data))
    counter = int.from_bytes(proof[1:5], "big")
    assert proof == witness_proof(CLIENT, counter, STOC)
    assert counter != int.from_bytes(event.apdu[3:7], "big")
    pass_4 = xdlms.ActionResponseNormalWithData(
        status=enumerations.ActionResultStatus.SUCCESS,
        data=b"\x09\x11" + witness_proof(SERVER, 2, CTOS),
        invoke_id_and_priority=pass_3.invoke_id_and_priority,
    )
    event = client.receive(witness_seal(0xCF, 3, bytes(pass_4.to_bytes())))
    assert isinstance(event, Associated)
    assert event.server_system_title == SERVER
    request = XDlmsApduFactory.apdu_from_bytes(witness_unseal(client.get(CLOCK)))
    answer = witness_answer(request, b"\x11\x07")
    assert client.receive(witness_seal(0xCC, 4, answer)) == GetResult(Data.unsigned(7))
    release = XDlmsApduFactory.apdu_from_bytes(client.release())
    sealed = release.user_information.content
    security.decrypt(BOTH, CLIENT, sealed.invocation_counter, EK, sealed.ciphered_text, AK)
    closing = xdlms.GlobalCipherInitiateResponse(BOTH, 5, security.encrypt(BOTH, SERVER, 5, EK, initiate, AK))
    rlre = acse.ReleaseResponse(
        reason=enumerations.ReleaseResponseReason.NORMAL, user_information=acse.UserInformation(content=closing)
    )
    assert client.receive(rlre.to_bytes()) == Released(0)


@pytest.mark.parametrize("size", [0, 1, 16, 100])
def test_ciphering_agrees(size: int) -> None:
    apdu = b"\xc0" + bytes(size)
    ours = encode_glo(Cipher(EK, AK), 0x30, CLIENT, 9, apdu)
    assert ours[-(len(apdu) + 12) :] == security.encrypt(BOTH, CLIENT, 9, EK, apdu, AK)
    assert hls.prove(Cipher(EK, AK), CLIENT, 9, STOC) == witness_proof(CLIENT, 9, STOC)


@pytest.mark.parametrize(("suite", "size"), [(0, 16), (1, 16), (2, 32)])
@pytest.mark.parametrize("broadcast", [False, True])
def test_ciphering_of_every_suite_and_key_set_agrees(suite: int, size: int, broadcast: bool) -> None:
    encryption_key, authentication_key = bytes(range(size)), bytes(range(0xA0, 0xA0 + size))
    field = security.SecurityControlField(suite, authenticated=True, encrypted=True, broadcast_key=broadcast)
    cipher = Cipher(encryption_key, authentication_key, suite, broadcast=broadcast)
    apdu = bytes.fromhex("c001c100080000010000ff0200")
    theirs = xdlms.GeneralGlobalCipher(
        system_title=CLIENT,
        security_control=field,
        invocation_counter=9,
        ciphered_text=security.encrypt(field, CLIENT, 9, encryption_key, apdu, authentication_key),
    ).to_bytes()
    ours = encode_general(GENERAL_GLO, cipher, 0x30, CLIENT, 9, apdu)
    assert ours == theirs
    assert decode_general(cipher, CLIENT, theirs).plaintext == apdu
    read = xdlms.GeneralGlobalCipher.from_bytes(ours)
    assert security.decrypt(field, CLIENT, 9, encryption_key, read.ciphered_text, authentication_key) == apdu


@pytest.mark.parametrize(("suite", "size"), [(0, 16), (1, 16), (2, 32)])
def test_proofs_and_wrapped_keys_of_every_suite_agree(suite: int, size: int) -> None:
    encryption_key, authentication_key = bytes(range(size)), bytes(range(0xA0, 0xA0 + size))
    field = security.SecurityControlField(suite, authenticated=True, encrypted=False)
    tag = security.gmac(field, CLIENT, 9, encryption_key, authentication_key, STOC)
    proof = hls.prove(Cipher(encryption_key, authentication_key, suite), CLIENT, 9, STOC)
    assert proof == field.to_bytes() + (9).to_bytes(4, "big") + tag
    both = security.SecurityControlField(suite, authenticated=True, encrypted=True)
    wrapped = security.wrap_key(both, encryption_key, authentication_key)
    assert wrap_key(encryption_key, authentication_key) == wrapped
    assert unwrap_key(encryption_key, wrapped) == authentication_key


@pytest.mark.parametrize(
    "instant",
    [
        datetime(2026, 7, 1, 12, 30, 15, tzinfo=timezone(timedelta(hours=2))),
        datetime(2026, 1, 1, 0, 0, 0, tzinfo=timezone(timedelta(hours=-5))),
        datetime(2026, 12, 31, 23, 59, 59, 990_000, tzinfo=timezone(timedelta(hours=5, minutes=30))),
        datetime(2026, 12, 31, 23, 59, 59, tzinfo=UTC),
    ],
)
def test_date_times_agree(instant: datetime) -> None:
    ours = CosemDateTime.from_datetime(instant)
    theirs = CosemDateTime.decode(bytes(witness_time.datetime_to_bytes(instant)))
    assert ours.same_as(theirs)
    if instant.utcoffset():  # it reads deviation 0 as a naive datetime
        back, _ = witness_time.datetime_from_bytes(ours.encode())
        assert back == instant


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        (dlms_data.UnsignedIntegerData(7), Data.unsigned(7)),
        (dlms_data.UnsignedLongData(700), Data.long_unsigned(700)),
        (dlms_data.DoubleLongUnsignedData(70000), Data.double_long_unsigned(70000)),
        (dlms_data.DoubleLongData(-70000), Data.double_long(-70000)),
        (dlms_data.LongData(-700), Data.long(-700)),
        (dlms_data.IntegerData(-7), Data.integer(-7)),
        (dlms_data.EnumData(30), Data.enum(30)),
        (dlms_data.OctetStringData(b"ab"), Data.octets(b"ab")),
    ],
)
def test_its_data_is_ours(theirs: Any, ours: Data) -> None:
    octets = bytes(theirs.to_bytes())
    assert encode_data(ours) == octets
    assert decode_whole(octets) == ours


@pytest.mark.parametrize(
    ("ours", "value"),
    [
        (Data.boolean(True), True),
        (Data.octets(bytes(200)), bytes(200)),
        (Data.long64_unsigned(2**63), 2**63),
        (Data.array([Data.long(1), Data.long(-1)]), [1, -1]),
        (Data.structure([Data.unsigned(1), Data.array([Data.enum(2)]), Data.null()]), [1, [2], None]),
    ],
)
def test_it_reads_our_data(ours: Data, value: Any) -> None:
    assert parse_as_dlms_data(bytearray(encode_data(ours))) == value


def test_wrapper_agrees() -> None:
    header = WrapperHeader(source_wport=16, destination_wport=1, length=3)
    octets = WrapperProtocolDataUnit(b"abc", header).to_bytes()
    assert encode_wrapper(16, 1, b"abc") == octets
    assert WrapperReader().feed(octets) == [WrapperFrame(16, 1, b"abc")]


def test_logical_names_agree() -> None:
    assert cosem.Obis(1, 0, 99, 1, 0).to_bytes() == LogicalName.parse("1.0.99.1.0.255")
