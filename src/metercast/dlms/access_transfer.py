"""ACCESS from the request to one result for each item; its APDUs are never cut but by general block transfer."""

from collections.abc import Sequence

import msgspec

from metercast.dlms.access import (
    ACCESS_RESPONSE,
    BREAK_ON_ERROR,
    CONFIRMED,
    HIGH_PRIORITY,
    AccessItemResult,
    AccessKind,
    AccessRequest,
    AccessSpecification,
    decode_access_response,
)
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import NULL, Data, Tag
from metercast.dlms.errors import LocalProtocolError, UnexpectedAnswer
from metercast.dlms.events import AccessResult, ActionResult, GetResult, SetResult
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.transfers import check_fits


class AccessGet(msgspec.Struct, frozen=True):
    attribute: CosemAttribute
    selection: Selection | None = None


class AccessSet(msgspec.Struct, frozen=True):
    attribute: CosemAttribute
    value: Data
    selection: Selection | None = None


class AccessAction(msgspec.Struct, frozen=True):
    method: CosemMethod
    parameter: Data | None = None


AccessItem = AccessGet | AccessSet | AccessAction


class AccessTransfer:
    answer = ACCESS_RESPONSE

    def __init__(self, invoke: int, items: Sequence[AccessItem], limit: int | None, *, break_on_error: bool) -> None:
        """`invoke` is the invoke-id alone."""
        if not items:
            raise LocalProtocolError("an access-request without items")
        self.invoke = invoke
        specified = [_specify(item) for item in items]
        self._kinds = [_PLAIN_KINDS.get(specification.kind, specification.kind) for specification, _ in specified]
        flags = HIGH_PRIORITY | CONFIRMED | (BREAK_ON_ERROR if break_on_error else 0)
        request = AccessRequest(flags | invoke, [each for each, _ in specified], [value for _, value in specified])
        self.first = check_fits(request.encode(), limit)

    def receive(self, apdu: bytes) -> AccessResult:
        response = decode_access_response(apdu)
        count = len(self._kinds)
        if len(response.values) != count or [each.kind for each in response.results] != self._kinds:
            found = f"{len(response.values)} values and {len(response.results)} results"
            raise UnexpectedAnswer(f"{found}, or of other kinds, for an access-request of {count} items")
        pairs = zip(response.values, response.results, strict=True)
        return AccessResult(response.time, [_result(value, result) for value, result in pairs])


_PLAIN_KINDS = {AccessKind.GET_WITH_SELECTION: AccessKind.GET, AccessKind.SET_WITH_SELECTION: AccessKind.SET}


def _specify(item: AccessItem) -> tuple[AccessSpecification, Data]:
    if isinstance(item, AccessAction):
        parameter = NULL if item.parameter is None else item.parameter
        return AccessSpecification(AccessKind.ACTION, item.method), parameter
    selected = item.selection is not None
    if isinstance(item, AccessGet):
        kind = AccessKind.GET_WITH_SELECTION if selected else AccessKind.GET
        return AccessSpecification(kind, item.attribute, item.selection), NULL
    kind = AccessKind.SET_WITH_SELECTION if selected else AccessKind.SET
    return AccessSpecification(kind, item.attribute, item.selection), item.value


def _result(value: Data, item: AccessItemResult) -> GetResult | SetResult | ActionResult:
    if isinstance(item.result, ActionResultCode):
        return ActionResult(item.result, None if value.tag is Tag.NULL_DATA else value)
    if item.kind is AccessKind.GET:
        return GetResult(value) if item.result == DataAccessResult.SUCCESS else GetResult(None, item.result)
    return SetResult(None if item.result == DataAccessResult.SUCCESS else item.result)
