"""Which parts of which APDUs are secrets: what no trace may show (catalogue 1.12, 1.14)."""

from collections.abc import Iterable
from typing import Any, Final

from metercast.dlms import action, get
from metercast.dlms import set as set_service
from metercast.dlms.access import AccessRequest, AccessResponse
from metercast.dlms.cosem import CosemAttribute, CosemMethod

_INVOKE_ID: Final = 0x0F
_NONE: Final[frozenset[str]] = frozenset()

_CONTENTS: Final = frozenset({"value", "values", "parameter", "parameters", "block"})

SECRET_ATTRIBUTES: Final = frozenset(
    {
        (15, 7),  # association: the LLS password or HLS secret
        (19, 7),  # IEC local port: the passwords
        (19, 8),
        (19, 9),
        (44, 5),  # PPP: user and password
        (45, 3),  # GPRS modem: PIN
    }
)
SECRET_METHODS: Final = frozenset(
    {
        (15, 2),  # association: change_HLS_secret
        (64, 2),  # security setup: key_transfer
        (72, 7),  # M-Bus client: set_encryption_key
        (72, 8),  # M-Bus client: transfer_key
    }
)


def is_secret(target: CosemAttribute | CosemMethod) -> bool:
    """Whether what is written to it, read from it, or given to it is a secret."""
    known = SECRET_ATTRIBUTES if isinstance(target, CosemAttribute) else SECRET_METHODS
    return (target.class_id, target.index) in known


class SecretWatch:
    """Follows the services of one association: blocks and answers belong to the request that named the secret."""

    def __init__(self) -> None:
        self._written: set[int] = set()  # invoke-ids whose blocks are secret
        self._read: set[int] = set()  # invoke-ids whose answers are

    def secret_fields(self, service: Any) -> frozenset[str]:
        """The names of the fields of a decoded service that hold a secret."""
        if isinstance(service, get.GetRequestNormal | get.GetRequestList):
            self._note(self._read, service.invoke, _targets(service))
        elif isinstance(service, get.GetResponseNormal | get.GetResponseBlock | get.GetResponseList | AccessResponse):
            return self._answered(service)
        elif isinstance(service, AccessRequest):
            return self._access_fields(service)
        elif isinstance(service, set_service.SetRequestBlock | action.ActionRequestBlock):
            return frozenset({"block"}) if service.invoke & _INVOKE_ID in self._written else _NONE
        elif isinstance(service, _WRITES) and self._note(self._written, service.invoke, _targets(service)):
            return _CONTENTS & frozenset(service.__struct_fields__)
        return _NONE

    @property
    def awaits_secret(self) -> bool:
        """A secret was asked for, and the answer is not yet whole."""
        return bool(self._read)

    def _answered(self, service: get.GetResponse | AccessResponse) -> frozenset[str]:
        invoke = service.invoke & _INVOKE_ID
        if invoke not in self._read:
            return _NONE
        if not isinstance(service, get.GetResponseBlock) or service.last:
            self._read.discard(invoke)
        if isinstance(service, AccessResponse):
            return frozenset({"values"})
        return frozenset({"results" if isinstance(service, get.GetResponseList) else "result"})

    def _access_fields(self, request: AccessRequest) -> frozenset[str]:
        """An access-request reads and writes: a secret in it hides its values, and those of its answer."""
        targets = [specification.target for specification in request.specifications]
        secret = self._note(self._read, request.invoke, targets)
        return frozenset({"values"}) if secret else _NONE

    @staticmethod
    def _note(invokes: set[int], invoke: int, targets: Iterable[CosemAttribute | CosemMethod]) -> bool:
        secret = any(is_secret(target) for target in targets)
        if secret:
            invokes.add(invoke & _INVOKE_ID)
        else:
            invokes.discard(invoke & _INVOKE_ID)
        return secret


_WRITES = (
    set_service.SetRequestNormal,
    set_service.SetRequestFirstBlock,
    set_service.SetRequestList,
    set_service.SetRequestListFirstBlock,
    action.ActionRequestNormal,
    action.ActionRequestFirstBlock,
    action.ActionRequestList,
    action.ActionRequestListFirstBlock,
)


def _targets(service: Any) -> list[CosemAttribute | CosemMethod]:
    if hasattr(service, "items"):
        return [attribute for attribute, _ in service.items]
    if hasattr(service, "methods"):
        return list(service.methods)
    return [service.method if hasattr(service, "method") else service.attribute]
