"""What bounds a worker."""

import msgspec


class WorkerLimits(msgspec.Struct, frozen=True, kw_only=True):
    """`sessions` at a time; `buckets` held at a time, which bounds memory.

    A batch of begins waits `linger_seconds` for more slots to free up; a locked meter is asked for again after
    `lock_retry_seconds`, and one on which an older command of the same kind comes first after `order_retry_seconds`;
    a bucket whose next attempt is further away than `hold_seconds` is given back. Where others wait for room, a bucket
    that only waits, for channels or for meters, is given back for `step_aside_seconds`. A session of
    a long command ends with a checkpoint after `slice_seconds` at the latest.
    """

    sessions: int = 500
    buckets: int = 64
    lease_seconds: float = 30.0
    linger_seconds: float = 0.02
    lock_retry_seconds: float = 0.5
    order_retry_seconds: float = 2.0
    hold_seconds: float = 1.5
    step_aside_seconds: float = 5.0
    slice_seconds: float = 60.0
