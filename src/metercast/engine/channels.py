"""Channels: what meters behind one gateway share, and how many sessions it takes at a time."""

from collections import deque

from metercast.engine.bucket import ActiveBucket
from metercast.store.attempts import OpenDevice


class Channels:
    """Counts sessions per channel, and keeps the devices that found theirs full.

    A device that is called is promised nothing: it enters like any other. So a bucket that is paused, lost or given
    back meanwhile holds nobody up, for a channel with a free place calls again in the next pass.
    """

    def __init__(self) -> None:
        self._in_use: dict[str, int] = {}
        self._parked: dict[str, dict[ActiveBucket, deque[OpenDevice]]] = {}
        self._open: set[str] = set()  # channels that have waiters and may have a free place

    def enter(self, channel: str, limit: int) -> bool:
        """Takes a place; False where `limit` are taken."""
        used = self._in_use.get(channel, 0)
        if used >= limit:
            return False
        self._in_use[channel] = used + 1
        return True

    def leave(self, channel: str) -> None:
        """Gives a place back."""
        left = self._in_use[channel] - 1
        if left:
            self._in_use[channel] = left
        else:
            del self._in_use[channel]
        if channel in self._parked:
            self._open.add(channel)

    def park(self, bucket: ActiveBucket, device: OpenDevice) -> None:
        """Keeps a device that could not enter until it is called."""
        assert device.channel is not None
        self._parked.setdefault(device.channel, {}).setdefault(bucket, deque()).append(device)
        bucket.parked += 1

    def call(self) -> None:
        """Moves as many devices as there are free places to what their buckets can start."""
        for channel in tuple(self._open):
            self._call(channel)

    def forget(self, bucket: ActiveBucket) -> None:
        """Nothing of the bucket is kept any longer."""
        if not bucket.parked:
            return
        bucket.parked = 0
        for channel, waiting in tuple(self._parked.items()):
            if waiting.pop(bucket, None) is not None and not waiting:
                self._close(channel)

    def _call(self, channel: str) -> None:
        """The highest priority first, and buckets of the same priority take turns."""
        waiting = self._parked[channel]
        used = self._in_use.get(channel, 0)
        called = 0
        while waiting:
            bucket = max((b for b in waiting if b.runs), key=lambda b: b.task.priority, default=None)
            if bucket is None:
                return
            devices = waiting[bucket]
            if used + called >= devices[0].max_sessions:
                break
            bucket.startable.appendleft(devices.popleft())
            bucket.parked -= 1
            called += 1
            del waiting[bucket]
            if devices:
                waiting[bucket] = devices
        if not waiting:
            self._close(channel)
        elif not called:
            self._open.discard(channel)

    def _close(self, channel: str) -> None:
        del self._parked[channel]
        self._open.discard(channel)
