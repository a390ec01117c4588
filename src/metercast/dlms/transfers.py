"""One confirmed service from its request to its result, in one APDU or in blocks (catalogue 1.16).

A transfer knows plain APDUs only: `first` is the request, `receive` turns an answer into the next request or the
result. `limit` is the largest plain APDU that the server takes once ciphered, None without limit.
"""

from metercast.dlms.action import (
    ACTION_RESPONSE,
    ActionRequestBlock,
    ActionRequestFirstBlock,
    ActionRequestNext,
    ActionRequestNormal,
    ActionResponseBlock,
    ActionResponseNext,
    ActionResponseNormal,
    MethodResponse,
    decode_action_response,
    decode_reassembled_response,
)
from metercast.dlms.axdr import encode_length
from metercast.dlms.blocks import Block
from metercast.dlms.conformance import Conformance
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data, decode_whole, encode_data
from metercast.dlms.errors import DecodeError, RequestTooLong, TooLongError, UnexpectedAnswer
from metercast.dlms.events import ActionResult, GetResult, SetResult
from metercast.dlms.get import (
    GET_RESPONSE,
    GetRequestNext,
    GetRequestNormal,
    GetResponseBlock,
    GetResponseNormal,
    decode_get_response,
)
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.set import (
    SET_RESPONSE,
    SetRequestBlock,
    SetRequestFirstBlock,
    SetRequestNormal,
    SetResponseBlock,
    SetResponseLastBlock,
    SetResponseNormal,
    decode_set_response,
)

_SUCCESS = DataAccessResult.SUCCESS
_BLOCK_TRANSFER_SET = Conformance.BLOCK_TRANSFER_SET.value
_BLOCK_TRANSFER_ACTION = Conformance.BLOCK_TRANSFER_ACTION.value


class Reassembly:
    """Blocks of one answer, in order from 1, at most `limit` octets together."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._octets = bytearray()
        self.received = 0

    def add(self, last: bool, number: int, raw: bytes) -> None:
        if number != self.received + 1:
            raise DecodeError(f"block {number} after block {self.received}")
        if not raw and not last:
            raise DecodeError(f"block {number} is empty and not the last")
        if len(self._octets) + len(raw) > self._limit:
            raise TooLongError(f"the blocks of one answer exceed {self._limit} octets")
        self._octets += raw
        self.received = number

    @property
    def octets(self) -> bytes:
        return bytes(self._octets)


class Cutting:
    """An encoded value in blocks: the first as long as `first` allows, the others as `rest` does."""

    def __init__(self, octets: bytes, first: int, rest: int) -> None:
        if first < 1 or rest < 1:
            raise RequestTooLong("the server's maximum PDU size leaves no room for a block")
        self._octets = octets
        self._at = 0
        self._room = first
        self._rest = rest
        self.sent = 0
        self.done = False

    def after(self, number: int) -> Block:
        """The block behind `number`; UnexpectedAnswer where that is not the one just sent, or was the last."""
        if self.done or number != self.sent:
            raise UnexpectedAnswer(f"acknowledges block {number}, which is not the one just sent")
        return self.next()

    def next(self) -> Block:
        raw = self._octets[self._at : self._at + self._room]
        self._at += len(raw)
        self._room = self._rest
        self.sent += 1
        self.done = self._at >= len(self._octets)
        return Block(self.done, self.sent, raw)


def next_block(cutting: Cutting | None, acknowledged: int) -> Block:
    """The block behind the acknowledged one; UnexpectedAnswer where the request was no block."""
    if cutting is None:
        raise UnexpectedAnswer(f"acknowledges block {acknowledged} of a request in one APDU")
    return cutting.after(acknowledged)


def room_for_raw(limit: int, head: int) -> int:
    """Octets of raw data that fit an APDU of `limit` octets with `head` before last-block, number and length."""
    room = limit - head - 5
    return room - len(encode_length(max(0, room)))


def check_fits(apdu: bytes, limit: int | None) -> bytes:
    if limit is not None and len(apdu) > limit:
        raise RequestTooLong(f"a request of {len(apdu)} octets does not fit the server's PDU, {limit} octets")
    return apdu


class GetTransfer:
    answer = GET_RESPONSE

    __slots__ = (
        "_blocks",
        "_response_limit",
        "first",
        "invoke",
    )

    def __init__(
        self,
        invoke: int,
        attribute: CosemAttribute,
        selection: Selection | None,
        limit: int | None,
        response_limit: int,
    ) -> None:
        self.invoke = invoke
        self.first = check_fits(GetRequestNormal(invoke, attribute, selection).encode(), limit)
        self._response_limit = response_limit
        self._blocks: Reassembly | None = None

    def receive(self, apdu: bytes) -> bytes | GetResult:
        response = decode_get_response(apdu)
        if isinstance(response, GetResponseNormal):
            if isinstance(response.result, DataAccessResult):
                return GetResult(None, response.result)
            if self._blocks is not None:
                raise UnexpectedAnswer("data in one APDU in the middle of blocks")
            return GetResult(response.result)
        if not isinstance(response, GetResponseBlock):
            raise UnexpectedAnswer("a list of results where one attribute was asked for")
        if isinstance(response.result, DataAccessResult):
            return GetResult(None, response.result)
        blocks = self._blocks = self._blocks or Reassembly(self._response_limit)
        blocks.add(response.last, response.block, response.result)
        if response.last:
            return GetResult(decode_whole(blocks.octets))
        return GetRequestNext(self.invoke, response.block).encode()


class SetTransfer:
    answer = SET_RESPONSE

    __slots__ = (
        "_cutting",
        "first",
        "invoke",
    )

    def __init__(
        self,
        invoke: int,
        attribute: CosemAttribute,
        value: Data,
        selection: Selection | None,
        limit: int | None,
        conformance: int,
    ) -> None:
        self.invoke = invoke
        self._cutting: Cutting | None = None
        self.first = SetRequestNormal(invoke, attribute, value, selection).encode()
        if limit is None or len(self.first) <= limit:
            return
        if not conformance & _BLOCK_TRANSFER_SET:
            check_fits(self.first, limit)
        octets = encode_data(value)
        head = len(self.first) - len(octets)
        self._cutting = Cutting(octets, room_for_raw(limit, head), room_for_raw(limit, 3))
        self.first = SetRequestFirstBlock(invoke, attribute, self._cutting.next(), selection).encode()

    def receive(self, apdu: bytes) -> bytes | SetResult:
        response = decode_set_response(apdu)
        cutting = self._cutting
        if isinstance(response, SetResponseBlock):
            return SetRequestBlock(self.invoke, next_block(cutting, response.block)).encode()
        if not isinstance(response, (SetResponseNormal, SetResponseLastBlock)):
            raise UnexpectedAnswer("a list of results where one attribute was written")
        if response.result != _SUCCESS:
            return SetResult(response.result)
        if isinstance(response, SetResponseLastBlock) and (cutting is None or response.block != cutting.sent):
            raise UnexpectedAnswer(f"ends with block {response.block}, which is not the one just sent")
        if cutting is not None and not cutting.done:
            raise UnexpectedAnswer(f"success after {cutting.sent} blocks, before the last")
        return SetResult()


class ActionTransfer:
    answer = ACTION_RESPONSE

    def __init__(
        self,
        invoke: int,
        method: CosemMethod,
        parameter: Data | None,
        limit: int | None,
        conformance: int,
        response_limit: int,
    ) -> None:
        self.invoke = invoke
        self._cutting: Cutting | None = None
        self._blocks: Reassembly | None = None
        self._response_limit = response_limit
        self.first = ActionRequestNormal(invoke, method, parameter).encode()
        if limit is None or len(self.first) <= limit:
            return
        if parameter is None or not conformance & _BLOCK_TRANSFER_ACTION:
            check_fits(self.first, limit)
            return
        self._cutting = Cutting(encode_data(parameter), room_for_raw(limit, 12), room_for_raw(limit, 3))
        self.first = ActionRequestFirstBlock(invoke, method, self._cutting.next()).encode()

    def receive(self, apdu: bytes) -> bytes | ActionResult:
        response = decode_action_response(apdu)
        cutting = self._cutting
        if isinstance(response, ActionResponseNext):
            return ActionRequestBlock(self.invoke, next_block(cutting, response.block)).encode()
        if isinstance(response, ActionResponseNormal):
            return self._finish(response.response)
        if not isinstance(response, ActionResponseBlock):
            raise UnexpectedAnswer("a list of results where one method was invoked")
        blocks = self._blocks = self._blocks or Reassembly(self._response_limit)
        block = response.block
        blocks.add(block.last, block.number, block.raw)
        if block.last:
            return self._finish(decode_reassembled_response(blocks.octets))
        return ActionRequestNext(self.invoke, block.number).encode()

    def _finish(self, response: MethodResponse) -> ActionResult:
        if self._cutting is not None and not self._cutting.done and response.result is ActionResultCode.SUCCESS:
            raise UnexpectedAnswer(f"success after {self._cutting.sent} blocks, before the last")
        return result_of(response)


def result_of(response: MethodResponse) -> ActionResult:
    if isinstance(response.returned, DataAccessResult):
        return ActionResult(response.result, None, response.returned)
    return ActionResult(response.result, response.returned)


Transfer = GetTransfer | SetTransfer | ActionTransfer
