"""What an association agreed on: its services and blocks, and how long a request may be; its transfers follow it."""

from collections.abc import Sequence

from metercast.dlms.access_transfer import AccessItem, AccessTransfer
from metercast.dlms.blocks import SelectedAttribute
from metercast.dlms.conformance import Conformance
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import Data
from metercast.dlms.errors import NotNegotiated
from metercast.dlms.list_transfers import ActionListTransfer, GetListTransfer, ListTransfer, SetListTransfer
from metercast.dlms.transfers import ActionTransfer, GetTransfer, SetTransfer, Transfer

_GET = Conformance.GET.value
_SET = Conformance.SET.value
_ACTION = Conformance.ACTION.value
_ACCESS = Conformance.ACCESS.value
_SELECTIVE_ACCESS = Conformance.SELECTIVE_ACCESS.value
_MULTIPLE_REFERENCES = Conformance.MULTIPLE_REFERENCES.value
_BLOCK_TRANSFER_SET = Conformance.BLOCK_TRANSFER_SET.value
_BLOCK_TRANSFER_ACTION = Conformance.BLOCK_TRANSFER_ACTION.value
_GENERAL_BLOCK_TRANSFER = Conformance.GENERAL_BLOCK_TRANSFER.value

AnyTransfer = Transfer | ListTransfer | AccessTransfer


class Negotiated:
    """`limit` is the largest plain request in octets that the server takes in one APDU, None without limit;
    `access_limit` the same for an access-request, whose protection is longer. What does not fit goes in the service's
    own blocks where there are any, for meters have had them for longer, else in general blocks.

    Every method raises NotNegotiated where the service, its list, a selection or the size is not agreed on.
    """

    def __init__(
        self, conformance: int = 0, limit: int | None = None, access_limit: int | None = None, response_limit: int = 0
    ) -> None:
        self.conformance = conformance
        self.limit = limit
        self.access_limit = access_limit
        self._response_limit = response_limit
        self.has_selective_access = bool(conformance & _SELECTIVE_ACCESS)  # GET and SET take a selection
        self.has_lists = bool(conformance & _MULTIPLE_REFERENCES)  # GET, SET and ACTION take a list
        self.has_access = bool(conformance & _ACCESS)
        self.has_general_blocks = bool(conformance & _GENERAL_BLOCK_TRANSFER)
        self._get_limit = self._limit_without(0)
        self._set_limit = self._limit_without(_BLOCK_TRANSFER_SET)

    def get(self, invoke: int, attribute: CosemAttribute, selection: Selection | None) -> GetTransfer:
        self._demand(_GET, "GET")
        if selection is not None:
            self._demand(_SELECTIVE_ACCESS, "selective access")
        return GetTransfer(invoke, attribute, selection, self._get_limit, self._response_limit)

    def set(self, invoke: int, attribute: CosemAttribute, value: Data, selection: Selection | None) -> SetTransfer:
        self._demand(_SET, "SET")
        if selection is not None:
            self._demand(_SELECTIVE_ACCESS, "selective access")
        return SetTransfer(invoke, attribute, value, selection, self._set_limit, self.conformance)

    def action(self, invoke: int, method: CosemMethod, parameter: Data | None) -> ActionTransfer:
        self._demand(_ACTION, "ACTION")
        limit = self._limit_without(_BLOCK_TRANSFER_ACTION)
        return ActionTransfer(invoke, method, parameter, limit, self.conformance, self._response_limit)

    def get_list(self, invoke: int, items: Sequence[SelectedAttribute]) -> GetListTransfer:
        self._demand(_GET, "GET")
        self._demand(_MULTIPLE_REFERENCES, "lists")
        self._demand_selection(any(selection is not None for _, selection in items))
        return GetListTransfer(invoke, items, self._limit_without(0), self._response_limit)

    def set_list(self, invoke: int, items: Sequence[tuple[CosemAttribute, Data]]) -> SetListTransfer:
        self._demand(_SET, "SET")
        self._demand(_MULTIPLE_REFERENCES, "lists")
        return SetListTransfer(invoke, items, self._limit_without(_BLOCK_TRANSFER_SET), self.conformance)

    def action_list(self, invoke: int, items: Sequence[tuple[CosemMethod, Data | None]]) -> ActionListTransfer:
        self._demand(_ACTION, "ACTION")
        self._demand(_MULTIPLE_REFERENCES, "lists")
        limit = self._limit_without(_BLOCK_TRANSFER_ACTION)
        return ActionListTransfer(invoke, items, limit, self.conformance, self._response_limit)

    def access(self, invoke: int, items: Sequence[AccessItem], *, break_on_error: bool) -> AccessTransfer:
        self._demand(_ACCESS, "ACCESS")
        self._demand_selection(any(getattr(item, "selection", None) is not None for item in items))
        limit = None if self.has_general_blocks else self.access_limit
        return AccessTransfer(invoke, items, limit, break_on_error=break_on_error)

    def _demand(self, bit: int, service: str) -> None:
        if not self.conformance & bit:
            raise NotNegotiated(f"the server does not offer {service}")

    def _demand_selection(self, is_wanted: bool) -> None:
        if is_wanted:
            self._demand(_SELECTIVE_ACCESS, "selective access")

    def _limit_without(self, block_transfer: int) -> int | None:
        """What a request must fit, or be cut to by its service; None where general blocks carry what is longer."""
        return None if self.has_general_blocks and not self.conformance & block_transfer else self.limit
