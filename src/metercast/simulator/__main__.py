"""`python -m metercast.simulator`: the command `simulate` by itself."""

from metercast.simulator.command import simulate

if __name__ == "__main__":
    simulate(prog_name="metercast simulate")
