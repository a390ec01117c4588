"""Class 64, security setup version 0, and class 15, the current association (catalogue 1.12, 1.14)."""

from metercast.dlms.data import Data
from metercast.dlms.results import DataAccessResult
from metercast.simulator.objects.base import Attribute, Caller, CosemObject, Refusal, constant, name
from metercast.simulator.state import MeterState

SECURITY_SETUP = name("0.0.43.0.0.255")
CURRENT_ASSOCIATION = name("0.0.40.0.0.255")
REPLY_TO_HLS_AUTHENTICATION = 1
POLICIES = {"none": 0, "authenticated": 1, "encrypted": 2, "both": 3}
_OID_PREFIX = bytes.fromhex("6085740508")
_ASSOCIATED = 2


def security_setup() -> CosemObject:
    return CosemObject(
        64,
        0,
        SECURITY_SETUP,
        {
            2: Attribute(lambda state, caller: Data.enum(POLICIES[state.spec.protection])),
            3: constant(Data.enum(0)),
            4: Attribute(lambda state, caller: Data.octets(caller.client_system_title)),
            5: Attribute(lambda state, caller: Data.octets(caller.server_system_title)),
        },
    )


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
            8: constant(Data.enum(_ASSOCIATED)),
            9: constant(Data.octets(SECURITY_SETUP)),
        },
        {REPLY_TO_HLS_AUTHENTICATION: _reply_to_hls},
    )
