"""What can go wrong between the driver and a meter, below the words of the record."""


class TransportError(Exception):
    """The byte transport gives out."""


class PeerClosed(TransportError):
    """The other side ended the connection, or it broke."""


class TimedOut(TransportError):
    """A limit of `Timeouts` passed; the message says which and what was awaited."""


class CounterJump(Exception):
    """A meter asks for an invocation counter further ahead than we allow; it stays where it was."""

    def __init__(self, ours: int, asked: int, limit: int) -> None:
        super().__init__(
            f"the meter's invocation counter {asked} is {asked - ours} ahead of ours, the limit is {limit}"
        )
