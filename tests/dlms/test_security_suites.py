"""Suites 1 and 2, dedicated keys, general forms and the broadcast key set, against a meter computed by hand."""

from itertools import count, product

import pytest
from hypothesis import given
from hypothesis import strategies as st
from tests.dlms.meter import ALL_SERVICES, aare, initiate_response
from tests.dlms.secure_meter import CLIENT, GLO, SERVER, Keys, parts

from metercast.dlms.association import ClientAssociation
from metercast.dlms.ciphering import DED_TAGS, Cipher, Unprotected, decode_ded, decode_glo, encode_ded, encode_glo
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.errors import (
    DecodeError,
    EncodeError,
    IdentityError,
    LocalProtocolError,
    SecurityError,
    UnexpectedAnswer,
)
from metercast.dlms.events import Associated, GetResult, Ignored, Notified, Released, Send
from metercast.dlms.general_protection import GENERAL_DED, GENERAL_GLO, decode_general, encode_general, split_general
from metercast.dlms.logical_name import LogicalName
from metercast.dlms.settings import AssociationSettings, Authentication, ManufacturerMethod, Protection

SIZES = {0: 16, 1: 16, 2: 32}
CONTROLS = (0x10, 0x20, 0x30)
PROTECTIONS = {0x10: Protection.AUTHENTICATED, 0x20: Protection.ENCRYPTED, 0x30: Protection.BOTH}
CTOS, STOC = b"client-challenge", b"server-challenge"
APDU = bytes.fromhex("C401C100090400112233")
CLOCK = CosemAttribute(8, LogicalName.parse("0.0.1.0.0.255"), 2)
GENERAL = ALL_SERVICES | 0x400000


def keys_of(suite: int, *, broadcast: bool = False) -> Keys:
    size = SIZES[suite]
    return Keys(bytes(range(size)), bytes(range(0xA0, 0xA0 + size)), suite | (0x40 if broadcast else 0))


def cipher_of(keys: Keys) -> Cipher:
    return Cipher(keys.encryption, keys.authentication, keys.marks & 0x0F, broadcast=bool(keys.marks & 0x40))


@pytest.mark.parametrize(("suite", "control"), list(product(SIZES, CONTROLS)))
@pytest.mark.parametrize("broadcast", [False, True])
def test_each_suite_and_key_set_agrees_with_the_hand(suite: int, control: int, broadcast: bool) -> None:
    keys = keys_of(suite, broadcast=broadcast)
    cipher = cipher_of(keys)
    sealed = encode_glo(cipher, control, SERVER, 0x01234567, APDU)
    assert sealed == keys.glo(APDU, 0x01234567, control)
    assert decode_glo(cipher, SERVER, sealed) == Unprotected(control | keys.marks, 0x01234567, APDU)
    assert cipher.protect(control | keys.marks, SERVER, 9, APDU) == cipher.protect(control, SERVER, 9, APDU)
    assert encode_ded(cipher, control, SERVER, 9, APDU) == keys.ded(APDU, 9, control)
    assert decode_ded(cipher, SERVER, keys.ded(APDU, 9, control)).plaintext == APDU
    general = encode_general(GENERAL_GLO, cipher, control, SERVER, 9, APDU)
    assert general == keys.general(0xDB, APDU, 9, control)
    assert decode_general(cipher, SERVER, general).plaintext == APDU


@pytest.mark.parametrize(("ours", "theirs"), list(product(range(6), repeat=2)))
def test_another_suite_or_key_set_is_refused_even_with_the_same_keys(ours: int, theirs: int) -> None:
    """Suites 0 and 1 have keys of one size: only the control octet tells them apart."""
    marks = (0, 1, 2, 0x40, 0x41, 0x42)
    suite = marks[ours] & 0x0F
    mine = keys_of(suite, broadcast=ours > 2)
    sealed = Keys(mine.encryption, mine.authentication, marks[theirs]).glo(APDU, 7)
    if ours == theirs:
        assert decode_glo(cipher_of(mine), SERVER, sealed).plaintext == APDU
    else:
        with pytest.raises(SecurityError, match="is not of suite"):
            decode_glo(cipher_of(mine), SERVER, sealed)


@pytest.mark.parametrize("suite", SIZES)
def test_key_sizes(suite: int) -> None:
    right = SIZES[suite]
    for size in (0, 15, 16, 24, 31, 32, 33):
        for arguments in ((bytes(size), bytes(right)), (bytes(right), bytes(size))):
            if size == right:
                Cipher(*arguments, suite)
            else:
                with pytest.raises(EncodeError, match=f"suite {suite} has {right} octets"):
                    Cipher(*arguments, suite)
    with pytest.raises(EncodeError):
        Cipher(bytes(16), bytes(16), 3)


@given(st.sampled_from(sorted(SIZES)), st.sampled_from(CONTROLS), st.sampled_from([0xDB, 0xDC]), st.binary(min_size=1))
def test_general_forms_survive_the_wire(suite: int, control: int, tag: int, apdu: bytes) -> None:
    cipher = cipher_of(keys_of(suite))
    sealed = encode_general(tag, cipher, control, SERVER, 5, apdu)
    assert split_general(sealed)[:2] == (tag == GENERAL_DED, SERVER)
    assert decode_general(cipher, None, sealed).plaintext == apdu


@given(st.sampled_from([0xDB, 0xDC, 0xDD]), st.binary(max_size=60))
def test_any_octets_as_a_general_form(tag: int, rest: bytes) -> None:
    with pytest.raises((DecodeError, SecurityError)):
        decode_general(cipher_of(keys_of(0)), SERVER, bytes((tag,)) + rest)


def test_general_forms_and_their_senders() -> None:
    keys = keys_of(1)
    cipher = cipher_of(keys)
    body = keys.seal(APDU, 4)
    without_title = b"\xdb\x00" + bytes((len(body),)) + body
    assert decode_general(cipher, SERVER, without_title).plaintext == APDU
    with pytest.raises(SecurityError, match="not known"):
        decode_general(cipher, None, without_title)
    with pytest.raises(IdentityError):
        decode_general(cipher, CLIENT, keys.general(0xDB, APDU, 4))
    with pytest.raises(SecurityError, match="tag"):  # the name of the meter, on what another one sealed
        decode_general(cipher, SERVER, b"\xdb\x08" + SERVER + bytes((len(body),)) + keys.seal(APDU, 4, title=CLIENT))
    for cut in range(len(without_title)):
        with pytest.raises((DecodeError, SecurityError)):
            decode_general(cipher, SERVER, without_title[:cut])
    with pytest.raises(DecodeError):
        decode_general(cipher, SERVER, without_title + b"\x00")


# -- whole associations ------------------------------------------------------------------------------------------------


class Meter:
    """The other side of one association; `dedicated` is found in what the client sends."""

    def __init__(self, settings: AssociationSettings, keys: Keys, control: int, conformance: int) -> None:
        self.settings, self.keys, self.control, self.conformance = settings, keys, control, conformance
        self.counters = count(1)
        self.received = -1
        self.dedicated: Keys | None = None

    def answer_to_aarq(self, aarq: bytes) -> bytes:
        at = aarq.index(b"\xbe")
        user_information = aarq[at + 4 :]
        tag, (body,) = parts(user_information)
        assert tag == 0x21
        initiate = self.take(self.keys, body)
        if self.settings.dedicated:
            size = SIZES[self.settings.security_suite]
            assert initiate[:3] == bytes((1, 1, size))
            self.dedicated = Keys(initiate[3 : 3 + size], self.keys.authentication, self.keys.marks)
        else:
            assert initiate[:2] == b"\x01\x00"
        hls = self.settings.authentication.is_hls
        return aare(
            self.keys.glo(initiate_response(self.conformance), next(self.counters), self.control),
            context=3,
            diagnostic=14 if hls else 0,
            title=SERVER,
            challenge=STOC if hls else None,
        )

    def take(self, keys: Keys, body: bytes) -> bytes:
        counter = int.from_bytes(body[1:5], "big")
        assert counter > self.received
        assert body[0] & 0x30 == self.control
        self.received = counter
        return keys.unseal(body)

    def open(self, apdu: bytes) -> bytes:
        """The plain request; it must come in the form that the settings ask for."""
        tag, strings = parts(apdu)
        general = self.settings.general_protection and self.conformance & 0x400000
        keys = self.dedicated or self.keys
        if general:
            assert tag == (0xDC if self.dedicated else 0xDB)
            assert strings[0] == CLIENT
        plain = self.take(keys, strings[-1])
        if not general:
            assert tag == (DED_TAGS if self.dedicated else GLO)[plain[0]]
        return plain

    def seal(self, apdu: bytes, *, general: bool) -> bytes:
        keys, counter = self.dedicated or self.keys, next(self.counters)
        if general:
            return keys.general(0xDC if self.dedicated else 0xDB, apdu, counter, self.control)
        return (keys.ded if self.dedicated else keys.glo)(apdu, counter, self.control)


def client_and_meter(
    suite: int = 1,
    control: int = 0x30,
    *,
    dedicated: bool = False,
    general: bool = False,
    offered: int = GENERAL,
    authentication: Authentication = Authentication.HLS_GMAC,
) -> tuple[ClientAssociation, Meter]:
    """Both sides, associated, with HLS through all four passes."""
    keys = keys_of(suite)
    settings = AssociationSettings(
        client_sap=1,
        authentication=authentication,
        protection=PROTECTIONS[control],
        security_suite=suite,
        client_system_title=CLIENT,
        encryption_key=keys.encryption,
        authentication_key=keys.authentication,
        dedicated=dedicated,
        general_protection=general,
        conformance=ALL_SERVICES,
    )
    made_up = bytes(range(0x40, 0x40 + SIZES[suite])) if dedicated else b""
    client = ClientAssociation(settings, count(1), CTOS, made_up)
    meter = Meter(settings, keys, control, offered)
    event = client.receive(meter.answer_to_aarq(client.associate()))
    if authentication.is_hls:
        assert isinstance(event, Send)
        reply = meter.open(event.apdu)
        assert reply[:2] == b"\xc3\x01"
        assert reply[-17:-12] == bytes((0x10 | suite,)) + reply[-16:-12]
        assert reply[-17:] == keys.proof(CLIENT, int.from_bytes(reply[-16:-12], "big"), STOC)
        proof = b"\xc7\x01" + reply[2:3] + b"\x00\x01\x00\x09\x11" + keys.proof(SERVER, next(meter.counters), CTOS)
        event = client.receive(meter.seal(proof, general=general))
    assert isinstance(event, Associated)
    return client, meter


WITH_DEDICATED = [(control, dedicated) for control in CONTROLS for dedicated in (False, control != 0x10)]


@pytest.mark.parametrize("suite", SIZES)
@pytest.mark.parametrize(("control", "dedicated"), sorted(set(WITH_DEDICATED)))
@pytest.mark.parametrize("general", [False, True])
def test_an_association_with(suite: int, control: int, dedicated: bool, general: bool) -> None:
    client, meter = client_and_meter(suite, control, dedicated=dedicated, general=general)
    for answered_in_general in (False, True):  # an answer may come in either form
        plain = meter.open(client.get(CLOCK))
        answer = b"\xc4\x01" + plain[2:3] + b"\x00\x11\x07"
        assert client.receive(meter.seal(answer, general=answered_in_general)) == GetResult(Data.unsigned(7))
    release = client.release()
    at = release.index(b"\xbe")
    assert meter.take(meter.keys, parts(release[at + 4 :])[1][0])[0] == 1
    sealed = meter.keys.glo(initiate_response(), next(meter.counters), control)
    rlre = bytes((0x63, len(sealed) + 7, 0x80, 1, 0, 0xBE, len(sealed) + 2, 4, len(sealed))) + sealed
    assert client.receive(rlre) == Released(0)


def test_general_protection_where_the_meter_does_not_offer_it() -> None:
    client, meter = client_and_meter(general=True, offered=ALL_SERVICES)
    assert client.get(CLOCK)[0] == 0xC8
    assert meter.conformance == ALL_SERVICES


def test_the_largest_request_counts_what_the_form_adds() -> None:
    for general, dedicated in product([False, True], repeat=2):
        largest = 0
        for size in range(1024 - 70, 1024):
            client, _ = client_and_meter(general=general, dedicated=dedicated)
            largest = max(largest, len(client.set(CLOCK, Data.octets(bytes(size)))))
        assert largest == 1024


ANSWER = b"\xc4\x01\xc2\x00\x11\x07"


def test_the_global_key_where_the_dedicated_one_is_in_use_is_a_downgrade() -> None:
    for form in (False, True):
        client, meter = client_and_meter(dedicated=True)
        client.get(CLOCK)
        answer = meter.keys.general(0xDB, ANSWER, 99) if form else meter.keys.glo(ANSWER, 99)
        with pytest.raises(SecurityError, match="dedicated"):
            client.receive(answer)


def test_a_notification_may_come_under_either_key() -> None:
    for dedicated in (False, True):
        client, meter = client_and_meter(dedicated=True)
        client.get(CLOCK)
        push = bytes.fromhex("0f00000001001107")
        keys, tag = (meter.dedicated, 0xDC) if dedicated else (meter.keys, 0xDB)
        assert keys is not None
        assert isinstance(client.receive(keys.general(tag, push, next(meter.counters))), Notified)
        assert client.receive(meter.seal(ANSWER, general=False)) == GetResult(Data.unsigned(7))


def test_a_dedicated_form_without_a_dedicated_key() -> None:
    for form in (False, True):
        client, meter = client_and_meter()
        client.get(CLOCK)
        answer = meter.keys.general(0xDC, ANSWER, 99) if form else meter.keys.ded(ANSWER, 99)
        with pytest.raises(UnexpectedAnswer, match="no keys"):
            client.receive(answer)


@pytest.mark.parametrize("dedicated", [False, True])
def test_replayed_answers(dedicated: bool) -> None:
    client, meter = client_and_meter(dedicated=dedicated)
    client.get(CLOCK)
    answer = meter.seal(ANSWER, general=False)
    assert client.receive(answer) == GetResult(Data.unsigned(7))
    client.get(CLOCK)
    with pytest.raises(SecurityError, match="counter"):
        client.receive(answer)


@pytest.mark.parametrize("dedicated", [False, True])
def test_less_protection_is_a_downgrade(dedicated: bool) -> None:
    for control in (0x10, 0x20):
        client, meter = client_and_meter(dedicated=dedicated)
        client.get(CLOCK)
        meter.control = control
        with pytest.raises(SecurityError, match="demanded"):
            client.receive(meter.seal(ANSWER, general=False))
    client, meter = client_and_meter(dedicated=dedicated)
    client.get(CLOCK)
    with pytest.raises(SecurityError, match="unprotected"):
        client.receive(ANSWER)


def test_errors_may_come_plain_or_under_either_key() -> None:
    for form in ("plain", "glo", "ded"):
        client, meter = client_and_meter(dedicated=True)
        client.get(CLOCK)
        error = bytes.fromhex("0e050402")
        octets = {"plain": error, "glo": meter.keys.glo(error, 99), "ded": meter.seal(error, general=False)}[form]
        assert type(client.receive(octets)).__name__ == "ServiceError"


def test_another_apdu_inside_a_general_form_is_passed_over() -> None:
    client, meter = client_and_meter(general=True)
    client.get(CLOCK)
    push = bytes.fromhex("0f00000001000009")
    assert isinstance(client.receive(meter.seal(push, general=True)), Ignored)


KEYS_1 = {"encryption_key": bytes(16), "authentication_key": bytes(16), "client_system_title": CLIENT}


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"security_suite": 2}, "suite 2"),
        ({"dedicated": True, "protection": Protection.AUTHENTICATED}, "encryption"),
        ({"dedicated": True, "broadcast": True}, "broadcast"),
        ({"general_protection": True, "protection": Protection.NONE}, "protection"),
        ({"authentication": Authentication.HLS_GMAC, "broadcast": True}, "unicast"),
        ({"authentication": Authentication.HLS, "password": b"secret"}, "method"),
        (
            {
                "authentication": Authentication.HLS,
                "password": bytes(17),
                "manufacturer_method": ManufacturerMethod.AES_128_ECB,
            },
            "16 octets",
        ),
        ({"authentication": Authentication.HLS_ECDSA}, "suite 1 or 2"),
        ({"authentication": Authentication.HLS_ECDSA, "security_suite": 1}, "signing key"),
    ],
)
def test_settings_that_contradict(changes: dict[str, object], words: str) -> None:
    settings = AssociationSettings(**{"protection": Protection.BOTH, **KEYS_1, **changes})  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match=words):
        settings.check()


def test_a_dedicated_key_of_another_size() -> None:
    settings = AssociationSettings(protection=Protection.BOTH, dedicated=True, **KEYS_1)  # type: ignore[arg-type]
    with pytest.raises(EncodeError):
        ClientAssociation(settings, count(1), b"", bytes(15))


def test_the_broadcast_key_set_marks_every_apdu() -> None:
    keys = keys_of(1, broadcast=True)
    settings = AssociationSettings(
        protection=Protection.BOTH,
        security_suite=1,
        broadcast=True,
        client_system_title=CLIENT,
        encryption_key=keys.encryption,
        authentication_key=keys.authentication,
        conformance=ALL_SERVICES,
    )
    client, meter = ClientAssociation(settings, count(1)), Meter(settings, keys, 0x30, ALL_SERVICES)
    assert isinstance(client.receive(meter.answer_to_aarq(client.associate())), Associated)
    meter.open(client.get(CLOCK))
    unicast = Keys(keys.encryption, keys.authentication, 1)
    with pytest.raises(SecurityError, match="broadcast"):
        client.receive(unicast.glo(ANSWER, 99))
