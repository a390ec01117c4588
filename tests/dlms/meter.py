"""A meter's side for tests, independent of the code under test: octets by hand, AES-GCM by the low-level interface."""

from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes

from metercast.dlms.association import ClientAssociation
from metercast.dlms.events import Associated, Send
from metercast.dlms.settings import AssociationSettings, Authentication, Protection

EK = bytes(range(16))
AK = bytes(range(0xD0, 0xE0))
CLIENT = bytes.fromhex("4D43530000000001")
SERVER = bytes.fromhex("4D4D4D0000BC614E")
CTOS = b"client-challenge"
STOC = b"server-challenge"
ALL_SERVICES = 0x005E1D

GLO = {0x01: 0x21, 0x08: 0x28, 0x0E: 0x2E, 0xC0: 0xC8, 0xC1: 0xC9, 0xC3: 0xCB, 0xC4: 0xCC, 0xC5: 0xCD, 0xC7: 0xCF}


def gcm(nonce: bytes, aad: bytes, plaintext: bytes) -> tuple[bytes, bytes]:
    """(ciphertext, 12-octet tag)."""
    encryptor = Cipher(algorithms.AES(EK), modes.GCM(nonce)).encryptor()
    encryptor.authenticate_additional_data(aad)
    ciphertext = encryptor.update(plaintext) + encryptor.finalize()
    return ciphertext, encryptor.tag[:12]


def seal(apdu: bytes, counter: int, control: int = 0x30, title: bytes = SERVER) -> bytes:
    """The service-specific glo form of a short or long APDU."""
    octets = counter.to_bytes(4, "big")
    nonce = title + octets
    head = bytes((control,))
    if control == 0x30:
        payload = b"".join(gcm(nonce, head + AK, apdu))
    elif control == 0x10:
        payload = apdu + gcm(nonce, head + AK + apdu, b"")[1]
    else:
        payload = gcm(nonce, b"", apdu)[0]
    body = head + octets + payload
    length = bytes((len(body),)) if len(body) < 128 else b"\x82" + len(body).to_bytes(2, "big")
    return bytes((GLO[apdu[0]],)) + length + body


def unseal(apdu: bytes, title: bytes = CLIENT) -> tuple[int, int, bytes]:
    """(control, counter, plaintext) of what the client sent, its tag checked by the library."""
    at = {0x81: 3, 0x82: 4}.get(apdu[1], 2)
    body = apdu[at:]
    control, counter = body[0], int.from_bytes(body[1:5], "big")
    nonce = title + body[1:5]
    if control == 0x20:
        plaintext = gcm(nonce, b"", body[5:])[0]
    else:
        payload, tag = body[5:-12], body[-12:]
        decryptor = Cipher(algorithms.AES(EK), modes.GCM(nonce, tag, min_tag_length=12)).decryptor()
        if control == 0x10:
            decryptor.authenticate_additional_data(b"\x10" + AK + payload)
            decryptor.finalize()
            plaintext = payload
        else:
            decryptor.authenticate_additional_data(b"\x30" + AK)
            plaintext = decryptor.update(payload) + decryptor.finalize()
    assert GLO[plaintext[0]] == apdu[0]
    return control, counter, plaintext


def proof(title: bytes, counter: int, challenge: bytes) -> bytes:
    octets = counter.to_bytes(4, "big")
    return b"\x10" + octets + gcm(title + octets, b"\x10" + AK + challenge, b"")[1]


def element(tag: int, contents: bytes) -> bytes:
    size = len(contents)
    return bytes((tag, size) if size < 128 else (tag, 0x81, size)) + contents


def initiate_response(conformance: int = ALL_SERVICES, size: int = 1024) -> bytes:
    return b"\x08\x00\x06\x5f\x1f\x04\x00" + conformance.to_bytes(3, "big") + size.to_bytes(2, "big") + b"\x00\x07"


def aare(
    user_information: bytes | None,
    *,
    context: int = 1,
    result: int = 0,
    diagnostic: int = 0,
    title: bytes | None = None,
    challenge: bytes | None = None,
    mechanism: int = 5,
) -> bytes:
    body = bytes.fromhex("A10906076085740508") + bytes((1, context))
    body += bytes((0xA2, 3, 2, 1, result, 0xA3, 5, 0xA1, 3, 2, 1, diagnostic))
    if title is not None:
        body += element(0xA4, element(4, title))
    if challenge is not None:
        body += (
            bytes.fromhex("8802078089076085740508") + bytes((2, mechanism)) + element(0xAA, element(0x80, challenge))
        )
    if user_information is not None:
        body += element(0xBE, element(4, user_information))
    return element(0x61, body)


def settings_of(
    authentication: str = "none", protection: str = "none", *, conformance: int = ALL_SERVICES, limit: int = 1 << 20
) -> AssociationSettings:
    return AssociationSettings(
        client_sap=1,
        authentication=Authentication(authentication),
        protection=Protection(protection),
        client_system_title=CLIENT,
        password=b"12345678",
        encryption_key=EK,
        authentication_key=AK,
        conformance=conformance,
        response_limit=limit,
    )


def plain_client(*, size: int = 0, conformance: int = ALL_SERVICES, limit: int = 1 << 20) -> ClientAssociation:
    """Associated without authentication; the server's maximum PDU size is `size`."""
    client = ClientAssociation(settings_of(limit=limit, conformance=ALL_SERVICES | conformance))
    client.associate()
    event = client.receive(aare(initiate_response(conformance, size)))
    assert isinstance(event, Associated)
    return client


def hls_client(
    *, protection: str = "both", size: int = 1024, start: int = 1, conformance: int = ALL_SERVICES
) -> ClientAssociation:
    """Associated with HLS-GMAC; the server used the counters 1 to 3."""
    control = {"none": 0, "authenticated": 0x10, "encrypted": 0x20, "both": 0x30}[protection]
    counters = iter(range(start, 1 << 32))
    client = ClientAssociation(settings_of("hls-gmac", protection, conformance=conformance), counters, CTOS)
    client.associate()
    initiate = initiate_response(conformance, size)
    sealed = seal(initiate, 1, control) if control else initiate
    context = 3 if control else 1
    event = client.receive(aare(sealed, context=context, diagnostic=14, title=SERVER, challenge=STOC))
    assert isinstance(event, Send)
    answer = bytes.fromhex("c701c10001000911") + proof(SERVER, 2, CTOS)
    event = client.receive(seal(answer, 3, control) if control else answer)
    assert isinstance(event, Associated)
    return client
