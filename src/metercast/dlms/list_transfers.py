"""GET, SET and ACTION with a list, from the request to one result for each item (catalogue 1.16).

Like the transfers of single attributes they know plain APDUs only. An error in place of the list is the event of the
single service, with that error: the server does not take the list as a whole.
"""

from collections.abc import Sequence

from metercast.dlms.action import (
    ACTION_RESPONSE,
    ActionRequestBlock,
    ActionRequestList,
    ActionRequestListFirstBlock,
    ActionRequestNext,
    ActionResponseList,
    ActionResponseNext,
    ActionResponseNormal,
    MethodResponse,
    decode_action_response,
    decode_method_responses,
)
from metercast.dlms.axdr import expect_end
from metercast.dlms.blocks import SelectedAttribute
from metercast.dlms.conformance import Conformance
from metercast.dlms.cosem import CosemAttribute, CosemMethod
from metercast.dlms.data import NULL, Data
from metercast.dlms.errors import DecodeError, LocalProtocolError, UnexpectedAnswer
from metercast.dlms.events import ActionListResult, ActionResult, GetListResult, GetResult, SetListResult, SetResult
from metercast.dlms.get import (
    GET_RESPONSE,
    GetRequestList,
    GetRequestNext,
    GetResponseBlock,
    GetResponseList,
    decode_get_data_results,
    decode_get_response,
)
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.set import (
    SET_RESPONSE,
    SetRequestBlock,
    SetRequestList,
    SetRequestListFirstBlock,
    SetResponseBlock,
    SetResponseLastBlockList,
    SetResponseList,
    decode_set_response,
    encode_values,
)
from metercast.dlms.transfers import Cutting, Reassembly, check_fits, next_block, result_of, room_for_raw

_BLOCK_TRANSFER_SET = Conformance.BLOCK_TRANSFER_SET.value
_BLOCK_TRANSFER_ACTION = Conformance.BLOCK_TRANSFER_ACTION.value
_BLOCK_FORM_HEAD = 3  # tag, form, invoke-id


def _counted(count: int) -> int:
    if not count:
        raise LocalProtocolError("a list without items")
    return count


def _check_count(found: int, wanted: int) -> None:
    if found != wanted:
        raise UnexpectedAnswer(f"{found} results for a list of {wanted}")


class GetListTransfer:
    answer = GET_RESPONSE

    def __init__(self, invoke: int, items: Sequence[SelectedAttribute], limit: int | None, response_limit: int) -> None:
        self.invoke = invoke
        self._count = _counted(len(items))
        self.first = check_fits(GetRequestList(invoke, list(items)).encode(), limit)
        self._response_limit = response_limit
        self._blocks: Reassembly | None = None

    def receive(self, apdu: bytes) -> bytes | GetListResult | GetResult:
        response = decode_get_response(apdu)
        if isinstance(response, GetResponseList):
            if self._blocks is not None:
                raise UnexpectedAnswer("a list in one APDU in the middle of blocks")
            return self._finish(response.results)
        if isinstance(response.result, DataAccessResult):
            return GetResult(None, response.result)
        if not isinstance(response, GetResponseBlock):
            raise UnexpectedAnswer("a single value where a list was asked for")
        assert isinstance(response.result, bytes)
        blocks = self._blocks = self._blocks or Reassembly(self._response_limit)
        blocks.add(response.last, response.block, response.result)
        if response.last:
            return self._finish(_results_in(blocks.octets))
        return GetRequestNext(self.invoke, response.block).encode()

    def _finish(self, results: list[Data | DataAccessResult]) -> GetListResult:
        _check_count(len(results), self._count)
        return GetListResult(
            [GetResult(None, each) if isinstance(each, DataAccessResult) else GetResult(each) for each in results]
        )


class SetListTransfer:
    answer = SET_RESPONSE

    def __init__(
        self, invoke: int, items: Sequence[tuple[CosemAttribute, Data]], limit: int | None, conformance: int
    ) -> None:
        self.invoke = invoke
        self._count = _counted(len(items))
        self._cutting: Cutting | None = None
        attributes: list[SelectedAttribute] = [(attribute, None) for attribute, _ in items]
        values = [value for _, value in items]
        self.first = SetRequestList(invoke, attributes, values).encode()
        if limit is None or len(self.first) <= limit:
            return
        if not conformance & _BLOCK_TRANSFER_SET:
            check_fits(self.first, limit)
        octets = encode_values(values)
        head = len(self.first) - len(octets)
        self._cutting = Cutting(octets, room_for_raw(limit, head), room_for_raw(limit, _BLOCK_FORM_HEAD))
        self.first = SetRequestListFirstBlock(invoke, attributes, self._cutting.next()).encode()

    def receive(self, apdu: bytes) -> bytes | SetListResult | SetResult:
        response = decode_set_response(apdu)
        cutting = self._cutting
        if isinstance(response, SetResponseBlock):
            return SetRequestBlock(self.invoke, next_block(cutting, response.block)).encode()
        if isinstance(response, (SetResponseList, SetResponseLastBlockList)):
            _check_count(len(response.results), self._count)
            if cutting is not None and not cutting.done and DataAccessResult.SUCCESS in response.results:
                raise UnexpectedAnswer(f"success after {cutting.sent} blocks, before the last")
            return SetListResult([SetResult(None if each == 0 else each) for each in response.results])
        if response.result == DataAccessResult.SUCCESS:
            raise UnexpectedAnswer("one result where a list was written")
        return SetResult(response.result)


class ActionListTransfer:
    """A method without parameter gets null-data: the list has a value for each."""

    answer = ACTION_RESPONSE

    def __init__(
        self,
        invoke: int,
        items: Sequence[tuple[CosemMethod, Data | None]],
        limit: int | None,
        conformance: int,
        response_limit: int,
    ) -> None:
        self.invoke = invoke
        self._count = _counted(len(items))
        self._cutting: Cutting | None = None
        self._blocks: Reassembly | None = None
        self._response_limit = response_limit
        methods = [method for method, _ in items]
        parameters = [NULL if parameter is None else parameter for _, parameter in items]
        self.first = ActionRequestList(invoke, methods, parameters).encode()
        if limit is None or len(self.first) <= limit:
            return
        if not conformance & _BLOCK_TRANSFER_ACTION:
            check_fits(self.first, limit)
        octets = encode_values(parameters)
        head = len(self.first) - len(octets)
        self._cutting = Cutting(octets, room_for_raw(limit, head), room_for_raw(limit, _BLOCK_FORM_HEAD))
        self.first = ActionRequestListFirstBlock(invoke, methods, self._cutting.next()).encode()

    def receive(self, apdu: bytes) -> bytes | ActionListResult | ActionResult:
        response = decode_action_response(apdu)
        cutting = self._cutting
        if isinstance(response, ActionResponseNext):
            return ActionRequestBlock(self.invoke, next_block(cutting, response.block)).encode()
        if isinstance(response, ActionResponseList):
            return self._finish(response.responses)
        if isinstance(response, ActionResponseNormal):
            if response.response.result is ActionResultCode.SUCCESS:
                raise UnexpectedAnswer("one result where a list was invoked")
            return result_of(response.response)
        block = response.block
        blocks = self._blocks = self._blocks or Reassembly(self._response_limit)
        blocks.add(block.last, block.number, block.raw)
        if block.last:
            return self._finish(_responses_in(blocks.octets))
        return ActionRequestNext(self.invoke, block.number).encode()

    def _finish(self, responses: list[MethodResponse]) -> ActionListResult:
        _check_count(len(responses), self._count)
        results = [result_of(response) for response in responses]
        is_whole = self._cutting is None or self._cutting.done
        if not is_whole and any(result.result is ActionResultCode.SUCCESS for result in results):
            raise UnexpectedAnswer("success before the last block")
        return ActionListResult(results)


def _results_in(octets: bytes) -> list[Data | DataAccessResult]:
    try:
        results, offset = decode_get_data_results(octets, 0)
    except IndexError:
        raise DecodeError("the blocks of a get-response end inside a list") from None
    expect_end(octets, offset, "a list of results")
    return results


def _responses_in(octets: bytes) -> list[MethodResponse]:
    try:
        responses, offset = decode_method_responses(octets, 0)
    except IndexError:
        raise DecodeError("the blocks of an action-response end inside a list") from None
    expect_end(octets, offset, "a list of responses")
    return responses


ListTransfer = GetListTransfer | SetListTransfer | ActionListTransfer
