"""Reading, writing and invoking through one association: rights, faults, results, and the witness of each."""

from metercast.dlms.action import ACTION_RESPONSE
from metercast.dlms.cosem import CosemAttribute, CosemMethod, Selection
from metercast.dlms.data import NULL, Data
from metercast.dlms.get import GET_RESPONSE
from metercast.dlms.results import ActionResultCode, DataAccessResult
from metercast.dlms.service_error import ConfirmedServiceError, ExceptionResponse, ServiceErrorCode, StateError
from metercast.dlms.set import SET_RESPONSE
from metercast.simulator.objects.base import Attribute, Caller, Refusal
from metercast.simulator.objects.model import ObjectModel
from metercast.simulator.observer import Observer, Service
from metercast.simulator.session_faults import SessionFaults
from metercast.simulator.state import MeterState

_SERVICE_NUMBERS = {GET_RESPONSE: 19, SET_RESPONSE: 20, ACTION_RESPONSE: 21}  # of a confirmed-service-error


class ObjectAccess:
    """`answer_lost` is True once a method ran whose answer the fault at hand forbids to send."""

    __slots__ = ("_caller", "_faults", "_model", "_observer", "_state", "answer_lost")

    def __init__(
        self, model: ObjectModel, state: MeterState, caller: Caller, faults: SessionFaults, observer: Observer
    ) -> None:
        self._model, self._state, self._caller = model, state, caller
        self._faults, self._observer = faults, observer
        self.answer_lost = False

    def get(self, attribute: CosemAttribute, selection: Selection | None) -> Data | DataAccessResult:
        self._state.refresh()
        result: Data | DataAccessResult
        try:
            self._spoil("get", attribute)
            result = self._read(self._attribute(attribute), selection)
        except Refusal as refusal:
            result = DataAccessResult(refusal.result)
        self._note("get", attribute, 0 if isinstance(result, Data) else int(result))
        return result

    def set(self, attribute: CosemAttribute, value: Data, selection: Selection | None) -> DataAccessResult:
        self._state.refresh()
        result = DataAccessResult.SUCCESS
        try:
            self._spoil("set", attribute)
            write = self._attribute(attribute).write
            if write is None or selection is not None:
                raise Refusal(DataAccessResult.READ_WRITE_DENIED)
            write(self._state, value)
        except Refusal as refusal:
            result = DataAccessResult(refusal.result)
        self._note("set", attribute, int(result))
        return result

    def invoke(self, method: CosemMethod, parameter: Data | None) -> tuple[ActionResultCode, Data | None]:
        self._state.refresh()
        result = ActionResultCode.SUCCESS
        returned: Data | None = None
        try:
            self._spoil("action", method)
            run = self._model.method(self._caller.client_sap, method.class_id, method.logical_name, method.index)
            returned = run(self._state, NULL if parameter is None else parameter)
        except Refusal as refusal:
            result = ActionResultCode(refusal.result)
        else:
            self._state.count_execution(method.class_id, method.logical_name, method.index)
            lost = self._faults.loses_answer()
            if lost is not None:
                self._observer.fault_played(lost)
                self.answer_lost = True
        self._note("action", method, int(result))
        return result, returned

    def refusal_of_list(self, invoke: int, tag: int) -> bytes | None:
        """What a fault lets the meter answer to any request with list; `tag` is that of the response."""
        fault = self._faults.refuse_lists
        if fault is None:
            return None
        self._observer.fault_played(fault.kind)
        if fault.answer == "data-access-result":
            normal = bytes((tag, 1, invoke))
            refused = int(DataAccessResult.OTHER_REASON)
            return normal + (bytes((1, refused)) if tag == GET_RESPONSE else bytes((refused,)))
        if fault.answer == "confirmed-service-error":
            return ConfirmedServiceError(_SERVICE_NUMBERS[tag], 3, 2).encode()
        return ExceptionResponse(StateError.SERVICE_NOT_ALLOWED, ServiceErrorCode.SERVICE_NOT_SUPPORTED).encode()

    def refuses_access(self) -> bool:
        """Whether a fault lets the meter refuse the ACCESS service."""
        fault = self._faults.refuse_lists
        if fault is not None:
            self._observer.fault_played(fault.kind)
        return fault is not None

    def _attribute(self, attribute: CosemAttribute) -> Attribute:
        return self._model.attribute(
            self._caller.client_sap, attribute.class_id, attribute.logical_name, attribute.index
        )

    def _read(self, attribute: Attribute, selection: Selection | None) -> Data:
        if attribute.read is None:
            raise Refusal(DataAccessResult.READ_WRITE_DENIED)
        if selection is None:
            return attribute.read(self._state, self._caller)
        if attribute.select is None:
            raise Refusal(DataAccessResult.OTHER_REASON)
        return attribute.select(self._state, self._caller, selection)

    def _note(self, service: Service, target: CosemAttribute | CosemMethod, result: int) -> None:
        self._observer.service_answered(service, target.class_id, target.logical_name, target.index, result)

    def _spoil(self, service: Service, target: CosemAttribute | CosemMethod) -> None:
        spoiled = self._faults.spoils(service, target.class_id, target.logical_name, target.index)
        if spoiled is not None:
            self._observer.fault_played(spoiled[0])
            raise Refusal(spoiled[1])
