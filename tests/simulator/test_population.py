"""Populations: the same for the same seed, in the shares asked for, as the device import takes them."""

from typing import Any

import msgspec
import pytest

from metercast.domain.meter import MeterRecord, check_record
from metercast.simulator import FaultRule, GatewaySpec, MeterSpec, Population, parse_fault_rules
from metercast.simulator.faults import NeverAnswer, RefuseConnections, RejectAssociation

SECRETS = ("password", "encryptionKey", "authenticationKey", "broadcastKey", "masterKey", "signingKey")


def test_the_same_seed_gives_the_same_meters() -> None:
    assert Population.mixed(30, 7, base_port=5000) == Population.mixed(30, 7, base_port=5000)
    first, other = Population.mixed(30, 7).meters[2], Population.mixed(30, 8).meters[2]
    assert first.meter_id == other.meter_id == "meter-0003"
    assert first.encryption_key != other.encryption_key
    assert first.system_title != other.system_title


def test_a_meter_keeps_its_keys_however_many_there_are() -> None:
    assert Population.mixed(3, 7).meters[2].encryption_key == Population.mixed(300, 7).meters[2].encryption_key


def test_a_third_of_each_and_nothing_twice() -> None:
    meters = Population.mixed(300).meters
    kinds = [(spec.authentication, spec.protection) for spec in meters]
    for kind in (("none", "none"), ("lls", "none"), ("hls-gmac", "both")):
        assert kinds.count(kind) == 100
    for values in (
        {spec.system_title for spec in meters},
        {spec.logical_device_name for spec in meters},
        {spec.serial for spec in meters},
    ):
        assert len(values) == 300
    assert len({spec.encryption_key for spec in meters}) == 101


def test_ports_addresses_and_the_gateway() -> None:
    ports = Population.mixed(4, base_port=5000).meters
    assert [(spec.host, spec.port) for spec in ports] == [("127.0.0.1", 5000 + n) for n in range(4)]
    population = Population.mixed(300, base_port=4059, own_addresses=True, gateway=10)
    addresses = [(spec.host, spec.port) for spec in population.meters]
    assert len(set(addresses)) == 300
    assert {port for _, port in addresses} == {4059}
    assert all(host.startswith("127.") for host, _ in addresses)
    behind = population.meters[290:]
    assert [spec.server_sap for spec in behind] == list(range(16, 26))
    assert {spec.gateway for spec in behind} == {"gw-1"}
    assert population.gateways == (GatewaySpec(name="gw-1", host=behind[0].host, port=4059),)
    records = list(population.device_records())
    assert {(r["connection"]["host"], r["connection"].get("channel")) for r in records[290:]} == {
        (behind[0].host, "gw-1")
    }
    assert "channel" not in records[0]["connection"]


def test_records_are_what_the_domain_takes() -> None:
    for record in Population.mixed(6, base_port=5000, gateway=2).device_records():
        document = msgspec.json.decode(msgspec.json.encode(record))
        assert document.pop("deviceId").startswith("meter-")
        management = document["associations"]["management"]
        for secret in SECRETS:
            value = management.pop(secret, None)
            if secret != "password" and value is not None:
                assert (len(value), value) == (32, value.upper())
        meter = msgspec.convert(document, MeterRecord)
        check_record(meter, ["generic"])
        assert meter.identity.given


def test_ports_that_the_system_chooses_are_not_known_before() -> None:
    with pytest.raises(ValueError, match="meter-0001"):
        list(Population.mixed(1).device_records())


@pytest.mark.parametrize(
    "options",
    [
        {"count": 5, "gateway": 6},
        {"count": 70_000},
        {"count": 1000, "base_port": 65_000},
        {"count": 3, "own_addresses": True},
    ],
)
def test_what_can_not_be_built(options: dict[str, Any]) -> None:
    with pytest.raises(ValueError, match=r"\d|port"):
        Population.build(**options)


def test_faults_by_name_by_number_and_by_share() -> None:
    rules = [
        FaultRule(faults=(NeverAnswer(),), rate=0.1),
        FaultRule(faults=(RefuseConnections(),), count=5),
        FaultRule(faults=(RejectAssociation(times=2),), meters=("meter-0001", "meter-0100")),
    ]
    population = Population.mixed(100, gateway=10, faults=rules)
    assert population == Population.mixed(100, gateway=10, faults=rules)
    by_fault: dict[type, list[MeterSpec]] = {}
    for spec in population.meters:
        for fault in spec.faults:
            by_fault.setdefault(type(fault), []).append(spec)
        assert len(spec.faults) <= 1
    assert [spec.meter_id for spec in by_fault[RejectAssociation]] == ["meter-0001", "meter-0100"]
    assert len(by_fault[NeverAnswer]) == 9  # of the 90 that stand alone
    assert len(by_fault[RefuseConnections]) == 5
    assert not any(spec.gateway for spec in by_fault[NeverAnswer] + by_fault[RefuseConnections])


def test_a_rule_for_nobody() -> None:
    with pytest.raises(ValueError, match="meter-9999"):
        Population.mixed(3, faults=[FaultRule(faults=(NeverAnswer(),), meters=("meter-9999",))])


def test_rules_in_json() -> None:
    text = b"""[{"rate": 0.1, "faults": [
      {"kind": "reject-association", "result": "transient", "diagnostic": 1, "times": 2},
      {"kind": "delay-answers", "minimum": 30, "maximum": 120},
      {"kind": "drop-connection", "afterReceived": 100},
      {"kind": "access-error", "service": "set", "classId": 20, "logicalName": "0.0.13.0.0.255", "result": 3}]}]"""
    (rule,) = parse_fault_rules(text)
    assert [fault.kind for fault in rule.faults] == [
        "reject-association",
        "delay-answers",
        "drop-connection",
        "access-error",
    ]
    assert parse_fault_rules(msgspec.json.encode([rule])) == (rule,)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (b"{", "fault rules"),
        (b'[{"rate": 2, "faults": []}]', "rate"),
        (b'[{"faults": []}]', "exactly one"),
        (b'[{"count": 1, "faults": [{"kind": "fire"}]}]', "fire"),
        (b'[{"count": 1, "faults": [{"kind": "garbage", "octet": 1}]}]', "octet"),
        (b'[{"count": 1, "faults": [{"kind": "delay-answers", "minimum": 5, "maximum": 1}]}]', "maximum"),
        (b'[{"count": 1, "faults": [{"kind": "garbage", "times": 0}]}]', "times"),
    ],
)
def test_rules_that_are_wrong(text: bytes, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        parse_fault_rules(text)


def test_secrets_stay_out_of_the_representation() -> None:
    for spec in Population.mixed(3).meters:
        for secret in (spec.password, spec.encryption_key, spec.authentication_key):
            if secret is not None:
                assert repr(secret)[2:-1] not in repr(spec)
                assert secret.hex() not in repr(spec)
