"""Reads of several attributes at once: with a list, else with ACCESS, as the association has them (catalogue 1.16)."""

from collections.abc import Sequence
from enum import Enum
from typing import Final

from metercast.dlms.access_transfer import AccessGet
from metercast.dlms.association import ClientAssociation
from metercast.dlms.cosem import CosemAttribute
from metercast.dlms.events import AccessResult, Event, GetListResult, GetResult
from metercast.dlms.negotiated import Negotiated

MAX_LIST: Final = 32


class ListService(Enum):
    """The value: octets of a request without items, and those of an item without a selection."""

    GET_LIST = (4, 10)  # tag, form, invoke-id, count; a descriptor and no selection
    ACCESS = (8, 11)  # tag, long-invoke-id, no date-time, two counts; kind, descriptor, null-data

    def room(self, limit: int | None) -> int:
        """How many items fit a request of `limit` octets, at most MAX_LIST."""
        head, item = self.value
        return MAX_LIST if limit is None else max(0, min(MAX_LIST, (limit - head) // item))


class ListReader:
    """Which service reads lists in one session. One that is refused, whatever was promised, is not used again."""

    def __init__(self) -> None:
        self._refused: set[ListService] = set()

    def choose(self, negotiated: Negotiated) -> tuple[ListService, int] | None:
        """(service, how many attributes one request takes); None where they are read one by one."""
        if negotiated.has_lists and ListService.GET_LIST not in self._refused:
            size = ListService.GET_LIST.room(negotiated.limit)
            if size > 1:
                return ListService.GET_LIST, size
        if negotiated.has_access and ListService.ACCESS not in self._refused:
            size = ListService.ACCESS.room(negotiated.access_limit)
            if size > 1:
                return ListService.ACCESS, size
        return None

    def refuse(self, service: ListService) -> None:
        self._refused.add(service)


def request(association: ClientAssociation, service: ListService, attributes: Sequence[CosemAttribute]) -> bytes:
    """The APDU that asks for all the attributes; raises DlmsError as the association does."""
    if service is ListService.GET_LIST:
        return association.get_list([(attribute, None) for attribute in attributes])
    return association.access([AccessGet(attribute) for attribute in attributes])


def results_in(event: Event) -> list[GetResult] | None:
    """The result of each attribute; None where the event is none of a list."""
    if isinstance(event, GetListResult):
        return event.results
    if isinstance(event, AccessResult):
        return [each for each in event.results if isinstance(each, GetResult)]
    return None
