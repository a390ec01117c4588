"""Disconnect control, every mode and every cause against the table of catalogue 1.8."""

import pytest

from metercast.simulator.relay import ControlState, NotSwitchable, Relay

OFF, ON, READY = ControlState.DISCONNECTED, ControlState.CONNECTED, ControlState.READY_FOR_RECONNECTION

# mode: remote reconnect from OFF, remote reconnect from READY, manual disconnect from ON, local reconnect from READY
EXPECTED = {
    1: (READY, READY, READY, READY),
    2: (ON, READY, READY, READY),
    3: (READY, READY, ON, READY),
    4: (ON, READY, ON, READY),
    5: (READY, READY, READY, ON),
    6: (READY, READY, ON, ON),
    7: (ON, ON, ON, ON),
}


@pytest.mark.parametrize("mode", EXPECTED)
def test_what_the_mode_allows(mode: int) -> None:
    from_off, from_ready, manual, local = EXPECTED[mode]

    relay = Relay(mode, OFF)
    relay.remote_reconnect()
    assert relay.state is from_off

    relay = Relay(mode, READY)
    relay.remote_reconnect()
    assert relay.state is from_ready

    relay = Relay(mode, ON)
    relay.manual_disconnect()
    assert relay.state is manual

    relay = Relay(mode, READY)
    relay.local_reconnect()
    assert relay.state is local


@pytest.mark.parametrize("mode", EXPECTED)
def test_what_every_mode_but_none_allows(mode: int) -> None:
    for start in (ON, READY, OFF):
        relay = Relay(mode, start)
        relay.remote_disconnect()
        assert relay.state is OFF
        assert not relay.output

    relay = Relay(mode, ON)
    relay.local_disconnect()
    assert relay.state is READY
    relay.manual_reconnect()
    assert relay.state is ON
    assert relay.output


def test_manual_reconnect_needs_ready_for_reconnection() -> None:
    relay = Relay(1, OFF)
    relay.manual_reconnect()
    assert relay.state is OFF


def test_mode_0_is_always_connected() -> None:
    relay = Relay(4, OFF)
    relay.mode = 0
    assert relay.state is ON
    for switch in (relay.remote_disconnect, relay.remote_reconnect):
        with pytest.raises(NotSwitchable):
            switch()
    relay.local_disconnect()
    relay.manual_disconnect()
    assert relay.state is ON
    assert relay.switched == 0


def test_unknown_modes_are_refused() -> None:
    with pytest.raises(ValueError, match="control mode 8"):
        Relay(8)
