"""Ciphering and HLS on the server side, with the vectors and what a strict meter must refuse."""

import os
from typing import Any

import pytest
from tests.simulator.harness import Bench, spec_of
from tests.simulator.raw_client import AARQ_NONE

from metercast.dlms.acse import Aarq, Rlrq, decode_aare, decode_rlre
from metercast.dlms.ciphering import Cipher, decode_ded, decode_glo, encode_ded, encode_glo
from metercast.dlms.hls import prove
from metercast.dlms.initiate import InitiateRequest, decode_initiate_response
from metercast.simulator.association import Phase
from metercast.simulator.log import ServiceAnswered
from metercast.simulator.observer import Observer
from metercast.simulator.spec import MeterSpec

EK = bytes.fromhex("000102030405060708090A0B0C0D0E0F")
AK = bytes.fromhex("D0D1D2D3D4D5D6D7D8D9DADBDCDDDEDF")
TITLE = bytes.fromhex("4D4D4D0000BC614E")
CLIENT = bytes.fromhex("4D4D4D0000000001")
VECTOR_2 = (
    "6066A109060760857405080103A60A04084D4D4D0000BC614E8A0207808B0760857405080201AC0A80083132333435363738BE"
    "34043221303001234567801302FF8A7874133D414CED25B42534D28DB0047720606B175BD52211BE6841DB204D39EE6FDB8E356855"
)
GLO_GET = {
    0x30: "C81E3001234567411312FF935A47566827C467BC7D825C3BE4A77C3FCC056B6B",
    0x20: "C8122001234567411312FF935A47566827C467BC",
    0x10: "C81E1001234567C0010000080000010000FF020006725D910F9221D263877516",
}
POLICY = {"none": 0, "authenticated": 0x10, "encrypted": 0x20, "both": 0x30}
GET_CLOCK = bytes.fromhex("C001C100080000010000FF0200")
NOT_ALLOWED, DECIPHERING, COUNTER = "d80101", "d80105", "d80106"
CIPHER = Cipher(EK, AK)


def keyed(security: str = "lls", **changes: Any) -> MeterSpec:
    keys = {"encryption_key": EK, "authentication_key": AK, "system_title": TITLE, "client_system_title": CLIENT}
    return spec_of(security, **(keys | {"password": b"12345678"} | changes))


def aarq(
    mechanism: int | None,
    control: int,
    counter: int,
    *,
    authentication: bytes | None = None,
    conformance: int = 0x007C1F,
    pdu: int = 0x4B0,
    cipher: Cipher = CIPHER,
    title: bytes = CLIENT,
    context: int = 3,
) -> bytes:
    plain = InitiateRequest(conformance=conformance, client_max_receive_pdu_size=pdu).encode()
    return Aarq(
        application_context=context,
        calling_ap_title=title,
        mechanism=mechanism,
        authentication=authentication,
        user_information=encode_glo(cipher, control, title, counter, plain) if control else plain,
    ).encode()


def opened(protection: str, control: int | None = None) -> Bench:
    """With LLS, the first counter used being 1."""
    bench = Bench(keyed(protection=protection))
    control = POLICY[protection] if control is None else control
    aare = decode_aare(bytes.fromhex(bench.ask(aarq(1, control, 1, authentication=b"12345678"))))
    assert (aare.result, aare.diagnostic, aare.responding_ap_title) == (0, 0, TITLE)
    assert aare.user_information is not None
    if control:
        answer = decode_glo(CIPHER, TITLE, aare.user_information)
        assert answer.security_control == control
        assert decode_initiate_response(answer.plaintext).server_max_receive_pdu_size == 1024
    return bench


@pytest.mark.parametrize("protection", ["authenticated", "encrypted", "both"])
def test_requests_of_the_demanded_protection_are_answered_with_it(protection: str) -> None:
    bench = opened(protection)
    control = POLICY[protection]
    answer = bytes.fromhex(bench.ask(encode_glo(CIPHER, control, CLIENT, 2, GET_CLOCK)))
    inside = decode_glo(CIPHER, TITLE, answer)
    assert inside.security_control == control
    assert inside.plaintext.hex().startswith("c401c100090c")


@pytest.mark.parametrize(
    ("protection", "control"),
    [("authenticated", 0x20), ("encrypted", 0x10), ("both", 0x10), ("both", 0x20), ("both", 0), ("encrypted", 0)],
)
def test_less_than_the_demanded_protection_is_refused(protection: str, control: int) -> None:
    bench = opened(protection)
    request = encode_glo(CIPHER, control, CLIENT, 2, GET_CLOCK) if control else GET_CLOCK
    assert bench.ask(request) == NOT_ALLOWED
    bench = Bench(keyed(protection=protection))
    aare = decode_aare(bytes.fromhex(bench.ask(aarq(1, control, 1, authentication=b"12345678"))))
    assert (aare.result, aare.diagnostic, aare.user_information) == (1, 1, bytes.fromhex("0E010604"))
    assert bench.association.phase is Phase.IDLE


def test_ciphering_may_be_used_where_it_is_not_demanded() -> None:
    bench = opened("none", 0x30)
    assert bench.ask(GET_CLOCK).startswith("c401c100090c")
    assert bench.ask(encode_glo(CIPHER, 0x30, CLIENT, 2, GET_CLOCK)).startswith("cc")


def test_the_green_books_ciphered_aarq_is_understood() -> None:
    bench = Bench(keyed(protection="both", system_title=CLIENT))
    assert decode_aare(bytes.fromhex(bench.ask(VECTOR_2))).result == 0
    assert bench.meter.security.client_counter == 0x01234567
    # What was deciphered brings a dedicated key.
    dedicated = Cipher(bytes.fromhex("00112233445566778899AABBCCDDEEFF"), AK)
    answer = bytes.fromhex(bench.ask(encode_ded(dedicated, 0x30, TITLE, 0x01234568, GET_CLOCK)))
    assert answer[0] == 0xD4
    assert decode_ded(dedicated, CLIENT, answer).plaintext.startswith(bytes.fromhex("c401c100090c"))
    other = Bench(keyed(protection="both", authentication_key=EK))
    assert other.ask(VECTOR_2).endswith("be0604040e010006")
    assert other.meter.security.client_counter == 0


@pytest.mark.parametrize("control", GLO_GET)
def test_the_green_books_ciphered_get_is_served(control: int) -> None:
    bench = Bench(keyed(protection="none", system_title=CLIENT))
    bench.ask(aarq(1, 0x30, 1, authentication=b"12345678", title=TITLE))
    seen: list[int] = []

    class Watcher(Observer):
        def service_answered(self, *details: Any) -> None:
            seen.append(details[-1])

    association = bench.connect(Watcher())
    bench.ask(aarq(1, 0x30, 2, authentication=b"12345678", title=TITLE))
    assert association.phase is Phase.OPEN
    assert bench.ask(GLO_GET[control]) == ""  # its invoke-id asks for no answer
    assert seen == [0]
    assert bench.ask(GLO_GET[control]).startswith(COUNTER + "01234568")


def test_the_green_books_ciphered_release() -> None:
    bench = Bench(keyed("lls", protection="both", conformance=0x007C1F))
    bench.ask(aarq(1, 0x30, 1, authentication=b"12345678"))
    bench.meter.security.server_counter = 0x01234566
    plain = InitiateRequest(conformance=0x007C1F, client_max_receive_pdu_size=0x4B0).encode()
    rlre = bench.ask(Rlrq(0, encode_glo(CIPHER, 0x30, CLIENT, 2, plain)).encode())
    assert rlre.upper() == ("6328800100BE230421281F3001234567891214A0845E475714383F65BC19745CA235906525E4F3E1C893")
    assert bench.ask(GET_CLOCK) == NOT_ALLOWED
    assert decode_rlre(bytes.fromhex(rlre)).reason == 0


def test_hls_gmac_both_passes_as_in_the_vectors(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: b"P6wRJ21F")
    bench = Bench(keyed("hls-gmac", protection="none"))
    aare = decode_aare(bytes.fromhex(bench.ask(aarq(5, 0, 0, authentication=b"K56iVagY", context=1))))
    assert (aare.result, aare.diagnostic, aare.mechanism) == (0, 14, 5)
    assert (aare.authentication, aare.responding_ap_title) == (b"P6wRJ21F", TITLE)
    assert bench.ask(GET_CLOCK) == NOT_ALLOWED
    assert bench.ask("c301c10046000060030aff01010f00") == NOT_ALLOWED
    bench.meter.security.server_counter = 0x01234566
    reply = bench.ask("c301c1000f0000280000ff01010911" + "10000000011A52FE7DD3E72748973C1E28")
    assert reply == "c701c100" + "01000911" + "1001234567fe1466afb3dbcd4f9389e2b7"
    assert bench.ask(GET_CLOCK).startswith("c401c100090c")
    assert bench.meter.security.client_counter == 1


@pytest.mark.parametrize(
    "proof",
    [
        "0911" + "10000000011A52FE7DD3E72748973C1E29",  # one bit off
        "0911" + "10000000021A52FE7DD3E72748973C1E28",  # another counter
        "0911" + "30000000011A52FE7DD3E72748973C1E28",
        "0910" + "10000000011A52FE7DD3E72748973C1E",
        "0a11" + "10000000011A52FE7DD3E72748973C1E28",  # a visible-string
        "0f00",
    ],
)
def test_a_proof_that_proves_nothing_ends_the_association(proof: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: b"P6wRJ21F")
    bench = Bench(keyed("hls-gmac", protection="none"))
    bench.ask(aarq(5, 0, 0, authentication=b"K56iVagY", context=1))
    assert bench.ask("c301c1000f0000280000ff0101" + proof) == "c701c10300"
    assert bench.association.phase is Phase.IDLE
    assert bench.ask(GET_CLOCK) == NOT_ALLOWED


def test_a_proof_is_not_taken_twice(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda size: b"P6wRJ21F")
    bench = Bench(keyed("hls-gmac", protection="none"))
    proof = "c301c1000f0000280000ff01010911" + "10000000011A52FE7DD3E72748973C1E28"
    bench.ask(aarq(5, 0, 0, authentication=b"K56iVagY", context=1))
    assert bench.ask(proof).startswith("c701c10001")
    bench.connect()
    bench.ask(aarq(5, 0, 0, authentication=b"K56iVagY", context=1))
    assert bench.ask(proof) == "c701c10300"


@pytest.mark.parametrize(("inner", "outer", "good"), [(2, 3, True), (2, 2, True), (1, 2, False)])
def test_the_counter_inside_a_ciphered_proof(inner: int, outer: int, good: bool) -> None:
    bench = Bench(keyed("hls-gmac", protection="both"))
    aare = decode_aare(bytes.fromhex(bench.ask(aarq(5, 0x30, 1, authentication=b"K56iVagY"))))
    assert aare.authentication is not None
    assert len(aare.authentication) == 16
    proof = prove(CIPHER, CLIENT, inner, aare.authentication)
    action = bytes.fromhex("c301c1000f0000280000ff01010911") + proof
    answer = decode_glo(CIPHER, TITLE, bytes.fromhex(bench.ask(encode_glo(CIPHER, 0x30, CLIENT, outer, action))))
    assert answer.plaintext.hex().startswith("c701c10001000911" if good else "c701c10300")
    assert (bench.association.phase is Phase.OPEN) is good
    assert bench.meter.security.client_counter == outer


def test_counters_rise_over_the_meters_life() -> None:
    bench = opened("both")
    request = encode_glo(CIPHER, 0x30, CLIENT, 10, GET_CLOCK)
    assert bench.ask(request).startswith("cc")
    assert bench.ask(request) == COUNTER + "0000000b"
    assert bench.ask(encode_glo(CIPHER, 0x30, CLIENT, 9, GET_CLOCK)) == COUNTER + "0000000b"
    bench.connect()
    assert bench.ask(aarq(1, 0x30, 10, authentication=b"12345678")) == COUNTER + "0000000b"
    assert bench.ask(aarq(1, 0x30, 11, authentication=b"12345678")).startswith("61")
    bench.meter.security.client_counter = 0xFFFFFFFF
    assert bench.ask(encode_glo(CIPHER, 0x30, CLIENT, 12, GET_CLOCK)) == COUNTER + "ffffffff"


def test_the_meters_own_counters_rise() -> None:
    bench = opened("both")
    counters = []
    for counter in range(2, 6):
        answer = bytes.fromhex(bench.ask(encode_glo(CIPHER, 0x30, CLIENT, counter, GET_CLOCK)))
        counters.append(decode_glo(CIPHER, TITLE, answer).counter)
    assert counters == list(range(counters[0], counters[0] + 4))


@pytest.mark.parametrize("spoil", range(2, 32, 5))
def test_a_forged_request_does_nothing(spoil: int) -> None:
    bench = opened("both")
    request = bytearray(encode_glo(CIPHER, 0x30, CLIENT, 2, GET_CLOCK))
    request[spoil] ^= 0x40
    assert bench.ask(bytes(request)) in (DECIPHERING, NOT_ALLOWED)
    assert bench.meter.security.client_counter == 1
    assert not [event for event in bench.events if isinstance(event, ServiceAnswered)]


@pytest.mark.parametrize(
    ("spec", "request_octets", "diagnostic"),
    [
        (keyed("lls", protection="none"), aarq(1, 0, 0, authentication=b"12345679", context=1), 13),
        (keyed("lls", protection="none"), aarq(1, 0, 0, authentication=b"", context=1), 13),
        (keyed("lls", protection="none"), aarq(1, 0, 0, context=1), 13),
        (keyed("lls", protection="none"), AARQ_NONE, 12),
        (keyed("lls", protection="none"), aarq(5, 0, 0, authentication=b"12345678", context=1), 11),
        (keyed("none"), aarq(1, 0, 0, authentication=b"12345678", context=1), 11),
        (keyed("hls-gmac"), aarq(5, 0x30, 1, authentication=b"1234567"), 13),
        (keyed("hls-gmac"), aarq(5, 0x30, 1, authentication=b"1" * 65), 13),
        (keyed("hls-gmac"), AARQ_NONE, 2),
        (
            keyed("hls-gmac", protection="none"),
            aarq(5, 0, 0, authentication=b"12345678", title=b"7octets", context=1),
            3,
        ),
        (keyed("lls", protection="none"), aarq(1, 0, 0, authentication=b"12345678", context=2), 2),
        (spec_of("none"), aarq(None, 0x30, 1), 2),
    ],
)
def test_what_is_rejected_and_why(spec: MeterSpec, request_octets: bytes, diagnostic: int) -> None:
    bench = Bench(spec)
    aare = decode_aare(bytes.fromhex(bench.ask(request_octets)))
    assert (aare.result, aare.diagnostic_source, aare.diagnostic) == (1, 1, diagnostic)
    assert bench.ask(GET_CLOCK) == NOT_ALLOWED


@pytest.mark.parametrize(
    ("initiate", "error"),
    [
        ("01000000055F1F0400001E1DFFFF", "0e010601"),  # version 5
        ("01000000065F1F0400000000FFFF", "0e010602"),  # nothing in common
        ("01000000065F1F0400001E1D000B", "0e010603"),  # a reserved size
        ("01000000065F1F0400001E1DFF", "0e010604"),
    ],
)
def test_what_the_xdlms_context_is_refused_for(initiate: str, error: str) -> None:
    bench = Bench(spec_of("none"))
    body = "A109060760857405080101" + f"BE{len(initiate) // 2 + 2:02X}04{len(initiate) // 2:02X}{initiate}"
    aare = decode_aare(bytes.fromhex(bench.ask(f"60{len(body) // 2:02X}{body}")))
    assert (aare.result, aare.diagnostic) == (1, 1)
    assert (aare.user_information or b"").hex() == error


def test_conformance_is_what_both_have() -> None:
    bench = Bench(spec_of("none", conformance=0x001C18))
    aare = decode_aare(bytes.fromhex(bench.ask(AARQ_NONE)))
    assert aare.user_information is not None
    assert decode_initiate_response(aare.user_information).conformance == 0x001C18 & 0x001E1D
    assert bench.ask("c301c10046000060030aff01010f00") == "d80202"  # no ACTION was agreed
    assert bench.meter.state.relay.output


def test_a_malformed_aarq_is_the_providers_business() -> None:
    aare = decode_aare(bytes.fromhex(Bench(spec_of("none")).ask("6003A10109")))
    assert (aare.result, aare.diagnostic_source, aare.diagnostic) == (1, 2, 1)


@pytest.mark.parametrize("protection", ["authenticated", "encrypted", "both"])
def test_ciphered_blocks_fit_the_clients_limit(protection: str) -> None:
    bench = Bench(keyed(protection=protection))
    control = POLICY[protection]
    bench.ask(aarq(1, control, 1, authentication=b"12345678", pdu=100))
    request, sizes = bytes.fromhex("c001c1000f0000280000ff0200"), []
    for counter in range(2, 12):
        answer = bytes.fromhex(bench.ask(encode_glo(CIPHER, control, CLIENT, counter, request)))
        sizes.append(len(answer))
        block = decode_glo(CIPHER, TITLE, answer).plaintext
        assert block[:2] == b"\xc4\x02"
        request = b"\xc0\x02\xc1" + block[4:8]
    assert max(sizes) <= 100
    assert min(sizes) >= 98


def test_an_association_serves_only_the_client_that_opened_it() -> None:
    bench = Bench(spec_of("none"))
    bench.ask(AARQ_NONE)
    bench.client_sap = 16
    assert bench.ask(GET_CLOCK) == NOT_ALLOWED
    assert bench.ask("6203800100") == NOT_ALLOWED
    bench.client_sap = 1
    assert bench.ask(GET_CLOCK).startswith("c401c100")
