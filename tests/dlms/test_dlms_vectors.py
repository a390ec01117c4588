"""Known answers: every vector and golden APDU of the catalogue that is in the codec's scope, decoded and re-encoded."""

import pytest

from metercast.dlms import acse, hls
from metercast.dlms.action import ActionRequestNormal, decode_action_request
from metercast.dlms.ciphering import Cipher, Unprotected, decode_glo, encode_glo
from metercast.dlms.conformance import Conformance
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data, Tag, decode_whole, encode_data
from metercast.dlms.datetimes import CosemDateTime
from metercast.dlms.get import GetRequestList, GetRequestNormal, decode_get_request
from metercast.dlms.initiate import decode_initiate_request, decode_initiate_response
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.service_error import decode_confirmed_service_error
from metercast.dlms.set import SetRequestNormal, decode_set_request

EK = bytes.fromhex("000102030405060708090A0B0C0D0E0F")
AK = bytes.fromhex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF")
TITLE = bytes.fromhex("4D4D4D0000BC614E")
CIPHER = Cipher(EK, AK)

GOLDEN_SET = [
    "c101c1001400000d0000ff06000905544f553236",
    "c101c1001400000d0000ff070001010203090131090cffff0401ff000000ff8000ff090131",
    "c101c1001400000d0000ff0800010102080901311101110111011101110111021102",
    "c101c1001400000d0000ff090001010202110101010203090407000000090600000a0064ff120001",
    "c101c1001400000d0000ff0a00090c07ea0c1fff160000008000ff",
    "c101c1000b00000b0000ff020001010203120001090507ea0c19ff1103",
    "c101c100080000010000ff0200090c07ea0911ff0c0f0600ff4c00",
    "c101c100470000110000ff04000600001388",
    "c101c100470000110000ff0600060000003c",
]
GOLDEN_ACTION = [
    "c301c1001400000d0000ff01010f00",
    "c301c1000b00000b0000ff01010203120001090507ea0c19ff1103",
    "c301c1000b00000b0000ff0201120001",
    "c301c100080000010000ff060110ffe2",
    "c301c10046000060030aff01010f00",
    "c301c10046000060030aff02010f00",
    "c301c1001200002c0000ff010102020903465731060000000a",
    "c301c1001200002c0000ff020102020600000000090400010203",
    "c301c1001200002c0000ff03010f00",
    "c301c1001200002c0000ff04010f00",
    "c301c1004000002b0000ff020101010202160009181fa68b0a8112b447aef34bd8fb5a7b829d3e862371d2cfe5",
    "c301c1000900000a0001ff0101120001",
]
GOLDEN_GET = [
    "c001c100030100010800ff0200",
    "c001c100030100010800ff0300",
    "c003c10200030100010800ff020000030100020800ff0200",
    "c001c100070100630100ff0201010204020412000809060000010000ff0f02120000090c07ea0901ff000000008000ff"
    "090c07ea0902ff000000008000ff0100",
    "c001c100070100630100ff02010202040600000001060000000a120001120000",
    "c001c1000f0000280000ff0200",
    "c001c1000100002b0100ff0200",
]


@pytest.mark.parametrize("text", GOLDEN_SET)
def test_golden_set_requests(text: str) -> None:
    request = decode_set_request(bytes.fromhex(text))
    assert isinstance(request, SetRequestNormal)
    assert request.encode().hex() == text


@pytest.mark.parametrize("text", GOLDEN_ACTION)
def test_golden_action_requests(text: str) -> None:
    request = decode_action_request(bytes.fromhex(text))
    assert isinstance(request, ActionRequestNormal)
    assert request.encode().hex() == text


@pytest.mark.parametrize("text", GOLDEN_GET)
def test_golden_get_requests(text: str) -> None:
    request = decode_get_request(bytes.fromhex(text))
    assert isinstance(request, GetRequestNormal | GetRequestList)
    assert request.encode().hex() == text


def test_golden_requests_say_what_they_mean() -> None:
    set_name = decode_set_request(bytes.fromhex(GOLDEN_SET[0]))
    calendar = LogicalName.parse("0.0.13.0.0.255")
    assert set_name == SetRequestNormal(0xC1, CosemAttribute(20, calendar, 6), Data.octets(b"TOU26"))
    shift = decode_action_request(bytes.fromhex(GOLDEN_ACTION[3]))
    assert isinstance(shift, ActionRequestNormal)
    assert shift.parameter == Data.long(-30)
    entries = decode_get_request(bytes.fromhex(GOLDEN_GET[4]))
    assert isinstance(entries, GetRequestNormal)
    assert entries.selection is not None
    assert entries.selection.selector == 2
    assert [part.number() for part in entries.selection.parameters.elements(4)] == [1, 10, 1, 0]


def test_vector_1_aarq_without_authentication() -> None:
    octets = bytes.fromhex("601DA109060760857405080101BE10040E01000000065F1F0400001E1DFFFF")
    aarq = acse.decode_aarq(octets)
    assert (aarq.application_context, aarq.mechanism, aarq.calling_ap_title) == (1, None, None)
    initiate = decode_initiate_request(aarq.user_information or b"")
    assert (int(initiate.conformance), initiate.client_max_receive_pdu_size) == (0x001E1D, 0xFFFF)
    assert aarq.encode() == octets
    assert initiate.encode() == aarq.user_information


def test_vector_2_aarq_with_lls_and_ciphering() -> None:
    octets = bytes.fromhex(
        "6066A109060760857405080103A60A04084D4D4D0000BC614E8A0207808B0760857405080201AC0A80083132333435363738"
        "BE34043221303001234567801302FF8A7874133D414CED25B42534D28DB0047720606B175BD52211BE6841DB204D39EE6FDB8E356855"
    )
    aarq = acse.decode_aarq(octets)
    assert (aarq.application_context, aarq.mechanism, aarq.authentication) == (3, 1, b"12345678")
    assert aarq.calling_ap_title == TITLE
    sealed = aarq.user_information or b""
    opened = decode_glo(CIPHER, TITLE, sealed)
    control, counter, plaintext = opened.security_control, opened.counter, opened.plaintext
    assert (control, counter) == (0x30, 0x01234567)
    assert plaintext.hex() == "01011000112233445566778899aabbccddeeff0000065f1f0400007e1f04b0"
    initiate = decode_initiate_request(plaintext)
    assert initiate.dedicated_key == bytes.fromhex("00112233445566778899AABBCCDDEEFF")
    assert initiate.client_max_receive_pdu_size == 1200
    assert "001122" not in repr(initiate)
    assert "12345678" not in repr(aarq)
    assert initiate.encode() == plaintext
    assert encode_glo(CIPHER, 0x30, TITLE, 0x01234567, plaintext) == sealed
    assert aarq.encode() == octets


def test_vector_3_aare_accepted() -> None:
    octets = bytes.fromhex("6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F040000501F01F40007")
    aare = acse.decode_aare(octets)
    assert (aare.result, aare.diagnostic_source, aare.diagnostic) == (0, 1, 0)
    response = decode_initiate_response(aare.user_information or b"")
    assert (int(response.conformance), response.server_max_receive_pdu_size, response.vaa_name) == (0x501F, 500, 7)
    assert Conformance.GET in Conformance(response.conformance)
    assert response.encode() == aare.user_information
    assert aare.encode() == octets


def test_vector_4_aare_rejected() -> None:
    octets = bytes.fromhex("611FA109060760857405080101A203020101A305A103020101BE0604040E010601")
    aare = acse.decode_aare(octets)
    assert (aare.result, aare.diagnostic) == (1, 1)
    error = decode_confirmed_service_error(aare.user_information or b"")
    assert str(error) == "initiate: initiate, dlms-version-too-low"
    assert error.encode() == aare.user_information
    assert aare.encode() == octets


def test_vector_5_aare_with_hls_pending() -> None:
    octets = bytes.fromhex(
        "6142A109060760857405080101A203020100A305A10302010E88020780890760857405080205AA0A8008503677524A323146"
        "BE10040E0800065F1F040000501F01F40007"
    )
    aare = acse.decode_aare(octets)
    assert (aare.result, aare.diagnostic, aare.mechanism, aare.authentication) == (0, 14, 5, b"P6wRJ21F")
    assert aare.encode() == octets


@pytest.mark.parametrize(
    ("control", "text"),
    [
        (0x30, "C81E3001234567411312FF935A47566827C467BC7D825C3BE4A77C3FCC056B6B"),
        (0x20, "C8122001234567411312FF935A47566827C467BC"),
        (0x10, "C81E1001234567C0010000080000010000FF020006725D910F9221D263877516"),
    ],
)
def test_vector_6_glo_get(control: int, text: str) -> None:
    plaintext = bytes.fromhex("C0010000080000010000FF0200")
    octets = bytes.fromhex(text)
    assert encode_glo(CIPHER, control, TITLE, 0x01234567, plaintext) == octets
    assert decode_glo(CIPHER, TITLE, octets) == Unprotected(control, 0x01234567, plaintext)


def test_vector_7_hls_gmac() -> None:
    client = bytes.fromhex("4D4D4D0000000001")
    stoc, ctos = bytes.fromhex("503677524A323146"), bytes.fromhex("4B35366956616759")
    client_proof = bytes.fromhex("10000000011A52FE7DD3E72748973C1E28")
    server_proof = bytes.fromhex("1001234567FE1466AFB3DBCD4F9389E2B7")
    assert hls.prove(CIPHER, client, 1, stoc) == client_proof
    assert hls.prove(CIPHER, TITLE, 0x01234567, ctos) == server_proof
    assert hls.verify(CIPHER, TITLE, ctos, server_proof) == 0x01234567


def test_vector_8_rlre_ciphered() -> None:
    octets = bytes.fromhex("6328800100BE230421281F3001234567891214A0845E475714383F65BC19745CA235906525E4F3E1C893")
    rlre = acse.decode_rlre(octets)
    assert rlre.reason == 0
    plaintext = decode_glo(CIPHER, TITLE, rlre.user_information or b"").plaintext
    assert plaintext.hex() == "0800065f1f0400007c1f04000007"
    assert decode_initiate_response(plaintext).encode() == plaintext
    assert rlre.encode() == octets


def test_vector_10_date_times() -> None:
    first = CosemDateTime.decode(bytes.fromhex("07E40101FF00030000FF8800"))
    assert first.to_datetime().isoformat() == "2020-01-01T00:03:00+02:00"
    second = CosemDateTime.decode(bytes.fromhex("07E2020CFF00000000800000"))
    assert second.deviation == -0x8000
    assert str(second.date) == "2018-02-12"
    for moment, text in ((first, "07e40101ff00030000ff8800"), (second, "07e2020cff00000000800000")):
        assert moment.encode().hex() == text


@pytest.mark.parametrize(
    "text",
    [
        "01010203090101090C07EA0101FF00000000000000090101",
        "010102080901011101110111011101110111021102",
        "0203090402000000090600000A0064FF120002",
    ],
)
def test_vector_11_activity_calendar(text: str) -> None:
    data = decode_whole(bytes.fromhex(text))
    assert encode_data(data).hex().upper() == text
    assert data.tag in (Tag.ARRAY, Tag.STRUCTURE)
