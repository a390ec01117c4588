"""HLS by ECDSA on both curves and by mechanism 2; keys in each notation; published signatures."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from cryptography.x509.oid import NameOID
from hypothesis import given
from hypothesis import strategies as st
from tests.dlms.meter import ALL_SERVICES, CLIENT, CTOS, SERVER, STOC, aare, initiate_response

from metercast.dlms.association import ClientAssociation
from metercast.dlms.elliptic import CURVES, PrivateKey, PublicKey
from metercast.dlms.errors import EncodeError, SecurityError
from metercast.dlms.events import Associated, Rejected, Send
from metercast.dlms.settings import AssociationSettings, Authentication, ManufacturerMethod

# Green Book edition 8, table C.1: the client's signature of key-id and ephemeral public key.
P256_PUBLIC = (
    "BAAFFDE06A8CB1C9DAE8D94023C601DBBB249254BA22EDD827E820BCA2BCC643"
    "62FBB83D86A82B87BB8B7161D2AAB5521911A946B97A284A90F7785CD9047D25"
)
P256_PRIVATE = "418073C239FA6125011DE4D6CD2E645780289F761BB21BFB0835CB5585E8B373"
P256_DATA = bytes.fromhex(
    "002914D60E10AB705F62ED6CC349D7CB99B9AB3F3978E59278C7AF595B3AF987941372DAB6D5AF1FA867E134167E6F23DE664A6693E05F43"
    "414611058D1B48F894"
)
P256_SIGNATURE = bytes.fromhex(
    "06F0607702AA0E2435A183E2F6B1ECD19629712E389A213610C03F77B2590860EA840AF5C3FA1F2BCDF055D4744E9A01CE9A0E55026BCAA4"
    "EEBEB764CED64BB3"
)
# "Suite B Implementer's Guide to FIPS 186-3 (ECDSA)".
P384_PRIVATE = "c838b85253ef8dc7394fa5808a5183981c7deef5a69ba8f4f2117ffea39cfcd90e95f6cbc854abacab701d50c1f3cf24"
P384_PUBLIC = (
    "1fbac8eebd0cbf35640b39efe0808dd774debff20a2a329e91713baf7d7f3c3e81546d883730bee7e48678f857b02ca0"
    "eb213103bd68ce343365a8a4c3d4555fa385f5330203bdd76ffad1f3affb95751c132007e1b240353cb0a4cf1693bdf9"
)
P384_DATA = b"This is only a test message. It is 48 bytes long"
P384_SIGNATURE = bytes.fromhex(
    "a0c27ec893092dea1e1bd2ccfed3cf945c8134ed0c9f81311a0f4a05942db8dbed8dd59f267471d5462aa14fe72de856"
    "20ab3f45b74f10b6e11f96a2c8eb694d206b9dda86d3c7e331c26b22c987b7537726577667adadf168ebbe803794a402"
)
PUBLISHED = {
    1: (P256_PRIVATE, P256_PUBLIC, P256_DATA, P256_SIGNATURE),
    2: (P384_PRIVATE, P384_PUBLIC, P384_DATA, P384_SIGNATURE),
}
SERVER_PRIVATE = {1: "11" * 32, 2: "22" * 48}


@pytest.mark.parametrize("suite", PUBLISHED)
def test_published_signatures(suite: int) -> None:
    private, public, data, signature = PUBLISHED[suite]
    PublicKey.parse(public, suite).verify(data, signature)
    assert PrivateKey.parse(private, suite).public.octets == bytes.fromhex(public)
    PublicKey.parse(public, suite).verify(data, PrivateKey.parse(private, suite).sign(data))
    for wrong in (signature[:-1], signature + b"\0", b"", bytes(len(signature)), signature[:-1] + b"\x55"):
        with pytest.raises(SecurityError):
            PublicKey.parse(public, suite).verify(data, wrong)
    with pytest.raises(SecurityError):
        PublicKey.parse(public, suite).verify(data + b"\0", signature)


@given(st.binary(max_size=130))
def test_any_octets_as_a_signature(signature: bytes) -> None:
    with pytest.raises(SecurityError):
        PublicKey.parse(P256_PUBLIC, 1).verify(P256_DATA, signature)


def pem_of(key: ec.EllipticCurvePrivateKey) -> dict[str, str]:
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "4D4D4D0000BC614E")])
    since = datetime(2026, 1, 1, tzinfo=UTC)
    builder = x509.CertificateBuilder(name, name, key.public_key(), 1, since, since + timedelta(days=9))
    encoding = serialization.Encoding.PEM
    public = key.public_key().public_bytes(encoding, serialization.PublicFormat.SubjectPublicKeyInfo)
    plain = serialization.NoEncryption()
    return {
        "certificate": builder.sign(key, hashes.SHA256()).public_bytes(encoding).decode(),
        "public": public.decode(),
        "pkcs8": key.private_bytes(encoding, serialization.PrivateFormat.PKCS8, plain).decode(),
        "sec1": key.private_bytes(encoding, serialization.PrivateFormat.TraditionalOpenSSL, plain).decode(),
        "sealed": key.private_bytes(
            encoding, serialization.PrivateFormat.PKCS8, serialization.BestAvailableEncryption(b"pass")
        ).decode(),
    }


@pytest.mark.parametrize("suite", CURVES)
def test_each_notation_of_a_key(suite: int) -> None:
    private, public, data, _ = PUBLISHED[suite]
    key = ec.derive_private_key(int(private, 16), CURVES[suite].curve)
    pem = pem_of(key)
    for text in (public, "04" + public, public.lower(), pem["certificate"], pem["public"]):
        assert PublicKey.parse(text, suite).octets == bytes.fromhex(public)
    for text in (private, pem["pkcs8"], pem["sec1"]):
        assert PrivateKey.parse(text, suite).public.octets == bytes.fromhex(public)
        PublicKey.parse(public, suite).verify(data, PrivateKey.parse(text, suite).sign(data))


def test_what_is_no_key_is_refused_and_not_repeated() -> None:
    other = pem_of(ec.generate_private_key(ec.SECP384R1()))
    for text in ("", "zz", P256_PUBLIC[2:], "00" * 64, "FF" * 64, other["public"], other["certificate"], "-----BEGIN "):
        with pytest.raises(EncodeError) as refused:
            PublicKey.parse(text, 1)
        assert not text or text[:20] not in str(refused.value)
    for text in ("", "zz", P256_PRIVATE[2:], "00" * 32, "FF" * 32, other["pkcs8"], other["sealed"], other["public"]):
        with pytest.raises(EncodeError) as refused:
            PrivateKey.parse(text, 1)
        assert not text or text[:20] not in str(refused.value)
    for suite in (0, 3):
        with pytest.raises(EncodeError, match="no elliptic curve"):
            PrivateKey.parse(P256_PRIVATE, suite)
    assert repr(PrivateKey.parse(P256_PRIVATE, 1)) == "PrivateKey()"


def settings(authentication: Authentication, suite: int = 0, **changes: object) -> AssociationSettings:
    fields: dict[str, object] = {
        "authentication": authentication,
        "security_suite": suite,
        "client_system_title": CLIENT,
        "conformance": ALL_SERVICES,
    }
    if suite:
        fields["signing_key"] = PrivateKey.parse(PUBLISHED[suite][0], suite)
        fields["server_public_key"] = PrivateKey.parse(SERVER_PRIVATE[suite], suite).public
    return AssociationSettings(**fields | changes)  # type: ignore[arg-type]


def pass_3(client: ClientAssociation, mechanism: int, title: bytes | None = SERVER) -> bytes:
    """What the client answers the server's challenge with."""
    client.associate()
    event = client.receive(aare(initiate_response(), diagnostic=14, title=title, challenge=STOC, mechanism=mechanism))
    assert isinstance(event, Send)
    head, proof = event.apdu[:15], event.apdu[15:]
    assert head == bytes.fromhex("c301c1000f0000280000ff010109") + bytes((len(proof),))
    return proof


def pass_4(proof: bytes) -> bytes:
    return bytes.fromhex("c701c100010009") + bytes((len(proof),)) + proof


def raw(curve: ec.EllipticCurve, digest: hashes.HashAlgorithm, private: str, data: bytes) -> bytes:
    """r and s by the library alone."""
    key = ec.derive_private_key(int(private, 16), curve)
    r, s = utils.decode_dss_signature(key.sign(data, ec.ECDSA(digest)))
    size = (curve.key_size + 7) // 8
    return r.to_bytes(size, "big") + s.to_bytes(size, "big")


HASHES: dict[int, tuple[ec.EllipticCurve, hashes.HashAlgorithm]] = {
    1: (ec.SECP256R1(), hashes.SHA256()),
    2: (ec.SECP384R1(), hashes.SHA384()),
}


@pytest.mark.parametrize("suite", HASHES)
def test_ecdsa_in_four_passes(suite: int) -> None:
    curve, digest = HASHES[suite]
    client = ClientAssociation(settings(Authentication.HLS_ECDSA, suite), challenge=CTOS)
    proof = pass_3(client, 7)
    size = (curve.key_size + 7) // 8
    assert len(proof) == 2 * size
    signature = utils.encode_dss_signature(int.from_bytes(proof[:size], "big"), int.from_bytes(proof[size:], "big"))
    public = ec.derive_private_key(int(PUBLISHED[suite][0], 16), curve).public_key()
    public.verify(signature, CLIENT + SERVER + STOC + CTOS, ec.ECDSA(digest))
    answer = raw(curve, digest, SERVER_PRIVATE[suite], SERVER + CLIENT + CTOS + STOC)
    assert isinstance(client.receive(pass_4(answer)), Associated)


@pytest.mark.parametrize("suite", HASHES)
@pytest.mark.parametrize("lie", ["our own signature", "another order", "another key", "cut", "not a signature"])
def test_ecdsa_answers_that_prove_nothing(suite: int, lie: str) -> None:
    curve, digest = HASHES[suite]
    client = ClientAssociation(settings(Authentication.HLS_ECDSA, suite), challenge=CTOS)
    ours = pass_3(client, 7)
    right = SERVER + CLIENT + CTOS + STOC
    answer = {
        "our own signature": ours,
        "another order": raw(curve, digest, SERVER_PRIVATE[suite], CLIENT + SERVER + STOC + CTOS),
        "another key": raw(curve, digest, "33" * (curve.key_size // 8), right),
        "cut": raw(curve, digest, SERVER_PRIVATE[suite], right)[:-1],
        "not a signature": bytes(2 * (curve.key_size // 8)),
    }[lie]
    with pytest.raises(SecurityError):
        client.receive(pass_4(answer))


def test_ecdsa_needs_the_servers_title() -> None:
    client = ClientAssociation(settings(Authentication.HLS_ECDSA, 1), challenge=CTOS)
    with pytest.raises(SecurityError, match="system title"):
        pass_3(client, 7, title=None)


def test_mechanism_2_by_aes() -> None:
    changes: dict[str, Any] = {"password": b"secret", "manufacturer_method": ManufacturerMethod.AES_128_ECB}
    client = ClientAssociation(settings(Authentication.HLS, **changes), challenge=b"challenge")

    def encrypted(challenge: bytes) -> bytes:
        encryptor = Cipher(algorithms.AES(b"secret" + bytes(10)), modes.ECB()).encryptor()
        return encryptor.update(challenge) + encryptor.finalize()

    assert pass_3(client, 2, title=None) == encrypted(STOC)
    assert isinstance(client.receive(pass_4(encrypted(b"challenge" + bytes(7)))), Associated)
    client = ClientAssociation(settings(Authentication.HLS, **changes), challenge=b"challenge")
    pass_3(client, 2, title=None)
    with pytest.raises(SecurityError):
        client.receive(pass_4(encrypted(b"challenge" + bytes(6) + b"\1")))


def test_a_server_that_refuses_our_signature() -> None:
    client = ClientAssociation(settings(Authentication.HLS_ECDSA, 1), challenge=CTOS)
    pass_3(client, 7)
    event = client.receive(bytes.fromhex("c701c10300"))
    assert isinstance(event, Rejected)
    assert event.diagnostic == 13
