"""Class 64, security setup versions 0 and 1, and class 15, the current association (catalogue 1.12, 1.14)."""

from metercast.dlms.data import Data, Tag
from metercast.dlms.results import DataAccessResult
from metercast.simulator.keys import MASTER, WrongWrap
from metercast.simulator.objects.base import Attribute, Caller, CosemObject, Refusal, constant, name
from metercast.simulator.state import MeterState

SECURITY_SETUP = name("0.0.43.0.0.255")
CURRENT_ASSOCIATION = name("0.0.40.0.0.255")
REPLY_TO_HLS_AUTHENTICATION = 1
KEY_TRANSFER = 2
CHANGE_HLS_SECRET = 2
SECRET = 7
POLICIES = {"none": 0, "authenticated": 1, "encrypted": 2, "both": 3}
POLICY_BITS = {"none": 0, "authenticated": 0x24, "encrypted": 0x48, "both": 0x6C}  # of version 1
_OID_PREFIX = bytes.fromhex("6085740508")
_ASSOCIATED = 2


def security_setup(version: int = 0) -> CosemObject:
    policies = POLICY_BITS if version else POLICIES
    return CosemObject(
        64,
        version,
        SECURITY_SETUP,
        {
            2: Attribute(lambda state, caller: Data.enum(policies[state.spec.protection])),
            3: Attribute(lambda state, caller: Data.enum(state.spec.security_suite)),
            4: Attribute(lambda state, caller: Data.octets(caller.client_system_title)),
            5: Attribute(lambda state, caller: Data.octets(caller.server_system_title)),
        },
        {KEY_TRANSFER: _key_transfer},
    )


def _key_transfer(state: MeterState, parameter: Data) -> None:
    """All keys or none. Version 0 has no key id for the master key."""
    wrapped = [_wrapped_key(each) for each in _items(parameter, Tag.ARRAY)]
    last = MASTER if state.spec.security_version else MASTER - 1
    if not wrapped or any(key_id > last for key_id, _ in wrapped):
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    try:
        state.keys.take_wrapped(wrapped)
    except WrongWrap:
        raise Refusal(DataAccessResult.OTHER_REASON) from None


def _wrapped_key(data: Data) -> tuple[int, bytes]:
    fields = _items(data, Tag.STRUCTURE)
    if [each.tag for each in fields] != [Tag.ENUM, Tag.OCTET_STRING]:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    return fields[0].value, fields[1].value


def _items(data: Data, tag: Tag) -> list[Data]:
    if data.tag is not tag:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    return list(data.value)


def _set_secret(state: MeterState, value: Data) -> None:
    """Attribute 7: the password of LLS, and nothing else."""
    if state.spec.authentication != "lls":
        raise Refusal(DataAccessResult.READ_WRITE_DENIED)
    state.keys.take_password(_secret(value))


def _change_hls_secret(state: MeterState, value: Data) -> None:
    """Of the mechanisms that hash a secret; GMAC and ECDSA have none."""
    if state.spec.authentication in ("none", "lls", "hls-gmac", "hls-ecdsa"):
        raise Refusal(DataAccessResult.READ_WRITE_DENIED)
    state.keys.take_password(_secret(value))


def _secret(value: Data) -> bytes:
    if value.tag is not Tag.OCTET_STRING or not 1 <= len(value.value) <= 64:
        raise Refusal(DataAccessResult.TYPE_UNMATCHED)
    octets: bytes = value.value
    return octets


def _partners(state: MeterState, caller: Caller) -> Data:
    client = caller.client_sap if caller.client_sap < 128 else caller.client_sap - 256
    return Data.structure([Data.integer(client), Data.long_unsigned(state.spec.server_sap)])


def _context_name(state: MeterState, caller: Caller) -> Data:
    return Data.octets(_OID_PREFIX + bytes((1, 3 if caller.ciphered else 1)))


def _mechanism_name(state: MeterState, caller: Caller) -> Data:
    return Data.octets(_OID_PREFIX + bytes((2, caller.mechanism)))


def _context_info(state: MeterState, caller: Caller) -> Data:
    return Data.structure(
        [
            Data.bit_string(f"{caller.conformance:024b}"),
            Data.long_unsigned(state.spec.max_pdu),
            Data.long_unsigned(caller.max_answer & 0xFFFF),
            Data.unsigned(6),
            Data.integer(0),
            Data.octets(b""),
        ]
    )


def _reply_to_hls(state: MeterState, parameter: Data) -> None:
    """The association itself takes this method while HLS is pending; afterwards it is out of order."""
    raise Refusal(DataAccessResult.OTHER_REASON)


def current_association() -> CosemObject:
    return CosemObject(
        15,
        1,
        CURRENT_ASSOCIATION,
        {
            2: Attribute(lambda state, caller: caller.object_list),
            3: Attribute(_partners),
            4: Attribute(_context_name),
            5: Attribute(_context_info),
            6: Attribute(_mechanism_name),
            SECRET: Attribute(write=_set_secret),
            8: constant(Data.enum(_ASSOCIATED)),
            9: constant(Data.octets(SECURITY_SETUP)),
        },
        {REPLY_TO_HLS_AUTHENTICATION: _reply_to_hls, CHANGE_HLS_SECRET: _change_hls_secret},
    )
