"""General-ciphering, general-signing and the keys agreed on for them: the Green Book's example, and by hand."""

import pytest
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms, modes
from hypothesis import given
from hypothesis import strategies as st
from tests.dlms.secure_meter import CLIENT, SERVER, Keys

from metercast.dlms.elliptic import PrivateKey, PublicKey
from metercast.dlms.errors import DecodeError, DowngradeError, EncodeError, SecurityError
from metercast.dlms.general_ciphering import (
    AgreedKey,
    GeneralCiphering,
    Heading,
    IdentifiedKey,
    KeyInfo,
    WrappedKey,
    decode_general_ciphering,
    protect_general,
)
from metercast.dlms.general_signing import GeneralSigning, decode_general_signing, sign_general
from metercast.dlms.key_agreement import (
    Scheme,
    agreed_key,
    derive_key,
    one_pass_key,
    sign_ephemeral,
    static_key,
    verify_ephemeral,
)
from metercast.dlms.key_wrap import unwrap_key, wrap_key

# Green Book edition 8: table 41 (an ACCESS.request under a key of the one-pass scheme) with keys of C.1 and C.2.
U, V = bytes.fromhex("4D4D4D0000BC614E"), bytes.fromhex("4D4D4D0000000001")
EPHEMERAL_AND_SIGNATURE = (
    "C323C2BD45711DE4688637D919F92E9DB8FB2DFC213A88D21C9DC8DCBA917D8170511DE1BADB360D50058F794B0960AE11FA28D392CFF907"
    "A62D13E3357B1DC0B51BE089D0B682863B2217201E73A1A9031968A9B4121DCBC3281A69739AF87429F5B3AC5471E7B6A04A2C0F2F8A25FD"
    "772A317DF97FC5463FEAC248EB8AB8BE"
)
BOOK = bytes.fromhex(
    "DD080102030405060708084D4D4D0000BC614E084D4D4D00000000010000010201018180"
    + EPHEMERAL_AND_SIGNATURE
    + "81EB31000000"
    "00F435069679270C5BF4425EE5777402A6C8D51C620EED52DBB188378B836E2857D5C053E6DDF27FA87409AEF502CD9618AE47017C010224FD"
    "109CC0BEB21E742D44AB40CD11908743EC90EC8C40E221D517F72228E1A26E827F43DC18ED27B5F458D66508B05A2A4CC6FED178C881AFC3BC"
    "67064689BE8BB41C80ABB3C114A31F4CB03B8B64C7E0B4CE77B2399C93347858888F92239713B38DF01C4858245827A92EF334172EA636B31C"
    "BBDF2A96AD5D035F66AA38F1A2D97D4BBA99622E6B5F18789CECB2DFB3937D9F3E17F8B472098E6563238F37528374809836002AEA6E7012D2"
    "ADFAA7"
)
SIGNER = PublicKey.parse(
    "BAAFFDE06A8CB1C9DAE8D94023C601DBBB249254BA22EDD827E820BCA2BCC643"
    "62FBB83D86A82B87BB8B7161D2AAB5521911A946B97A284A90F7785CD9047D25",
    1,
)
V_PRIVATE = PrivateKey.parse("AAD3FD0732E991CF52A74C66C1F2827DDC53522A2E0A169D7C4FFCC0FB5D6A4D", 1)
U_PRIVATE = PrivateKey.parse("A51C16FF5C498FCC89323D4A9267CD71BF81FD6F6A891CD240DA7F3D6F283E65", 1)
ONE_PASS_KEY = "59a71fd81c929a86a99438da17a66c05"  # table C.2
STATIC_KEY = "56c46b57df675515c31025455822514a"  # table C.3
KEY_ID_AND_EPHEMERAL = (  # of the method key_agreement, table C.1
    "002914D60E10AB705F62ED6CC349D7CB99B9AB3F3978E59278C7AF595B3AF987941372DAB6D5AF1FA867E134167E6F23DE664A6693E05F43"
    "414611058D1B48F894"
)
ITS_SIGNATURE = (
    "06F0607702AA0E2435A183E2F6B1ECD19629712E389A213610C03F77B2590860EA840AF5C3FA1F2BCDF055D4744E9A01CE9A0E55026BCAA4"
    "EEBEB764CED64BB3"
)

HEADING = Heading(b"\x01" * 8, CLIENT, SERVER)
APDU = bytes.fromhex("C401C100090400112233")
SIZES = {0: 16, 1: 16, 2: 32}


def test_the_green_books_example_of_the_one_pass_scheme() -> None:
    """All but its tag, which no authentication key that the book names gives: what it says of that is unproved."""
    parsed = decode_general_ciphering(BOOK)
    assert parsed.encode() == BOOK
    assert parsed.heading == Heading(bytes.fromhex("0102030405060708"), U, V)
    assert parsed.key_info == AgreedKey(b"\x01", bytes.fromhex(EPHEMERAL_AND_SIGNATURE))
    key = agreed_key(parsed.heading, parsed.key_info, 1, V_PRIVATE, SIGNER, SIGNER)
    assert key.hex() == ONE_PASS_KEY
    decryptor = Cipher(algorithms.AES(key), modes.GCM(U + parsed.body[1:5])).encryptor()
    plain = decryptor.update(parsed.body[5:-12])
    assert plain.hex().startswith("d94000000000040100010000600100ff020100080000010000ff02")
    assert plain.hex().endswith("02080901031101110211021102110211021102")


def test_the_green_books_keys() -> None:
    secret = V_PRIVATE.agree(PublicKey.from_octets(bytes.fromhex(EPHEMERAL_AND_SIGNATURE)[:64], 1))
    assert secret.hex() == "0d4385ba0dd756cbcab9887eb538396ee8f090a14c1079b4359f115b977f4615"
    assert derive_key(1, secret, U, V).hex() == ONE_PASS_KEY
    answer = bytes.fromhex("2B4302DC49790E2E78D990CFB52ED6E2F273DECE441A2D95E4301B93812A9FAC")
    assert derive_key(1, answer, V, U).hex() == "f0184bda9466bfa4601a64a7ef46504a"
    heading = Heading(bytes.fromhex("0102030405060708"), U, V)
    assert static_key(heading, 1, U_PRIVATE, V_PRIVATE.public)[1].hex() == STATIC_KEY
    assert static_key(heading, 1, V_PRIVATE, U_PRIVATE.public)[1].hex() == STATIC_KEY
    signed = bytes.fromhex(KEY_ID_AND_EPHEMERAL[2:] + ITS_SIGNATURE)
    assert verify_ephemeral(signed, SIGNER, 1, key_id=0).octets == signed[:64]
    for other in (None, 1, 2):
        with pytest.raises(SecurityError):
            verify_ephemeral(signed, SIGNER, 1, key_id=other)


INFOS: list[KeyInfo | None] = [
    None,
    IdentifiedKey(0),
    WrappedKey(0, bytes(24)),
    AgreedKey(b"\x02", b""),
    AgreedKey(b"\x01", bytes(128)),
]


@pytest.mark.parametrize("suite", SIZES)
@pytest.mark.parametrize("control", [0x10, 0x20, 0x30])
@pytest.mark.parametrize("info", INFOS, ids=repr)
def test_what_is_authenticated_beside_the_apdu(suite: int, control: int, info: KeyInfo | None) -> None:
    """Control octet, authentication key, and the five fields, each with its length (catalogue 2.5)."""
    heading = Heading(b"\x07" * 8, CLIENT, SERVER, b"\x08" * 12, b"other")
    keys = bytes(range(SIZES[suite])), bytes(range(0xA0, 0xA0 + SIZES[suite]))
    sealed = protect_general(heading, info, keys, suite, control, 5, APDU)
    fields = b"\x08" + b"\x07" * 8 + b"\x08" + CLIENT + b"\x08" + SERVER + b"\x0c" + b"\x08" * 12 + b"\x05other"
    by_hand = Keys(keys[0], keys[1] + fields, suite).seal(APDU, 5, control, CLIENT)
    assert sealed.body == by_hand
    octets = sealed.encode()
    assert octets.startswith(b"\xdd" + fields)
    parsed = decode_general_ciphering(octets)
    assert parsed == sealed
    assert parsed.unprotect(*keys, suite).plaintext == APDU


@pytest.mark.parametrize("field", Heading.__struct_fields__)
def test_no_field_can_be_changed(field: str) -> None:
    heading = Heading(b"\x07" * 8, CLIENT, SERVER, b"\x08" * 12, b"other")
    sealed = protect_general(heading, None, (bytes(16), bytes(16)), 1, 0x30, 5, APDU)
    octets = getattr(heading, field)
    fields = {name: getattr(heading, name) for name in Heading.__struct_fields__}
    for other in (octets[:-1] + b"\xff", b""):
        forged = GeneralCiphering(Heading(**fields | {field: other}), None, sealed.body)
        with pytest.raises(SecurityError):
            forged.unprotect(bytes(16), bytes(16), 1)


def test_the_key_set_bit_has_no_place_here() -> None:
    sealed = protect_general(HEADING, IdentifiedKey(1), (bytes(16), bytes(16)), 1, 0x30, 5, APDU)
    forged = GeneralCiphering(HEADING, sealed.key_info, bytes((sealed.body[0] | 0x40,)) + sealed.body[1:])
    with pytest.raises(DowngradeError, match="broadcast"):
        forged.unprotect(bytes(16), bytes(16), 1)
    with pytest.raises(EncodeError):
        protect_general(Heading(b"", b"short", SERVER), None, (bytes(16), bytes(16)), 1, 0x30, 5, APDU)


def test_a_wrapped_key_from_end_to_end() -> None:
    master, made_up = bytes(range(16)), bytes(range(0x70, 0x80))
    info = WrappedKey(0, wrap_key(master, made_up))
    octets = protect_general(HEADING, info, (made_up, bytes(16)), 1, 0x30, 0, APDU).encode()
    parsed = decode_general_ciphering(octets)
    assert isinstance(parsed.key_info, WrappedKey)
    assert parsed.unprotect(unwrap_key(master, parsed.key_info.wrapped), bytes(16), 1).plaintext == APDU


@pytest.mark.parametrize("suite", [1, 2])
def test_both_schemes_from_end_to_end(suite: int) -> None:
    own, other, signing = (PrivateKey.generate(suite) for _ in range(3))
    authentication_key = bytes(SIZES[suite])
    info, key = one_pass_key(HEADING, suite, signing, other.public, PrivateKey.generate(suite))
    assert info.parameters == bytes((Scheme.ONE_PASS,))
    octets = protect_general(HEADING, info, (key, authentication_key), suite, 0x30, 0, APDU).encode()
    parsed = decode_general_ciphering(octets)
    assert isinstance(parsed.key_info, AgreedKey)
    agreed = agreed_key(parsed.heading, parsed.key_info, suite, other, own.public, signing.public)
    assert parsed.unprotect(agreed, authentication_key, suite).plaintext == APDU

    info, key = static_key(HEADING, suite, own, other.public)
    assert key == agreed_key(HEADING, info, suite, other, own.public, None)
    later = Heading(b"\x02" * 8, HEADING.originator, HEADING.recipient)
    assert key != static_key(later, suite, own, other.public)[1]


def test_an_ephemeral_key_that_nobody_signed_agrees_on_nothing() -> None:
    own, other, signing, attacker = (PrivateKey.generate(1) for _ in range(4))
    info, _ = one_pass_key(HEADING, 1, attacker, other.public, PrivateKey.generate(1))
    with pytest.raises(SecurityError, match="signature"):
        agreed_key(HEADING, info, 1, other, own.public, signing.public)
    with pytest.raises(SecurityError, match="nobody"):
        agreed_key(HEADING, info, 1, other, own.public, None)
    off_the_curve = bytes(64)
    claimed = AgreedKey(b"\x01", off_the_curve + signing.sign(off_the_curve))
    with pytest.raises(SecurityError, match="no point"):
        agreed_key(HEADING, claimed, 1, other, own.public, signing.public)
    for wrong in (AgreedKey(b"\x02", b"x"), AgreedKey(b"\x03", b""), AgreedKey(b"", b""), AgreedKey(b"\x01", b"x")):
        with pytest.raises(DecodeError):
            agreed_key(HEADING, wrong, 1, other, own.public, signing.public)
    with pytest.raises(EncodeError):
        derive_key(0, bytes(32), CLIENT, SERVER)
    with pytest.raises(DecodeError):
        verify_ephemeral(bytes(128), signing.public, 0)
    assert len(sign_ephemeral(signing, own.public)) == 128


@pytest.mark.parametrize("suite", [1, 2])
def test_signed_apdus(suite: int) -> None:
    """The signature is over all fields before it, each with its length."""
    key = PrivateKey.generate(suite)
    signed = sign_general(HEADING, APDU, key)
    octets = signed.encode()
    parsed = decode_general_signing(octets)
    assert parsed == signed
    assert parsed.verify(key.public) == APDU
    covered = octets[1 : -len(signed.signature) - 1]
    assert covered == b"\x08" + b"\x01" * 8 + b"\x08" + CLIENT + b"\x08" + SERVER + b"\0\0" + b"\x0a" + APDU
    key.public.verify(covered, signed.signature)
    for forged in (
        GeneralSigning(HEADING, APDU + b"\0", signed.signature),
        GeneralSigning(Heading(b"", CLIENT, SERVER), APDU, signed.signature),
        GeneralSigning(HEADING, APDU, signed.signature[:-1]),
    ):
        with pytest.raises(SecurityError):
            forged.verify(key.public)
    with pytest.raises(SecurityError):
        parsed.verify(PrivateKey.generate(suite).public)


DECODERS = (decode_general_ciphering, decode_general_signing)


@given(st.sampled_from([0xDD, 0xDF, 0xDB]), st.binary(max_size=80))
def test_any_octets(tag: int, rest: bytes) -> None:
    octets = bytes((tag,)) + rest
    for decode in DECODERS:
        try:
            parsed = decode(octets)
        except DecodeError:
            continue
        assert decode(parsed.encode()) == parsed


@given(st.integers(0, len(BOOK) - 1), st.integers(0, 255))
def test_any_octet_of_the_example_changed(position: int, octet: int) -> None:
    octets = BOOK[:position] + bytes((octet,)) + BOOK[position + 1 :]
    try:
        parsed = decode_general_ciphering(octets)
    except DecodeError:
        return
    with pytest.raises((SecurityError, DecodeError)):
        parsed.unprotect(bytes(16), bytes(16), 1)


def test_nothing_may_be_missing_or_follow() -> None:
    signed = sign_general(HEADING, APDU, PrivateKey.generate(1)).encode()
    for octets, decode in ((BOOK, decode_general_ciphering), (signed, decode_general_signing)):
        for cut in range(len(octets)):
            with pytest.raises(DecodeError):
                decode(octets[:cut])
        with pytest.raises(DecodeError):
            decode(octets + b"\0")
    with pytest.raises(DecodeError, match="nothing"):
        decode_general_signing(b"\xdf\0\0\0\0\0\0\0")
    with pytest.raises(DecodeError, match="kind 3"):
        decode_general_ciphering(b"\xdd\0\0\0\0\0\1\3\0\0")
