"""GET, SET and ACTION of the server side, whole and in blocks both ways (IEC 62056-5-3; catalogue 1.16)."""

from collections.abc import Sequence

from metercast.dlms.access import (
    ACCESS_REQUEST,
    BREAK_ON_ERROR,
    SELF_DESCRIPTIVE,
    AccessItemResult,
    AccessKind,
    AccessResponse,
    AccessSpecification,
    decode_access_request,
)
from metercast.dlms.access import CONFIRMED as LONG_CONFIRMED
from metercast.dlms.action import (
    ACTION_REQUEST,
    ACTION_RESPONSE,
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestList,
    ActionRequestListFirstBlock,
    ActionRequestNext,
    ActionRequestNormal,
    ActionResponseBlock,
    ActionResponseList,
    ActionResponseNext,
    ActionResponseNormal,
    MethodResponse,
    decode_action_request,
)
from metercast.dlms.blocks import Block
from metercast.dlms.conformance import Conformance
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import NULL, Data, decode_whole
from metercast.dlms.errors import DecodeError
from metercast.dlms.get import (
    GET_REQUEST,
    GET_RESPONSE,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseList,
    GetResponseNormal,
    decode_get_request,
)
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.service_error import ExceptionResponse, ServiceErrorCode, StateError
from metercast.dlms.set import (
    SET_REQUEST,
    SET_RESPONSE,
    SetRequestBlock,
    SetRequestFirstBlock,
    SetRequestList,
    SetRequestListFirstBlock,
    SetRequestNormal,
    SetResponseBlock,
    SetResponseLastBlock,
    SetResponseLastBlockList,
    SetResponseList,
    SetResponseNormal,
    decode_set_request,
    decode_whole_values,
)
from metercast.simulator.access import ObjectAccess
from metercast.simulator.transfers import BlockNumberInvalid, Incoming, Outgoing

CONFIRMED = 0x40
BLOCK_HEAD = 12  # tag, form, invoke, last, number, choice, length of up to three octets

UNSUPPORTED = ExceptionResponse(StateError.SERVICE_UNKNOWN, ServiceErrorCode.SERVICE_NOT_SUPPORTED).encode()
MALFORMED = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceErrorCode.OTHER_REASON).encode()
TOO_LONG = ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceErrorCode.PDU_TOO_LONG).encode()

_ANSWER_HEAD = 3
_SERVICE_BITS = {
    GET_REQUEST: int(Conformance.GET),
    SET_REQUEST: int(Conformance.SET),
    ACTION_REQUEST: int(Conformance.ACTION),
    ACCESS_REQUEST: int(Conformance.ACCESS),
}

SetTarget = tuple[CosemAttribute, Selection | None]
SetTargets = list[SetTarget]


class Services:
    """One association's services; a transfer in blocks ends when another service begins."""

    __slots__ = ("_access", "_action_answer", "_conformance", "_get", "_invoking", "_limit", "_setting")

    def __init__(self, access: ObjectAccess, conformance: int) -> None:
        self._access = access
        self._conformance = conformance
        self._limit = 0
        self._drop_transfers()

    def answer(self, apdu: bytes, limit: int) -> bytes | None:
        """The answer to a plain request, at most `limit` octets where the service can be cut; None: unconfirmed."""
        self._limit = limit
        tag = apdu[0]
        if not self._conformance & _SERVICE_BITS.get(tag, 0):
            return UNSUPPORTED
        try:
            if tag == GET_REQUEST:
                answer = self._answer_get(apdu)
            elif tag == SET_REQUEST:
                answer = self._answer_set(apdu)
            elif tag == ACCESS_REQUEST:
                return self._answer_access(apdu)
            else:
                answer = self._answer_action(apdu)
        except DecodeError:
            self._drop_transfers()
            return MALFORMED
        return answer if apdu[2] & CONFIRMED else None

    def _drop_transfers(self) -> None:
        self._get: Outgoing | None = None
        self._action_answer: Outgoing | None = None
        # What is written or invoked in blocks: one target, or a list of them.
        self._setting: tuple[SetTarget | SetTargets, Incoming] | None = None
        self._invoking: tuple[CosemMethod | list[CosemMethod], Incoming] | None = None

    def _has(self, bit: Conformance) -> bool:
        return bool(self._conformance & bit)

    def _refuses_list(self, invoke: int, tag: int) -> bytes | None:
        """What a request with list is answered with where the meter takes none."""
        if not self._has(Conformance.MULTIPLE_REFERENCES):
            return UNSUPPORTED
        return self._access.refusal_of_list(invoke, tag)

    # ACCESS

    def _answer_access(self, apdu: bytes) -> bytes | None:
        self._drop_transfers()
        request = decode_access_request(apdu)
        if self._access.refuses_access():
            return UNSUPPORTED
        _check_pairs(request.specifications, request.values)
        breaks, failed = bool(request.invoke & BREAK_ON_ERROR), False
        values: list[Data] = []
        results: list[AccessItemResult] = []
        for specification, value in zip(request.specifications, request.values, strict=True):
            if breaks and failed:
                returned, item = NULL, _not_tried(specification)
            else:
                returned, item = self._access_item(specification, value)
            failed = failed or item.result != 0
            values.append(returned)
            results.append(item)
        described = request.specifications if request.invoke & SELF_DESCRIPTIVE else None
        answer = AccessResponse(request.invoke, values, results, b"", described).encode()
        if not request.invoke & LONG_CONFIRMED:
            return None
        fits = len(answer) <= self._limit or self._has(Conformance.GENERAL_BLOCK_TRANSFER)
        return answer if fits else TOO_LONG

    def _access_item(self, specification: AccessSpecification, value: Data) -> tuple[Data, AccessItemResult]:
        target, selection = specification.target, specification.selection
        if isinstance(target, CosemMethod):
            code, returned = self._access.invoke(target, value)
            return NULL if returned is None else returned, AccessItemResult(AccessKind.ACTION, code)
        if specification.kind in (AccessKind.GET, AccessKind.GET_WITH_SELECTION):
            result = self._access.get(target, selection)
            if isinstance(result, DataAccessResult):
                return NULL, AccessItemResult(AccessKind.GET, result)
            return result, AccessItemResult(AccessKind.GET, DataAccessResult.SUCCESS)
        return NULL, AccessItemResult(AccessKind.SET, self._access.set(target, value, selection))

    # GET

    def _answer_get(self, apdu: bytes) -> bytes:
        request = decode_get_request(apdu)
        if isinstance(request, GetRequestNext):
            return self._get_next(request)
        self._drop_transfers()
        if isinstance(request, GetRequestNormal):
            result = self._access.get(request.attribute, request.selection)
            # Blocks of a single value carry the Data alone, without the choice in front of it.
            return self._cut_get(request.invoke, GetResponseNormal(request.invoke, result).encode(), _ANSWER_HEAD + 1)
        if (refusal := self._refuses_list(request.invoke, GET_RESPONSE)) is not None:
            return refusal
        results = [self._access.get(attribute, selection) for attribute, selection in request.items]
        return self._cut_get(request.invoke, GetResponseList(request.invoke, results).encode(), _ANSWER_HEAD)

    def _cut_get(self, invoke: int, whole: bytes, head: int) -> bytes:
        if len(whole) <= self._limit:
            return whole
        if not self._has(Conformance.BLOCK_TRANSFER_GET):
            return whole if self._has(Conformance.GENERAL_BLOCK_TRANSFER) else TOO_LONG
        self._get = Outgoing(whole[head:])
        return self._get_block(invoke, self._get)

    def _get_next(self, request: GetRequestNext) -> bytes:
        if self._get is None:
            result = DataAccessResult.NO_LONG_GET_IN_PROGRESS
            return GetResponseBlock(request.invoke, True, request.block, result).encode()
        if request.block != self._get.number:
            self._drop_transfers()
            result = DataAccessResult.DATA_BLOCK_NUMBER_INVALID
            return GetResponseBlock(request.invoke, True, request.block, result).encode()
        return self._get_block(request.invoke, self._get)

    def _get_block(self, invoke: int, outgoing: Outgoing) -> bytes:
        block = outgoing.next(self._limit - BLOCK_HEAD)
        if block.last:
            self._get = None
        return GetResponseBlock(invoke, block.last, block.number, block.raw).encode()

    # SET

    def _answer_set(self, apdu: bytes) -> bytes:
        request = decode_set_request(apdu)
        if isinstance(request, SetRequestBlock):
            return self._set_block(request.invoke, request.block)
        self._drop_transfers()
        if isinstance(request, SetRequestNormal):
            result = self._access.set(request.attribute, request.value, request.selection)
            return SetResponseNormal(request.invoke, result).encode()
        if isinstance(request, SetRequestFirstBlock) and self._has(Conformance.BLOCK_TRANSFER_SET):
            self._setting = ((request.attribute, request.selection), Incoming())
            return self._set_block(request.invoke, request.block)
        if (refusal := self._refuses_list(request.invoke, SET_RESPONSE)) is not None:
            return refusal
        if isinstance(request, SetRequestList):
            return SetResponseList(request.invoke, self._set_all(request.items, request.values)).encode()
        if isinstance(request, SetRequestListFirstBlock) and self._has(Conformance.BLOCK_TRANSFER_SET):
            self._setting = (request.items, Incoming())
            return self._set_block(request.invoke, request.block)
        return UNSUPPORTED

    def _set_block(self, invoke: int, block: Block) -> bytes:
        if self._setting is None:
            return SetResponseLastBlock(invoke, DataAccessResult.NO_LONG_SET_IN_PROGRESS, block.number).encode()
        target, incoming = self._setting
        try:
            value = incoming.take(block)
        except BlockNumberInvalid:
            self._drop_transfers()
            result = DataAccessResult.DATA_BLOCK_NUMBER_INVALID
            return SetResponseLastBlock(invoke, result, block.number).encode()
        except OverflowError:
            self._drop_transfers()
            return SetResponseLastBlock(invoke, DataAccessResult.LONG_SET_ABORTED, block.number).encode()
        if value is None:
            return SetResponseBlock(invoke, block.number).encode()
        self._drop_transfers()
        try:
            if isinstance(target, list):
                results = self._set_all(target, decode_whole_values(value))
                return SetResponseLastBlockList(invoke, results, block.number).encode()
            result = self._access.set(target[0], decode_whole(value), target[1])
        except DecodeError:
            result = DataAccessResult.TYPE_UNMATCHED
        return SetResponseLastBlock(invoke, result, block.number).encode()

    def _set_all(self, targets: SetTargets, values: list[Data]) -> list[DataAccessResult]:
        """DecodeError, with nothing written, where there is not a value for each."""
        _check_pairs(targets, values)
        pairs = zip(targets, values, strict=True)
        return [self._access.set(attribute, value, selection) for (attribute, selection), value in pairs]

    # ACTION

    def _answer_action(self, apdu: bytes) -> bytes:
        request = decode_action_request(apdu)
        if isinstance(request, ActionRequestNext):
            return self._action_next(request)
        if isinstance(request, ActionRequestBlock):
            return self._action_block(request.invoke, request.block)
        self._drop_transfers()
        if isinstance(request, ActionRequestNormal):
            return self._invoke(request.invoke, request.method, request.parameter)
        if isinstance(request, ActionRequestFirstBlock) and self._has(Conformance.BLOCK_TRANSFER_ACTION):
            self._invoking = (request.method, Incoming())
            return self._action_block(request.invoke, request.block)
        if (refusal := self._refuses_list(request.invoke, ACTION_RESPONSE)) is not None:
            return refusal
        if isinstance(request, ActionRequestList):
            return self._invoke_all(request.invoke, request.methods, request.parameters)
        if isinstance(request, ActionRequestListFirstBlock) and self._has(Conformance.BLOCK_TRANSFER_ACTION):
            self._invoking = (request.methods, Incoming())
            return self._action_block(request.invoke, request.block)
        return UNSUPPORTED

    def _action_block(self, invoke: int, block: Block) -> bytes:
        if self._invoking is None:
            return _action_refused(invoke, ActionResultCode.NO_LONG_ACTION_IN_PROGRESS)
        target, incoming = self._invoking
        try:
            raw = incoming.take(block)
        except (BlockNumberInvalid, OverflowError):
            self._drop_transfers()
            return _action_refused(invoke, ActionResultCode.LONG_ACTION_ABORTED)
        if raw is None:
            return ActionResponseNext(invoke, block.number).encode()
        self._drop_transfers()
        try:
            if isinstance(target, list):
                return self._invoke_all(invoke, target, decode_whole_values(raw))
            return self._invoke(invoke, target, decode_whole(raw))
        except DecodeError:
            return _action_refused(invoke, ActionResultCode.TYPE_UNMATCHED)

    def _invoke_all(self, invoke: int, methods: list[CosemMethod], parameters: list[Data]) -> bytes:
        """DecodeError, with nothing invoked, where there is not a parameter for each."""
        _check_pairs(methods, parameters)
        pairs = zip(methods, parameters, strict=True)
        responses = [MethodResponse(*self._access.invoke(method, parameter)) for method, parameter in pairs]
        return self._cut_action(invoke, ActionResponseList(invoke, responses).encode())

    def _invoke(self, invoke: int, method: CosemMethod, parameter: Data | None) -> bytes:
        result, returned = self._access.invoke(method, parameter)
        whole = ActionResponseNormal(invoke, MethodResponse(result, returned)).encode()
        return self._cut_action(invoke, whole)

    def _cut_action(self, invoke: int, whole: bytes) -> bytes:
        if len(whole) <= self._limit:
            return whole
        if not self._has(Conformance.BLOCK_TRANSFER_ACTION):
            return whole if self._has(Conformance.GENERAL_BLOCK_TRANSFER) else TOO_LONG
        # Blocks carry the MethodResponse, or the list of them, that follows tag, form and invoke-id.
        self._action_answer = Outgoing(whole[_ANSWER_HEAD:])
        return self._answer_block(invoke, self._action_answer)

    def _action_next(self, request: ActionRequestNext) -> bytes:
        if self._action_answer is None:
            return _action_refused(request.invoke, ActionResultCode.NO_LONG_ACTION_IN_PROGRESS)
        if request.block != self._action_answer.number:
            self._drop_transfers()
            return _action_refused(request.invoke, ActionResultCode.LONG_ACTION_ABORTED)
        return self._answer_block(request.invoke, self._action_answer)

    def _answer_block(self, invoke: int, outgoing: Outgoing) -> bytes:
        block = outgoing.next(self._limit - BLOCK_HEAD)
        if block.last:
            self._action_answer = None
        return ActionResponseBlock(invoke, block).encode()


def _not_tried(specification: AccessSpecification) -> AccessItemResult:
    """Of an item behind the one at which an ACCESS breaks off."""
    if isinstance(specification.target, CosemMethod):
        return AccessItemResult(AccessKind.ACTION, ActionResultCode.OTHER_REASON)
    is_get = specification.kind in (AccessKind.GET, AccessKind.GET_WITH_SELECTION)
    return AccessItemResult(AccessKind.GET if is_get else AccessKind.SET, DataAccessResult.OTHER_REASON)


def _check_pairs(targets: Sequence[object], values: Sequence[Data]) -> None:
    if len(targets) != len(values):
        raise DecodeError(f"{len(values)} values for {len(targets)} items")


def _action_refused(invoke: int, result: ActionResultCode) -> bytes:
    return ActionResponseNormal(invoke, MethodResponse(result)).encode()
