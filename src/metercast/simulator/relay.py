"""The supply relay of a meter: disconnect control with its control modes (class 70, catalogue 1.8)."""

from enum import IntEnum


class ControlState(IntEnum):
    DISCONNECTED = 0
    CONNECTED = 1
    READY_FOR_RECONNECTION = 2


_OFF, _ON, _READY = ControlState.DISCONNECTED, ControlState.CONNECTED, ControlState.READY_FOR_RECONNECTION

# The lettered transitions of the class: (what happens, from) -> to.
_LETTERS = {
    "a": ("remote_reconnect", _OFF, _ON),
    "b": ("remote_disconnect", _ON, _OFF),
    "c": ("remote_disconnect", _READY, _OFF),
    "d": ("remote_reconnect", _OFF, _READY),
    "e": ("manual_reconnect", _READY, _ON),
    "f": ("manual_disconnect", _ON, _READY),
    "g": ("local_disconnect", _ON, _READY),
    "h": ("local_reconnect", _READY, _ON),
    "i": ("remote_reconnect", _READY, _ON),
}
_MODES = {0: "", 1: "bcfgde", 2: "bcfgae", 3: "bcgde", 4: "bcgae", 5: "bcfgdeh", 6: "bcgdeh", 7: "bcgaieh"}
TRANSITIONS = {
    mode: {_LETTERS[letter][:2]: _LETTERS[letter][2] for letter in letters} for mode, letters in _MODES.items()
}


class NotSwitchable(Exception):
    """Control mode 0: the output is always connected."""


class Relay:
    """The output and its control state. What the mode has no transition for changes nothing."""

    __slots__ = ("_mode", "state", "switched")

    def __init__(self, mode: int = 4, state: ControlState = ControlState.CONNECTED) -> None:
        self.state = state
        self.switched = 0
        self._mode = 0
        self.mode = mode

    @property
    def mode(self) -> int:
        return self._mode

    @mode.setter
    def mode(self, mode: int) -> None:
        if mode not in TRANSITIONS:
            raise ValueError(f"control mode {mode}: known are 0 to 7")
        self._mode = mode
        if mode == 0:
            self.state = ControlState.CONNECTED

    @property
    def output(self) -> bool:
        """True: the supply is connected."""
        return self.state is ControlState.CONNECTED

    def remote_disconnect(self) -> None:
        """Method 1; raises NotSwitchable under mode 0."""
        self._remote("remote_disconnect")

    def remote_reconnect(self) -> None:
        """Method 2; raises NotSwitchable under mode 0."""
        self._remote("remote_reconnect")

    def manual_disconnect(self) -> None:
        """The customer presses the button."""
        self._apply("manual_disconnect")

    def manual_reconnect(self) -> None:
        """The customer presses the button."""
        self._apply("manual_reconnect")

    def local_disconnect(self) -> None:
        """A function of the meter, as a limiter, opens the output."""
        self._apply("local_disconnect")

    def local_reconnect(self) -> None:
        """A function of the meter closes the output."""
        self._apply("local_reconnect")

    def _remote(self, cause: str) -> None:
        if self._mode == 0:
            raise NotSwitchable
        self._apply(cause)

    def _apply(self, cause: str) -> None:
        target = TRANSITIONS[self._mode].get((cause, self.state))
        if target is not None:
            self.state = target
            self.switched += 1
