"""Protection of single APDUs and of an association's stream of them: forged, cut, downgraded, replayed."""

from itertools import count

import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.dlms import hls
from metercast.dlms.ciphering import GLO_TAGS, Cipher, Unprotected, decode_glo, encode_glo, overhead
from metercast.dlms.errors import (
    CountersExhausted,
    DecodeError,
    EncodeError,
    LocalProtocolError,
    SecurityError,
    UnexpectedAnswer,
)
from metercast.dlms.protection import Protector

CIPHER = Cipher(bytes(range(16)), bytes(range(0xD0, 0xE0)))
TITLE = bytes.fromhex("4D4D4D0000BC614E")
OTHER = bytes.fromhex("4D4D4D0000000001")
APDU = bytes.fromhex("C401C100090400112233")
CONTROLS = [0x10, 0x20, 0x30]


@given(st.sampled_from(CONTROLS), st.integers(0, 2**32 - 1), st.binary(max_size=300), st.sampled_from(sorted(GLO_TAGS)))
def test_protection_survives_the_wire(control: int, counter: int, rest: bytes, tag: int) -> None:
    apdu = bytes((tag,)) + rest
    sealed = encode_glo(CIPHER, control, TITLE, counter, apdu)
    assert decode_glo(CIPHER, TITLE, sealed) == Unprotected(control, counter, apdu)
    assert len(sealed) == len(apdu) + overhead(control, len(apdu))


@pytest.mark.parametrize("control", [0x10, 0x30])
def test_any_flipped_bit_is_refused(control: int) -> None:
    sealed = encode_glo(CIPHER, control, TITLE, 7, APDU)
    for at in range(len(sealed)):
        for bit in range(8):
            forged = bytearray(sealed)
            forged[at] ^= 1 << bit
            if forged[2] == 0x20 and at == 2:
                continue  # says "encrypted only": that is what `Protector` refuses as a downgrade
            with pytest.raises((SecurityError, DecodeError)):
                decode_glo(CIPHER, TITLE, bytes(forged))


@pytest.mark.parametrize("control", [0x10, 0x30])
def test_tags_cut_short_are_refused(control: int) -> None:
    body = encode_glo(CIPHER, control, TITLE, 7, APDU)[2:]
    for size in range(5, len(body)):
        with pytest.raises(SecurityError):
            decode_glo(CIPHER, TITLE, bytes((0xCC, size)) + body[:size])
    for size in range(5):
        with pytest.raises(DecodeError):
            decode_glo(CIPHER, TITLE, bytes((0xCC, size)) + body[:size])


@pytest.mark.parametrize("control", [0x00, 0x31, 0x32, 0x70, 0xB0, 0x50])
def test_other_suites_keys_and_compression_are_refused(control: int) -> None:
    body = bytes((control,)) + CIPHER.protect(0x30, TITLE, 7, APDU)[1:]
    with pytest.raises(SecurityError):
        CIPHER.unprotect(body, TITLE)
    with pytest.raises(EncodeError):
        CIPHER.protect(control, TITLE, 7, APDU)


def test_another_sender_or_key_is_refused() -> None:
    sealed = encode_glo(CIPHER, 0x30, TITLE, 7, APDU)
    with pytest.raises(SecurityError):
        decode_glo(CIPHER, OTHER, sealed)
    with pytest.raises(SecurityError):
        decode_glo(Cipher(bytes(16), bytes(range(0xD0, 0xE0))), TITLE, sealed)
    with pytest.raises(SecurityError):
        decode_glo(Cipher(bytes(range(16)), bytes(16)), TITLE, sealed)
    with pytest.raises(SecurityError):
        decode_glo(CIPHER, TITLE[:7], sealed)


def test_the_tag_outside_must_be_that_inside() -> None:
    sealed = encode_glo(CIPHER, 0x30, TITLE, 7, APDU)
    with pytest.raises(SecurityError, match="inside"):
        decode_glo(CIPHER, TITLE, b"\xcd" + sealed[1:])
    with pytest.raises(EncodeError):
        encode_glo(CIPHER, 0x30, TITLE, 7, b"\x60\x00")


@pytest.mark.parametrize("text", ["", "cc", "cc80", "cc05300000", "cc00", "60"])
def test_what_is_no_glo_apdu(text: str) -> None:
    with pytest.raises(DecodeError):
        decode_glo(CIPHER, TITLE, bytes.fromhex(text))


@pytest.mark.parametrize(("counter", "title"), [(-1, TITLE), (2**32, TITLE), (1, TITLE[:7])])
def test_our_own_mistakes(counter: int, title: bytes) -> None:
    with pytest.raises(EncodeError):
        CIPHER.protect(0x30, title, counter, APDU)
    with pytest.raises(EncodeError):
        CIPHER.authenticate(title, counter, APDU)
    with pytest.raises(EncodeError):
        Cipher(bytes(15), bytes(16))


def test_keys_are_never_printed() -> None:
    assert repr(CIPHER) == "Cipher()"
    assert not hasattr(CIPHER, "__dict__")


def receiver(control: int = 0x30) -> Protector:
    protector = Protector(CIPHER, control, OTHER, count(1))
    protector.peer_title = TITLE
    return protector


def test_received_counters_must_rise() -> None:
    protector = receiver()
    for counter in (5, 6, 9):
        assert protector.unprotect(encode_glo(CIPHER, 0x30, TITLE, counter, APDU)) == APDU
    for counter in (9, 8, 0):
        with pytest.raises(SecurityError, match="counter"):
            protector.unprotect(encode_glo(CIPHER, 0x30, TITLE, counter, APDU))


def test_a_forged_apdu_does_not_move_the_counter() -> None:
    protector = receiver()
    forged = encode_glo(CIPHER, 0x30, OTHER, 1000, APDU)
    with pytest.raises(SecurityError):
        protector.unprotect(forged)
    assert protector.unprotect(encode_glo(CIPHER, 0x30, TITLE, 1, APDU)) == APDU


@pytest.mark.parametrize(
    ("demanded", "sent", "taken"),
    [
        (0x30, 0x30, True),
        (0x30, 0x10, False),
        (0x30, 0x20, False),
        (0x30, 0, False),
        (0x10, 0x10, True),
        (0x10, 0x30, True),
        (0x10, 0x20, False),
        (0x10, 0, False),
        (0x20, 0x20, True),
        (0x20, 0x30, True),
        (0x20, 0x10, False),
        (0x20, 0, False),
        (0, 0, True),
        (0, 0x30, True),
    ],
)
def test_no_answer_below_what_is_demanded(demanded: int, sent: int, taken: bool) -> None:
    apdu = encode_glo(CIPHER, sent, TITLE, 1, APDU) if sent else APDU
    protector = receiver(demanded)
    if taken:
        assert protector.unprotect(apdu) == APDU
    else:
        with pytest.raises(SecurityError):
            protector.unprotect(apdu)


def test_errors_without_data_may_come_plain() -> None:
    for text in ("d80106", "0e010601"):
        assert receiver().unprotect(bytes.fromhex(text)).hex() == text
    sealed = encode_glo(CIPHER, 0x30, TITLE, 1, bytes.fromhex("0e010601"))
    assert sealed[0] == 0x2E
    assert receiver().unprotect(sealed).hex() == "0e010601"


def test_without_keys_or_title_nothing_ciphered_is_read() -> None:
    sealed = encode_glo(CIPHER, 0x30, TITLE, 1, APDU)
    with pytest.raises(UnexpectedAnswer):
        Protector(None, 0, b"", count(1)).unprotect(sealed)
    with pytest.raises(SecurityError, match="title"):
        Protector(CIPHER, 0x30, OTHER, count(1)).unprotect(sealed)


def test_sent_counters_never_repeat() -> None:
    protector = Protector(CIPHER, 0x30, OTHER, iter([3, 4, 4]))
    first, second = protector.protect(APDU), protector.protect(APDU)
    assert (first[3:7].hex(), second[3:7].hex()) == ("00000003", "00000004")
    with pytest.raises(LocalProtocolError, match="repeat"):
        protector.protect(APDU)
    with pytest.raises(CountersExhausted):
        Protector(CIPHER, 0x30, OTHER, iter(())).protect(APDU)
    with pytest.raises(CountersExhausted):
        Protector(CIPHER, 0x30, OTHER, iter([2**32])).protect(APDU)
    assert Protector(CIPHER, 0x30, OTHER, lambda: 9).protect(APDU)[3:7].hex() == "00000009"


def test_hls_proofs_that_prove_nothing() -> None:
    proof = hls.prove(CIPHER, TITLE, 5, b"challenge")
    assert hls.verify(CIPHER, TITLE, b"challenge", proof) == 5
    for wrong in (proof[:-1], proof + b"\x00", b"\x30" + proof[1:], proof[:5] + bytes(12), b""):
        with pytest.raises(SecurityError):
            hls.verify(CIPHER, TITLE, b"challenge", wrong)
    with pytest.raises(SecurityError):
        hls.verify(CIPHER, OTHER, b"challenge", proof)
    with pytest.raises(SecurityError):
        hls.verify(CIPHER, TITLE, b"another", proof)
    with pytest.raises(SecurityError):
        hls.verify(CIPHER, b"", b"challenge", proof)
    for size in (0, 7, 65):
        with pytest.raises(EncodeError):
            hls.check_challenge(bytes(size))
