"""Reads of several attributes at once: with a list, else with ACCESS, as the association has them (catalogue 1.16)."""

from collections.abc import Awaitable, Callable, Sequence
from enum import Enum
from typing import Final

from metercast.commands.contract import MeterRefused
from metercast.dlms.access_transfer import AccessGet
from metercast.dlms.association import ClientAssociation
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.data import Data
from metercast.dlms.errors import DlmsError
from metercast.dlms.events import AccessResult, Event, GetListResult, GetResult
from metercast.dlms.negotiated import Negotiated
from metercast.domain.words import ErrorWord
from metercast.driver.conversation import Conversation, ServiceRefused
from metercast.driver.failures import Step, failure_of, refused_by, unexpected

MAX_LIST: Final = 32
_SECURITY_WORDS: Final = frozenset({ErrorWord.AUTHENTICATION_FAILED, ErrorWord.INVOCATION_COUNTER_ERROR})


class ListService(Enum):
    """The value: octets of a request without items, and those of an item without a selection."""

    GET_LIST = (4, 10)  # tag, form, invoke-id, count; a descriptor and no selection
    ACCESS = (8, 11)  # tag, long-invoke-id, no date-time, two counts; kind, descriptor, null-data

    def room(self, limit: int | None) -> int:
        """How many items fit a request of `limit` octets, at most MAX_LIST."""
        head, item = self.value
        return MAX_LIST if limit is None else max(0, min(MAX_LIST, (limit - head) // item))


class ListReader:
    """Reads lists in one session. A service that is refused, whatever was promised, is not used for them again."""

    def __init__(
        self, converse: Callable[[], Awaitable[Conversation]], get: Callable[[CosemAttribute], Awaitable[Data]]
    ) -> None:
        """`converse` gives the conversation, ready to ask; `get` reads one attribute."""
        self._converse = converse
        self._get = get
        self._refused: set[ListService] = set()

    async def read(self, attributes: Sequence[CosemAttribute]) -> list[Data | MeterRefused]:
        """As commands.contract.MeterSession.get_list."""
        results: list[Data | MeterRefused] = []
        while len(results) < len(attributes):
            left = attributes[len(results) :]
            chosen = self._choose((await self._converse()).association.negotiated) if len(left) > 1 else None
            if chosen is None:
                results.append(await self._read_one(left[0]))
                continue
            service, size = chosen
            part = await self._read_part(service, left[:size]) or []
            for attribute, result in zip(left, part, strict=False):
                results.append(await self._read_one(attribute) if _did_not_fit(result) else result)
        return results

    def _choose(self, negotiated: Negotiated) -> tuple[ListService, int] | None:
        """(service, how many attributes one request takes); None where they are read one by one."""
        offers = (
            (negotiated.has_lists, ListService.GET_LIST, negotiated.limit),
            (negotiated.has_access, ListService.ACCESS, negotiated.access_limit),
        )
        for offered, service, limit in offers:
            if offered and service not in self._refused and (size := service.room(limit)) > 1:
                return service, size
        return None

    async def _read_part(
        self, service: ListService, attributes: Sequence[CosemAttribute]
    ) -> list[Data | MeterRefused] | None:
        """None where the meter does not take the list, whatever it promised."""
        conversation = await self._converse()
        what = Step("GET list from", attributes[0])
        try:
            apdu = _request(conversation.association, service, attributes)
        except DlmsError as error:
            raise failure_of(error, what) from error
        conversation.send(apdu)
        try:
            event = await conversation.answer(what)
        except ServiceRefused as refused:
            if refused.error in _SECURITY_WORDS:
                raise
        else:
            results = _results_in(event)
            if results is not None:
                return [
                    each.data if each.data is not None else refused_by(Step("GET", attribute), each.error)
                    for attribute, each in zip(attributes, results, strict=True)
                ]
            if not isinstance(event, GetResult):
                raise unexpected(what, event)
        self._refused.add(service)
        return None

    async def _read_one(self, attribute: CosemAttribute) -> Data | MeterRefused:
        try:
            return await self._get(attribute)
        except MeterRefused as refused:
            return refused


def _did_not_fit(result: Data | MeterRefused) -> bool:
    """The meter could not put the value into the answer to a list; alone it may have room."""
    return isinstance(result, MeterRefused) and result.error is ErrorWord.TRANSFER_ABORTED


def _request(association: ClientAssociation, service: ListService, attributes: Sequence[CosemAttribute]) -> bytes:
    if service is ListService.GET_LIST:
        return association.get_list([(attribute, None) for attribute in attributes])
    return association.access([AccessGet(attribute) for attribute in attributes])


def _results_in(event: Event) -> list[GetResult] | None:
    """The result of each attribute; None where the event is none of a list."""
    if isinstance(event, GetListResult):
        return event.results
    if isinstance(event, AccessResult):
        return [each for each in event.results if isinstance(each, GetResult)]
    return None
