"""HLS with MD5, SHA-1 and SHA-256: the proofs as the catalogue writes them, and what proves nothing."""

import hashlib

import pytest
from tests.dlms.meter import CLIENT, CTOS, SERVER, STOC

from metercast.dlms.acse import Aare, Mechanism
from metercast.dlms.action import ActionResponseNormal, MethodResponse, decode_action_request
from metercast.dlms.association import ClientAssociation
from metercast.dlms.data import Data
from metercast.dlms.errors import LocalProtocolError, SecurityError
from metercast.dlms.events import Associated, Rejected, Send
from metercast.dlms.hls import SharedSecret
from metercast.dlms.initiate import InitiateResponse
from metercast.dlms.results import ActionResultCode
from metercast.dlms.settings import AssociationSettings, Authentication

SECRET = b"a secret of both"
CASES = {
    Authentication.HLS_MD5: (
        hashlib.md5(STOC + SECRET).digest(),
        hashlib.md5(CTOS + SECRET).digest(),
    ),
    Authentication.HLS_SHA1: (
        hashlib.sha1(STOC + SECRET).digest(),
        hashlib.sha1(CTOS + SECRET).digest(),
    ),
    Authentication.HLS_SHA256: (
        hashlib.sha256(SECRET + CLIENT + SERVER + STOC + CTOS).digest(),
        hashlib.sha256(SECRET + SERVER + CLIENT + CTOS + STOC).digest(),
    ),
}


def settings(authentication: Authentication, **changes: object) -> AssociationSettings:
    given = {"client_system_title": CLIENT, "password": SECRET} | changes
    return AssociationSettings(authentication=authentication, **given)  # type: ignore[arg-type]


def pending(authentication: Authentication, challenge: bytes = STOC, title: bytes | None = SERVER) -> bytes:
    response = InitiateResponse(conformance=0x005C1D, server_max_receive_pdu_size=1024).encode()
    return Aare(
        application_context=1,
        result=0,
        diagnostic=14,
        user_information=response,
        responding_ap_title=title,
        mechanism=authentication.mechanism,
        authentication=challenge,
    ).encode()


def asked(authentication: Authentication) -> tuple[ClientAssociation, bytes]:
    association = ClientAssociation(settings(authentication), challenge=CTOS)
    association.associate()
    event = association.receive(pending(authentication))
    assert isinstance(event, Send)
    return association, event.apdu


def answered(proof: bytes, result: ActionResultCode = ActionResultCode.SUCCESS) -> bytes:
    return ActionResponseNormal(0xC1, MethodResponse(result, Data.octets(proof))).encode()


@pytest.mark.parametrize("authentication", list(CASES))
def test_both_proofs_are_those_of_the_catalogue(authentication: Authentication) -> None:
    ours, theirs = CASES[authentication]
    association, apdu = asked(authentication)
    request = decode_action_request(apdu)
    assert request.parameter == Data.octets(ours)  # type: ignore[union-attr]
    assert isinstance(association.receive(answered(theirs)), Associated)


@pytest.mark.parametrize("authentication", list(CASES))
def test_a_wrong_proof_and_a_reflected_one_prove_nothing(authentication: Authentication) -> None:
    for proof in (b"", CASES[authentication][0], CASES[authentication][1][:-1] + b"?"):
        association, _ = asked(authentication)
        with pytest.raises(SecurityError):
            association.receive(answered(proof))


@pytest.mark.parametrize("authentication", list(CASES))
def test_a_refusal_is_a_rejection(authentication: Authentication) -> None:
    association, _ = asked(authentication)
    event = association.receive(answered(b"", ActionResultCode.READ_WRITE_DENIED))
    assert isinstance(event, Rejected)


@pytest.mark.parametrize("authentication", list(CASES))
@pytest.mark.parametrize("challenge", [CTOS, b"short", bytes(65)])
def test_a_challenge_that_is_ours_or_none_is_a_security_error(authentication: Authentication, challenge: bytes) -> None:
    association = ClientAssociation(settings(authentication), challenge=CTOS)
    association.associate()
    with pytest.raises(SecurityError):
        association.receive(pending(authentication, challenge))


def test_another_mechanism_or_no_title_is_a_security_error() -> None:
    association = ClientAssociation(settings(Authentication.HLS_SHA256), challenge=CTOS)
    association.associate()
    with pytest.raises(SecurityError, match="challenge of hls-sha256"):
        association.receive(pending(Authentication.HLS_MD5))
    association = ClientAssociation(settings(Authentication.HLS_SHA256), challenge=CTOS)
    association.associate()
    with pytest.raises(SecurityError, match="system title"):
        association.receive(pending(Authentication.HLS_SHA256, title=None))


def test_what_is_missing_is_named_and_no_secret_is() -> None:
    with pytest.raises(LocalProtocolError, match="hls-md5 needs a password"):
        settings(Authentication.HLS_MD5, password=None).check()
    with pytest.raises(LocalProtocolError, match="client's system title"):
        settings(Authentication.HLS_SHA256, client_system_title=None).check()
    assert SECRET.decode() not in repr(settings(Authentication.HLS_MD5))
    assert SECRET.decode() not in repr(SharedSecret(Mechanism.HLS_MD5, SECRET))
