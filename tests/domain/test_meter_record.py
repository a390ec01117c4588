"""The meter's record: what is checked, what stays secret, and the key of its lock."""

from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from metercast.domain.meter import (
    Association,
    AssociationSecrets,
    Connection,
    Meter,
    MeterRecord,
    check_device_id,
    check_record,
    check_secrets,
    lock_key,
    password_octets,
)
from metercast.domain.problem import SHOWN, InvalidField, Problem, shown
from metercast.domain.replacement import SecretKind

FULL: dict[str, Any] = {
    "connection": {
        "type": "tcp",
        "host": "10.1.2.3",
        "port": 4059,
        "framing": "wrapper",
        "hdlc": None,
        "channel": "gw-17",
        "maxSessions": 1,
    },
    "serverSap": 1,
    "profile": "generic",
    "timeZone": "Europe/Amsterdam",
    "associations": {
        "management": {
            "clientSap": 1,
            "authentication": "hls-gmac",
            "protection": "both",
            "securitySuite": 0,
            "clientSystemTitle": "4D43530000000001",
        },
        "public": {"clientSap": 16},
    },
    "identity": {"serverSystemTitle": "4D4D4D0000BC614E", "logicalDeviceName": None},
}

TITLED = {"clientSystemTitle": "4D43530000000001"}
P256_POINT = (  # Green Book edition 8, table C.1
    "BAAFFDE06A8CB1C9DAE8D94023C601DBBB249254BA22EDD827E820BCA2BCC643"
    "62FBB83D86A82B87BB8B7161D2AAB5521911A946B97A284A90F7785CD9047D25"
)


def record(**changes: Any) -> MeterRecord:
    return msgspec.convert(FULL | changes, MeterRecord)


def test_the_record_of_the_design_is_good() -> None:
    check_record(record(), ["generic"])
    assert record().management.client_sap == 1
    assert record().connection.channel_name == "gw-17"
    assert record().identity.given


def test_only_the_connection_is_required() -> None:
    least = msgspec.convert({"connection": {"host": "h"}}, MeterRecord)
    check_record(least, ["generic"])
    assert least.connection.channel_name == "h:4059"
    assert least.management == least.public == Association()
    assert not least.identity.given
    with pytest.raises(msgspec.ValidationError, match="connection"):
        msgspec.convert({}, MeterRecord)


@pytest.mark.parametrize(
    ("changes", "path"),
    [
        ({"timeZone": "Mars/Olympus"}, "timeZone"),
        ({"timeZone": "../../etc/passwd"}, "timeZone"),
        ({"timeZone": "x" * 255}, "timeZone"),
        ({"connection": {"host": "h", "hdlc": {}}}, "connection.hdlc"),
        ({"connection": {"host": "h", "framing": "hdlc"}, "serverSap": 128}, "serverSap"),
        (
            {"connection": {"host": "h", "framing": "hdlc", "hdlc": {"physicalDevice": 1}}},
            "connection.hdlc.physicalDevice",
        ),
        (
            {"connection": {"host": "h", "framing": "hdlc"}, "associations": {"m": {"clientSap": 128}}},
            "associations.m.clientSap",
        ),
        ({"profile": "unheard-of"}, "profile"),
        ({"associations": {"m": {"authentication": "hls-gmac"}}}, "associations.m.clientSystemTitle"),
        ({"associations": {"m": {"protection": "encrypted"}}}, "associations.m.clientSystemTitle"),
        ({"associations": {"m": TITLED | {"authentication": "hls-ecdsa"}}}, "associations.m.securitySuite"),
        (
            {"associations": {"m": TITLED | {"authentication": "hls-ecdsa", "securitySuite": 1}}},
            "associations.m.serverPublicKey",
        ),
        ({"associations": {"m": {"securitySuite": 1, "serverPublicKey": "00" * 64}}}, "associations.m.serverPublicKey"),
        ({"associations": {"m": {"serverPublicKey": P256_POINT}}}, "associations.m.serverPublicKey"),
        ({"associations": {"m": {"authentication": "hls"}}}, "associations.m.hlsMethod"),
        ({"associations": {"m": {"generalProtection": True}}}, "associations.m.generalProtection"),
        (
            {"associations": {"m": TITLED | {"protection": "authenticated", "dedicatedCiphering": True}}},
            "associations.m.dedicatedCiphering",
        ),
        (
            {"associations": {"m": TITLED | {"authentication": "hls-gmac", "keySet": "broadcast"}}},
            "associations.m.keySet",
        ),
        (
            {"associations": {"m": TITLED | {"protection": "both", "keySet": "broadcast", "dedicatedCiphering": True}}},
            "associations.m.keySet",
        ),
    ],
)
def test_what_types_alone_cannot_say(changes: dict[str, Any], path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        check_record(record(**changes), ["generic"])
    assert caught.value.path == path
    assert caught.value.detail.startswith(path)


@pytest.mark.parametrize(
    "changes",
    [
        {"connection": {"host": "h", "port": 0}},
        {"connection": {"host": "h", "port": 65536}},
        {"connection": {"host": ""}},
        {"connection": {"host": "h", "maxSessions": 0}},
        {"connection": {"host": "h", "typo": 1}},
        {"connection": {"host": "h", "type": "udp"}},
        {"serverSap": -1},
        {"identity": {"serverSystemTitle": "4D4D4D"}},
        {"identity": {"serverSystemTitle": "4D4D4D0000BC614G"}},
        {"associations": {"m": {"clientSap": 0}}},
        {"associations": {"m": {"authentication": "hls-md6"}}},
        {"associations": {"m": {"securitySuite": 3}}},
        {"unknown": True},
    ],
    ids=str,
)
def test_what_types_refuse(changes: dict[str, Any]) -> None:
    with pytest.raises(msgspec.ValidationError):
        record(**changes)


@pytest.mark.parametrize("device_id", ["a", "x" * 128, "ü/%?#'\"", "with space", "\U0001f50c"])
def test_device_ids_that_are_good(device_id: str) -> None:
    check_device_id(device_id)


@pytest.mark.parametrize("device_id", ["", "x" * 129, "a\nb", "a\x00", "\x7f", "\u2028", "\ud800", "\u202e"])
def test_device_ids_that_are_not(device_id: str) -> None:
    with pytest.raises(InvalidField) as caught:
        check_device_id(device_id, "devices[3]")
    assert caught.value.path == "devices[3]"


def test_associations_that_are_good() -> None:
    associations = {
        "signed": {"authentication": "hls-ecdsa", "securitySuite": 1, "serverPublicKey": P256_POINT} | TITLED,
        "old": {"authentication": "hls", "hlsMethod": "aes-128-ecb"},
        "own key": {"protection": "encrypted", "dedicatedCiphering": True, "generalProtection": True} | TITLED,
        "all": {"protection": "both", "keySet": "broadcast", "securitySuite": 2} | TITLED,
    }
    check_record(record(associations=associations), ["generic"])


SECRET = "5up3rS3cr3tV4lu3"


@pytest.mark.parametrize(
    ("secrets", "path"),
    [
        (AssociationSecrets(encryption_key=SECRET), "associations.m.encryptionKey"),
        (AssociationSecrets(encryption_key="00" * 15), "associations.m.encryptionKey"),
        (AssociationSecrets(authentication_key=SECRET), "associations.m.authenticationKey"),
        (AssociationSecrets(authentication_key="00" * 16 + "\n"), "associations.m.authenticationKey"),
        (AssociationSecrets(password=SECRET * 5), "associations.m.password"),
        (AssociationSecrets(password=""), "associations.m.password"),
        (AssociationSecrets(password="hex:" + SECRET), "associations.m.password"),
    ],
    ids=lambda each: each if isinstance(each, str) else "",
)
def test_a_wrong_secret_is_named_and_never_repeated(secrets: AssociationSecrets, path: str) -> None:
    with pytest.raises(InvalidField) as caught:
        check_secrets("m", secrets)
    assert caught.value.path == path
    assert caught.value.received is None
    for text in (str(caught.value), repr(caught.value), caught.value.detail, repr(caught.value.__cause__)):
        assert SECRET not in text
        assert "00000000" not in text


@pytest.mark.parametrize("kind", [each for each in SecretKind if each.endswith("Key") and each != "signingKey"])
def test_each_suite_has_its_key_sizes(kind: SecretKind) -> None:
    for suite, size in ((0, 16), (1, 16), (2, 32)):
        check_secrets("m", AssociationSecrets().with_value(kind, "0F" * size), suite)
        for wrong in (15, 16, 17, 24, 32):
            if wrong != size:
                with pytest.raises(InvalidField, match=f"suite {suite} has {2 * size} hex digits"):
                    check_secrets("m", AssociationSecrets().with_value(kind, "0F" * wrong), suite)


def test_signing_keys_are_of_the_suites_curve() -> None:
    for suite, size in ((1, 32), (2, 48)):
        check_secrets("m", AssociationSecrets(signing_key="01" * size), suite)
    for suite, text in ((0, "01" * 32), (1, "01" * 48), (2, "01" * 32), (1, "FF" * 32), (1, SECRET)):
        with pytest.raises(InvalidField) as caught:
            check_secrets("m", AssociationSecrets(signing_key=text), suite)
        assert caught.value.path == "associations.m.signingKey"
        assert text not in str(caught.value)


def test_good_secrets() -> None:
    check_secrets("m", AssociationSecrets("12345678", "00" * 16, "aB" * 16))
    check_secrets("m", AssociationSecrets())
    assert password_octets("hex:00ff") == b"\x00\xff"
    assert password_octets("12345678") == b"12345678"
    assert password_octets("ü") == "ü".encode()
    assert password_octets(None) is None


def test_secrets_are_not_printed() -> None:
    secrets = AssociationSecrets(password=SECRET, authentication_key=SECRET)
    meter = Meter("m-1", MeterRecord(connection=Connection(host="h")), {"management": secrets})
    for text in (repr(secrets), str(secrets), repr(meter), f"{meter}", repr([meter])):
        assert SECRET not in text
    assert secrets.names == ["password", "authenticationKey"]
    assert meter.secrets_of("management") is secrets
    assert meter.secrets_of("public") == AssociationSecrets()


@pytest.mark.parametrize(
    ("device_id", "key"),
    [
        ("meter-001", 7532729176965830381),
        ("ü", -2028473793407328191),
        ("", -9223372036854775808),
    ],
)
def test_lock_keys_never_change(device_id: str, key: int) -> None:
    """Processes of different versions share locks by them."""
    assert lock_key(device_id) == key


@given(st.text(max_size=128).filter(lambda text: text.isprintable()))
def test_lock_keys_are_signed_64_bits(device_id: str) -> None:
    assert -(2**63) <= lock_key(device_id) < 2**63


def test_lock_keys_do_not_collide_in_a_fleet() -> None:
    for written in ("meter-{}", "{:08d}", "4D4D4D{:010X}", "a/{}/ü"):
        assert len({lock_key(written.format(number)) for number in range(50_000)}) == 50_000


@given(st.text() | st.binary() | st.integers() | st.lists(st.text()))
def test_what_was_received_is_shown_cut(value: Any) -> None:
    assert len(shown(value)) <= SHOWN == 100
    assert len(InvalidField("p", value, "r").detail) <= len("p: r; received ") + SHOWN


def test_a_cut_shows_that_it_is_one() -> None:
    assert shown("x" * 100) == "x" * 100
    assert shown("x" * 101) == "x" * 99 + "…"


def test_problems_name_their_status() -> None:
    statuses = {problem.__name__: problem.status for problem in Problem.__subclasses__()}
    expected = {"InvalidField": 422, "NotFound": 404, "Conflict": 409, "Unavailable": 503}
    assert expected.items() <= statuses.items()
