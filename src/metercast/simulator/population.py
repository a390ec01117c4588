"""Fleets of simulated meters, the same for the same seed."""

import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import blake2b
from ipaddress import IPv4Address
from pathlib import Path
from random import Random
from typing import Any, Literal

from metercast.dlms.ciphering import KEY_SIZES
from metercast.dlms.elliptic import CURVES
from metercast.simulator.dialect import USUAL, Dialect
from metercast.simulator.faults import FaultRule
from metercast.simulator.firmware import FirmwareSpec
from metercast.simulator.spec import (
    DEFAULT_CONFORMANCE,
    DEFAULT_MAX_PDU,
    MIXED,
    MULTIPLE_REFERENCES,
    Authentication,
    GatewaySpec,
    HdlcSpec,
    MeterSpec,
    Protection,
    Suite,
)

Endpoint = tuple[str, int]
Endpoints = Mapping[str, Endpoint]

FIRST_OWN_ADDRESS = IPv4Address("127.16.0.1")
FIRST_GATEWAY_SAP = 16
FIRST_PHYSICAL, LAST_SHORT_PHYSICAL = 16, 125  # of meters on one serial line (catalogue 2.1)
CLIENT_SYSTEM_TITLE = bytes.fromhex("4D43530000000001")
MAX_METERS = 60_000


@dataclass(frozen=True, slots=True)
class Population:
    """Meters and the gateways that some of them stand behind."""

    meters: tuple[MeterSpec, ...]
    gateways: tuple[GatewaySpec, ...] = ()

    @classmethod
    def mixed(cls, count: int, seed: int = 1, **options: Any) -> "Population":
        """A third each of no authentication, LLS, and HLS-GMAC with protection both; options as in `build`."""
        return cls.build(count, seed, security="mixed", **options)

    @classmethod
    def build(
        cls,
        count: int,
        seed: int = 1,
        *,
        security: Literal["mixed"] | Authentication = "mixed",
        protection: Protection | None = None,
        suite: Suite | None = None,
        dedicated: bool = False,
        general: bool = False,
        host: str = "127.0.0.1",
        base_port: int = 0,
        own_addresses: bool = False,
        gateway: int = 0,
        second_connection: Literal["close", "wait"] = "close",
        faults: Sequence[FaultRule] = (),
        max_pdu: int = DEFAULT_MAX_PDU,
        time_zone: str = "Europe/Amsterdam",
        control_mode: int = 4,
        multiple_references: bool = False,
        clock_offset: float | None = None,
        first_number: int = 1,
        hdlc: HdlcSpec | None = None,
        firmware: FirmwareSpec | None = None,
        dialect: Dialect = USUAL,
    ) -> "Population":
        """`count` meters, named meter-0001 and so on.

        Ports go up from `base_port` (0: the system chooses each); with `own_addresses` each meter has a loopback
        address of its own and the port is the same. The last `gateway` meters stand behind one gateway or, with `hdlc`,
        on one serial line.
        `protection` overrides what the security implies (both for hls-gmac, none otherwise), `suite` the security
        suite (1 for hls-ecdsa, 0 otherwise). `dedicated` and `general` let the meters' records ask for dedicated keys
        and general ciphering, where anything is ciphered. `clock_offset` None gives each clock an error of its own,
        below a minute. `dialect` is what they all do otherwise than the usual meter.
        """
        _check_places(count, base_port, gateway, hdlc, own_addresses=own_addresses)
        meters = []
        for index in range(count):
            behind = index >= count - gateway
            place = index - (count - gateway)
            authentication = MIXED[index % len(MIXED)] if security == "mixed" else security
            spec = _meter(index + first_number, seed, authentication, protection, suite)
            encrypts = spec.protection in ("encrypted", "both")
            own_host = str(FIRST_OWN_ADDRESS + index) if own_addresses else host
            own_port = base_port if own_addresses or base_port == 0 else base_port + index
            random = Random(f"{seed}/{spec.meter_id}")
            offset = random.uniform(-45, 45) if clock_offset is None else clock_offset
            meters.append(
                replace(
                    spec,
                    host=own_host,
                    port=own_port,
                    gateway="gw-1" if behind else None,
                    server_sap=FIRST_GATEWAY_SAP + place if behind and hdlc is None else 1,
                    max_pdu=max_pdu,
                    time_zone=time_zone,
                    control_mode=control_mode,
                    conformance=DEFAULT_CONFORMANCE | (MULTIPLE_REFERENCES if multiple_references else 0),
                    clock_offset=offset,
                    hdlc=replace(hdlc, physical_device=FIRST_PHYSICAL + place) if behind and hdlc is not None else hdlc,
                    firmware=firmware or FirmwareSpec(),
                    dialect=dialect,
                    dedicated_ciphering=dedicated and encrypts,
                    general_protection=general and spec.protection != "none",
                )
            )
        return cls(_with_faults(meters, faults, seed), _gateways(meters[count - gateway :], second_connection))

    def device_records(self, endpoints: Endpoints | None = None) -> Iterator[dict[str, Any]]:
        """The meters as device documents. `endpoints` tells (host, port) by meter id where the system chose."""
        gateways = {gateway.name: gateway for gateway in self.gateways}
        for spec in self.meters:
            if endpoints is not None:
                host, port = endpoints[spec.meter_id]
            elif spec.gateway is not None:
                host, port = gateways[spec.gateway].host, gateways[spec.gateway].port
            else:
                host, port = spec.host, spec.port
            if port == 0:
                raise ValueError(f"{spec.meter_id}: its port is known only when the simulator runs")
            yield spec.device_record(host, port)


def write_device_records(path: Path, records: Iterator[dict[str, Any]]) -> int:
    """Writes NDJSON for the device import, readable by its owner only; returns the number of lines."""
    path.touch(mode=0o600)
    count = 0
    with path.open("w") as lines:
        for record in records:
            lines.write(json.dumps(record, separators=(",", ":")) + "\n")
            count += 1
    return count


def _check_places(count: int, base_port: int, gateway: int, hdlc: HdlcSpec | None, *, own_addresses: bool) -> None:
    """ValueError where there is no room for so many meters."""
    if not 0 <= gateway <= count <= MAX_METERS:
        raise ValueError(f"{count} meters, {gateway} behind a gateway: at most {MAX_METERS}, the gateway's within")
    if hdlc is not None and gateway and hdlc.address_size == 1:
        raise ValueError("meters on one serial line are told apart by an HDLC address of 2 or 4 octets")
    if hdlc is not None and hdlc.address_size == 2 and gateway > LAST_SHORT_PHYSICAL - FIRST_PHYSICAL:
        raise ValueError("so many meters on one serial line need an HDLC address of 4 octets")
    if own_addresses and base_port == 0:
        raise ValueError("meters with addresses of their own need a port")
    if base_port and not own_addresses and base_port + count > 65536:
        raise ValueError(f"{count} ports from {base_port} up: above 65535")


def _gateways(behind: Sequence[MeterSpec], second_connection: Literal["close", "wait"]) -> tuple[GatewaySpec, ...]:
    """The one that these meters stand behind; none where there are none."""
    if not behind:
        return ()
    first = behind[0]
    return (GatewaySpec(name="gw-1", host=first.host, port=first.port, second_connection=second_connection),)


def _meter(
    number: int, seed: int, authentication: Authentication, protection: Protection | None, suite: Suite | None
) -> MeterSpec:
    meter_id = f"meter-{number:04d}"
    number += seed % 50_000 * 65_536
    chosen: Protection = protection or ("both" if authentication == "hls-gmac" else "none")
    ciphered = authentication == "hls-gmac" or chosen != "none"
    needs_password = authentication not in ("none", "hls-gmac", "hls-ecdsa")
    signs = authentication == "hls-ecdsa"
    chosen_suite: Suite = (1 if signs else 0) if suite is None else suite
    key_size = KEY_SIZES[chosen_suite]
    serial = f"{number:010d}"
    return MeterSpec(
        meter_id=meter_id,
        serial=serial,
        logical_device_name=f"MMM{serial:0>13}",
        system_title=b"MMM" + b"\0" + number.to_bytes(4, "big"),
        authentication=authentication,
        protection=chosen,
        security_suite=chosen_suite,
        password=_derived(seed, meter_id, "password", 4).hex().encode() if needs_password else None,
        encryption_key=_derived(seed, meter_id, "encryption", key_size) if ciphered else None,
        authentication_key=_derived(seed, meter_id, "authentication", key_size) if ciphered else None,
        master_key=_derived(seed, meter_id, "master", key_size) if ciphered else None,
        broadcast_key=_derived(seed, meter_id, "broadcast", key_size) if ciphered else None,
        signing_key=_private_key(seed, meter_id, chosen_suite) if signs else None,
        client_signing_key=_private_key(seed, "client", chosen_suite) if signs else None,
        client_system_title=CLIENT_SYSTEM_TITLE if ciphered or signs or authentication == "hls-sha256" else None,
    )


def _derived(seed: int, meter_id: str, purpose: str, octets: int) -> bytes:
    return blake2b(f"{seed}/{meter_id}/{purpose}".encode(), digest_size=octets).digest()


def _private_key(seed: int, holder: str, suite: Suite) -> bytes:
    """A number that is one of the suite's curve: its first octet is small."""
    return b"\x01" + _derived(seed, holder, "signing", CURVES[suite].size - 1)


def _with_faults(meters: list[MeterSpec], rules: Sequence[FaultRule], seed: int) -> tuple[MeterSpec, ...]:
    """Counts and shares choose among the meters that stand behind no gateway and have no fault yet."""
    by_id = {spec.meter_id: index for index, spec in enumerate(meters)}
    for rule in rules:
        for meter_id in rule.meters or ():
            if meter_id not in by_id:
                raise ValueError(f"fault rule: no meter {meter_id!r} in this population")
            index = by_id[meter_id]
            meters[index] = replace(meters[index], faults=rule.faults)
    random = Random(f"{seed}/faults")
    direct = sum(spec.gateway is None for spec in meters)
    for rule in rules:
        if rule.meters is not None:
            continue
        wanted = rule.count if rule.count is not None else round(direct * (rule.rate or 0.0))
        free = [i for i, spec in enumerate(meters) if not spec.faults and spec.gateway is None]
        for index in random.sample(free, min(wanted, len(free))):
            meters[index] = replace(meters[index], faults=rule.faults)
    return tuple(meters)
