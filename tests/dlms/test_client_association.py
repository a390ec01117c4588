"""The client's association against octets of a meter made by hand: every way in, every refusal, every forgery."""

from collections.abc import Callable

import pytest
from tests.dlms.meter import (
    AK,
    ALL_SERVICES,
    CLIENT,
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
    unseal,
)

from metercast.dlms.association import ClientAssociation, State
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data
from metercast.dlms.errors import (
    CountersExhausted,
    DecodeError,
    DlmsError,
    IdentityError,
    LocalProtocolError,
    NotNegotiated,
    RemoteProtocolError,
    SecurityError,
    UnexpectedAnswer,
)
from metercast.dlms.events import (
    ActionResult,
    Associated,
    GetResult,
    Ignored,
    Rejected,
    Released,
    Send,
    ServiceError,
    SetResult,
)
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.service_error import ConfirmedServiceError, ExceptionResponse
from metercast.dlms.settings import AssociationSettings, Authentication, Protection

CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
RELAY = CosemMethod(70, LogicalName.parse("0.0.96.3.10.255"), 1)
PROTECTIONS = [("authenticated", 0x10), ("encrypted", 0x20), ("both", 0x30)]


def test_without_authentication_the_aarq_is_vector_1_in_form() -> None:
    client = ClientAssociation(settings_of(conformance=0x001E1D))
    assert client.associate().hex().upper() == "601DA109060760857405080101BE10040E01000000065F1F0400001E1DFFFF"
    accepted = bytes.fromhex("6129A109060760857405080101A203020100A305A103020100BE10040E0800065F1F040000501F01F40007")
    assert client.receive(accepted) == Associated(0x00101D, 500, None)
    assert client.state is State.ASSOCIATED


def test_lls_sends_the_password() -> None:
    client = ClientAssociation(settings_of("lls"))
    apdu = client.associate()
    assert bytes.fromhex("8A0207808B0760857405080201AC0A80083132333435363738") in apdu
    assert apdu.startswith(bytes.fromhex("6036A109060760857405080101"))
    assert isinstance(client.receive(aare(initiate_response())), Associated)


@pytest.mark.parametrize(("protection", "control"), PROTECTIONS)
def test_lls_with_ciphering(protection: str, control: int) -> None:
    client = ClientAssociation(settings_of("lls", protection), iter([0x01234567, 0x01234568]))
    apdu = client.associate()
    assert bytes.fromhex("A109060760857405080103A60A0408") + CLIENT in apdu
    sealed = apdu[apdu.index(b"\xbe") + 4 :]
    assert unseal(sealed) == (control, 0x01234567, bytes.fromhex("01000000065F1F0400005E1DFFFF"))
    event = client.receive(aare(seal(initiate_response(), 9, control), context=3, title=SERVER))
    assert event == Associated(ALL_SERVICES, 1024, SERVER)
    request = client.get(CLOCK)
    assert unseal(request) == (control, 0x01234568, bytes.fromhex("C001C100080000010000FF0200"))
    assert client.receive(seal(bytes.fromhex("C401C1001107"), 10, control)) == GetResult(Data.unsigned(7))
    assert client.last_received_counter == 10


@pytest.mark.parametrize(("protection", "control"), [("none", 0), *PROTECTIONS])
def test_hls_gmac_from_pass_1_to_4(protection: str, control: int) -> None:
    client = ClientAssociation(settings_of("hls-gmac", protection), iter(range(100, 200)), CTOS)
    apdu = client.associate()
    assert bytes.fromhex("8A0207808B0760857405080205AC128010") + CTOS in apdu
    assert bytes.fromhex("A60A0408") + CLIENT in apdu
    initiate = seal(initiate_response(), 1, control) if control else initiate_response()
    context = 3 if control else 1
    event = client.receive(aare(initiate, context=context, diagnostic=14, title=SERVER, challenge=STOC))
    assert isinstance(event, Send)
    used = 101 if control else 100
    pass_3 = event.apdu
    if control:
        sent_control, counter, pass_3 = unseal(event.apdu)
        assert (sent_control, counter) == (control, used + 1)  # never the counter that the proof used
    assert pass_3 == bytes.fromhex("C301C1000F0000280000FF01010911") + proof(CLIENT, used, STOC)
    answer = bytes.fromhex("c701c10001000911") + proof(SERVER, 2, CTOS)
    event = client.receive(seal(answer, 3, control) if control else answer)
    assert event == Associated(ALL_SERVICES, 1024, SERVER)
    assert client.state is State.ASSOCIATED


def pending(protection: str = "both") -> ClientAssociation:
    """Pass 3 is sent; the server used counter 1."""
    client = ClientAssociation(settings_of("hls-gmac", protection), iter(range(1, 99)), CTOS)
    client.associate()
    event = client.receive(aare(seal(initiate_response(), 1), context=3, diagnostic=14, title=SERVER, challenge=STOC))
    assert isinstance(event, Send)
    return client


PASS_4 = bytes.fromhex("c701c10001000911")


@pytest.mark.parametrize(
    "answer",
    [
        seal(PASS_4 + proof(SERVER, 2, STOC), 3),  # proves the wrong challenge
        seal(PASS_4 + proof(CLIENT, 2, CTOS), 3),  # proves with our own title
        seal(PASS_4 + proof(SERVER, 2, CTOS)[:-1] + b"\x00", 3),
        seal(bytes.fromhex("c701c10001000910") + proof(SERVER, 2, CTOS)[:-1], 3),  # a tag cut short
        seal(PASS_4 + proof(SERVER, 1, CTOS), 3),  # a counter seen before
        seal(bytes.fromhex("c701c10000"), 3),  # success without proof
        seal(bytes.fromhex("c701c100010103"), 3),
        PASS_4 + proof(SERVER, 2, CTOS),  # unprotected
        seal(PASS_4 + proof(SERVER, 2, CTOS), 3, 0x10),  # less than demanded
        seal(PASS_4 + proof(SERVER, 2, CTOS), 1),  # replayed counter
        seal(PASS_4 + proof(SERVER, 2, CTOS), 3, title=CLIENT),
    ],
)
def test_a_server_that_does_not_prove_itself(answer: bytes) -> None:
    client = pending()
    with pytest.raises(SecurityError):
        client.receive(answer)
    assert client.state is State.BROKEN
    with pytest.raises(LocalProtocolError):
        client.get(CLOCK)


def test_a_counter_shared_by_proof_and_answer_is_taken() -> None:
    client = pending()
    assert isinstance(client.receive(seal(PASS_4 + proof(SERVER, 2, CTOS), 2)), Associated)
    assert client.last_received_counter == 2


def test_a_server_that_refuses_our_proof() -> None:
    client = pending()
    assert client.receive(seal(bytes.fromhex("c701c10300"), 3)) == Rejected(1, 1, 13)
    assert client.state is State.CLOSED
    client = pending()
    assert client.receive(bytes.fromhex("D80105")) == ExceptionResponse(1, 5)
    assert client.state is State.CLOSED


def test_before_pass_4_nothing_else_is_possible() -> None:
    client = pending()
    with pytest.raises(LocalProtocolError):
        client.get(CLOCK)
    assert isinstance(client.receive(seal(bytes.fromhex("c701c50000"), 3)), Ignored)  # another invoke-id
    assert isinstance(client.receive(bytes.fromhex("0f00000001")), Ignored)
    assert client.state is State.AUTHENTICATING


GOOD = seal(initiate_response(), 1)


@pytest.mark.parametrize(
    ("octets", "error"),
    [
        (aare(GOOD, context=3, diagnostic=14, title=SERVER, challenge=CTOS), SecurityError),  # our own challenge
        (aare(GOOD, context=3, diagnostic=14, title=SERVER, challenge=b"short"), SecurityError),
        (aare(GOOD, context=3, diagnostic=14, title=SERVER, challenge=bytes(65)), SecurityError),
        (aare(GOOD, context=3, title=SERVER), SecurityError),  # accepted without HLS
        (aare(GOOD, context=3, title=SERVER, challenge=STOC, mechanism=1), SecurityError),
        (aare(initiate_response(), context=3, diagnostic=14, title=SERVER, challenge=STOC), SecurityError),
        (aare(GOOD, context=1, diagnostic=14, title=SERVER, challenge=STOC), SecurityError),
        (aare(GOOD, context=3, diagnostic=14, challenge=STOC), SecurityError),  # nobody knows the title
        (aare(GOOD, context=3, diagnostic=14, title=SERVER[:7], challenge=STOC), SecurityError),
        (aare(GOOD[:-1] + b"\x00", context=3, title=SERVER, challenge=STOC), SecurityError),
        (aare(seal(initiate_response(), 1, 0x20), context=3, title=SERVER, challenge=STOC), SecurityError),
        (aare(None, context=3, diagnostic=14, title=SERVER, challenge=STOC), DecodeError),
        (aare(b"", context=3, diagnostic=14, title=SERVER, challenge=STOC), DecodeError),
        (seal(bytes.fromhex("c401c1001107"), 1), UnexpectedAnswer),
        (b"", DecodeError),
        (b"\x61", DecodeError),
    ],
)
def test_answers_to_a_ciphered_hls_aarq_that_are_refused(octets: bytes, error: type[DlmsError]) -> None:
    client = ClientAssociation(settings_of("hls-gmac", "both"), iter(range(1, 9)), CTOS)
    client.associate()
    with pytest.raises(error):
        client.receive(octets)
    assert client.state is State.BROKEN
    with pytest.raises(LocalProtocolError):
        client.receive(octets)


def test_a_title_known_beforehand_stands_in_for_one_left_out() -> None:
    known = AssociationSettings(
        authentication=Authentication.HLS_GMAC,
        protection=Protection.BOTH,
        client_system_title=CLIENT,
        server_system_title=SERVER,
        encryption_key=EK,
        authentication_key=AK,
    )
    client = ClientAssociation(known, iter(range(1, 9)), CTOS)
    client.associate()
    assert isinstance(client.receive(aare(GOOD, context=3, diagnostic=14, challenge=STOC)), Send)
    client = ClientAssociation(known, iter(range(1, 9)), CTOS)
    client.associate()
    with pytest.raises(IdentityError, match="4d4d4d0000bc614e"):
        client.receive(aare(GOOD, context=3, diagnostic=14, title=CLIENT, challenge=STOC))


def test_a_server_that_wants_more_than_was_proposed() -> None:
    for octets in (aare(initiate_response(), diagnostic=14), aare(initiate_response(), challenge=STOC)):
        client = ClientAssociation(settings_of())
        client.associate()
        with pytest.raises(UnexpectedAnswer):
            client.receive(octets)


@pytest.mark.parametrize(
    ("octets", "event"),
    [
        (
            bytes.fromhex("611FA109060760857405080101A203020101A305A103020101BE0604040E010601"),
            Rejected(1, 1, 1, ConfirmedServiceError(1, 6, 1)),
        ),
        (aare(None, result=1, diagnostic=13), Rejected(1, 1, 13)),
        (aare(None, result=2, diagnostic=1), Rejected(2, 1, 1)),
        (aare(b"rubbish", result=1, diagnostic=2, context=3), Rejected(1, 1, 2)),
        (aare(b"\x2e\x00", result=1, diagnostic=2, context=3), Rejected(1, 1, 2)),
        (bytes.fromhex("D8010600000123"), ExceptionResponse(1, 6, 0x123)),
        (bytes.fromhex("0E010006"), ServiceError(ConfirmedServiceError(1, 0, 6))),
    ],
)
@pytest.mark.parametrize("protection", ["none", "both"])
def test_rejections(octets: bytes, event: object, protection: str) -> None:
    client = ClientAssociation(settings_of("lls", protection), iter(range(1, 9)))
    client.associate()
    assert client.receive(octets) == event
    assert client.state is State.CLOSED
    for wish in (client.associate, client.release):
        with pytest.raises(LocalProtocolError):
            wish()


def test_a_ciphered_reason_is_read() -> None:
    client = ClientAssociation(settings_of("lls", "both"), iter(range(1, 9)))
    client.associate()
    reason = seal(bytes.fromhex("0E010602"), 1)
    event = client.receive(aare(reason, context=3, result=1, diagnostic=1, title=SERVER))
    assert event == Rejected(1, 1, 1, ConfirmedServiceError(1, 6, 2))


def test_plain_services() -> None:
    client = plain_client()
    assert client.get(CLOCK).hex() == "c001c100080000010000ff0200"
    assert client.receive(bytes.fromhex("c401c1001107")) == GetResult(Data.unsigned(7))
    assert client.get(CLOCK, Selection(2, Data.null())).hex() == "c001c200080000010000ff02010200"
    assert client.receive(bytes.fromhex("c401c20104")) == GetResult(None, DataAccessResult.OBJECT_UNDEFINED)
    assert client.set(CLOCK, Data.unsigned(7)).hex() == "c101c300080000010000ff02001107"
    assert client.receive(bytes.fromhex("c501c300")) == SetResult()
    assert client.set(CLOCK, Data.unsigned(7), Selection(1, Data.null())).hex() == "c101c400080000010000ff020101001107"
    assert client.receive(bytes.fromhex("c501c40c")) == SetResult(DataAccessResult.TYPE_UNMATCHED)
    assert client.action(RELAY, Data.integer(0)).hex() == "c301c50046000060030aff01010f00"
    assert client.receive(bytes.fromhex("c701c50000")) == ActionResult(ActionResultCode.SUCCESS)
    assert client.action(RELAY).hex() == "c301c60046000060030aff0100"
    assert client.receive(bytes.fromhex("c701c60001001107")) == ActionResult(ActionResultCode.SUCCESS, Data.unsigned(7))
    client.action(RELAY)
    assert client.receive(bytes.fromhex("c701c70201010b")) == ActionResult(
        ActionResultCode.TEMPORARY_FAILURE, None, DataAccessResult.OBJECT_UNAVAILABLE
    )
    assert client.release().hex() == "6203800100"
    assert client.receive(bytes.fromhex("6303800100")) == Released(0)
    assert client.state is State.CLOSED


def test_invoke_ids_go_round_from_1_to_15() -> None:
    client = plain_client()
    seen = []
    for _ in range(17):
        apdu = client.get(CLOCK)
        seen.append(apdu[2])
        client.receive(bytes((0xC4, 1, apdu[2], 1, 4)))
    assert seen == [*range(0xC1, 0xD0), 0xC1, 0xC2]


def test_answers_to_others_are_ignored() -> None:
    client = plain_client()
    assert isinstance(client.receive(bytes.fromhex("c401c1001107")), Ignored)  # nothing was asked
    client.get(CLOCK)
    for text in ("c401c2001107", "c501c200", "c701cf0000", "0f0000000100", "c2000008", "6303800100"):
        assert isinstance(client.receive(bytes.fromhex(text)), Ignored), text
    assert client.receive(bytes.fromhex("c40101001107")) == GetResult(Data.unsigned(7))  # priority may differ


@pytest.mark.parametrize("text", ["c501c100", "c701c10000", "c403c101001107", "c402c10000000001"])
def test_answers_of_another_form_are_refused(text: str) -> None:
    client = plain_client()
    client.get(CLOCK)
    with pytest.raises(RemoteProtocolError):
        client.receive(bytes.fromhex(text))
    assert client.state is State.BROKEN


def test_refused_services_leave_the_association_open() -> None:
    client = plain_client()
    client.get(CLOCK)
    assert client.receive(bytes.fromhex("d80202")) == ExceptionResponse(2, 2)
    client.action(RELAY)
    assert client.receive(bytes.fromhex("0e010301")) == ServiceError(ConfirmedServiceError(1, 3, 1))
    assert client.get(CLOCK)


@pytest.mark.parametrize(
    "answer",
    [
        bytes.fromhex("c401c2001107"),
        seal(bytes.fromhex("c401c2001107"), 9, 0x10),
        seal(bytes.fromhex("c401c2001107"), 9, 0x20),
        seal(bytes.fromhex("c401c2001107"), 3),
        seal(bytes.fromhex("c401c2001107"), 9)[:-1] + b"\x00",
        seal(bytes.fromhex("c401c2001107"), 9, title=CLIENT),
        b"\xcd" + seal(bytes.fromhex("c401c2001107"), 9)[1:],
    ],
)
def test_forged_downgraded_and_replayed_answers(answer: bytes) -> None:
    client = hls_client()
    client.get(CLOCK)
    with pytest.raises(SecurityError):
        client.receive(answer)
    assert client.state is State.BROKEN


def test_a_ciphered_error_is_read() -> None:
    client = hls_client()
    client.get(CLOCK)
    assert client.receive(seal(bytes.fromhex("0e010301"), 9)) == ServiceError(ConfirmedServiceError(1, 3, 1))


def test_release_of_a_ciphered_association() -> None:
    client = hls_client()
    apdu = client.release()
    assert apdu[:1] + apdu[2:6] == bytes.fromhex("62800100BE")
    control, counter, initiate = unseal(apdu[apdu.index(b"\x04", 7) + 2 :])
    assert (control, counter, initiate[0]) == (0x30, 4, 1)
    assert client.receive(b"\x63\x28\x80\x01\x00\xbe\x23\x04\x21" + seal(initiate_response(), 9)) == Released(0)
    client = hls_client()
    client.release()
    assert client.receive(bytes.fromhex("6300")) == Released(None)
    for wrong in (initiate_response(), seal(initiate_response(), 3), seal(initiate_response(), 9, 0x20)):
        client = hls_client()
        client.release()
        body = b"\xbe" + bytes((len(wrong) + 2, 4, len(wrong))) + wrong
        with pytest.raises(SecurityError):
            client.receive(b"\x63" + bytes((len(body),)) + body)


Wishes = tuple[Callable[[], bytes], ...]


def test_illegal_order() -> None:
    client = ClientAssociation(settings_of())
    wishes: Wishes = (lambda: client.get(CLOCK), lambda: client.action(RELAY), client.release)
    for wish in wishes:
        with pytest.raises(LocalProtocolError, match="idle"):
            wish()
    client.associate()
    with pytest.raises(LocalProtocolError, match="associating"):
        client.associate()
    client = plain_client()
    client.get(CLOCK)
    with pytest.raises(LocalProtocolError, match="requesting"):
        client.set(CLOCK, Data.null())


def test_services_that_the_server_does_not_offer() -> None:
    client = plain_client(conformance=0x10)
    client.get(CLOCK)
    client.receive(bytes.fromhex("c401c1001107"))
    wishes: Wishes = (
        lambda: client.set(CLOCK, Data.null()),
        lambda: client.action(RELAY),
        lambda: client.get(CLOCK, Selection(1, Data.null())),
    )
    for wish in wishes:
        with pytest.raises(NotNegotiated):
            wish()
    assert client.state is State.ASSOCIATED


def test_what_the_server_offers_beyond_our_proposal_does_not_count() -> None:
    client = ClientAssociation(settings_of(conformance=0x10))
    client.associate()
    assert client.receive(aare(initiate_response(0xFFFFFF))) == Associated(0x10, 1024, None)


def test_counters_run_out() -> None:
    client = ClientAssociation(settings_of("hls-gmac", "both"), iter([1, 2]), CTOS)
    client.associate()
    with pytest.raises(CountersExhausted):
        client.receive(aare(GOOD, context=3, diagnostic=14, title=SERVER, challenge=STOC))


@pytest.mark.parametrize(
    "settings",
    [
        AssociationSettings(authentication=Authentication.LLS),
        AssociationSettings(authentication=Authentication.HLS_GMAC, encryption_key=EK, authentication_key=AK),
        AssociationSettings(protection=Protection.BOTH, client_system_title=CLIENT),
        AssociationSettings(protection=Protection.BOTH, client_system_title=CLIENT[:7]),
        AssociationSettings(
            protection=Protection.BOTH, client_system_title=CLIENT, encryption_key=EK, authentication_key=EK[1:]
        ),
        AssociationSettings(server_system_title=b"x"),
        AssociationSettings(security_suite=3),
        AssociationSettings(client_sap=-1),
        AssociationSettings(max_receive_pdu_size=11),
    ],
)
def test_settings_that_contradict(settings: AssociationSettings) -> None:
    with pytest.raises(LocalProtocolError):
        ClientAssociation(settings)


def test_hls_needs_a_challenge() -> None:
    with pytest.raises(LocalProtocolError):
        ClientAssociation(settings_of("hls-gmac", "both"), iter(()), b"short")


def test_secrets_are_never_printed() -> None:
    text = repr(settings_of("lls", "both"))
    for secret in (b"12345678", EK, AK):
        assert repr(secret)[2:-1] not in text
        assert secret.hex() not in text
