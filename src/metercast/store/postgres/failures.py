"""What PostgreSQL and the way to it can say no with, as StoreUnavailable: without user, without password."""

from asyncpg import exceptions

from metercast.store.errors import StoreUnavailable

# The transaction was rolled back for the sake of another, and can be run again at once.
AGAIN: tuple[type[Exception], ...] = (exceptions.SerializationError, exceptions.DeadlockDetectedError)

# The connection is gone. What was under way on it was rolled back, or committed where COMMIT was on its way.
LOST: tuple[type[Exception], ...] = (
    exceptions.PostgresConnectionError,
    exceptions.AdminShutdownError,
    exceptions.CrashShutdownError,
    exceptions.CannotConnectNowError,
    exceptions.IdleInTransactionSessionTimeoutError,
    exceptions.InterfaceError,
    exceptions.InternalClientError,
    OSError,
)

# The server can't do it now, or not for us.
_UNABLE: tuple[type[Exception], ...] = (
    exceptions.OperatorInterventionError,  # shutting down, or cancelled by statement_timeout
    exceptions.InsufficientResourcesError,  # disk full, memory, connections
    exceptions.ObjectNotInPrerequisiteStateError,  # lock_timeout
    exceptions.ReadOnlySQLTransactionError,  # a standby
    exceptions.InvalidAuthorizationSpecificationError,
    exceptions.InvalidCatalogNameError,
    exceptions.InsufficientPrivilegeError,
    exceptions.PostgresSystemError,
)

FAILURES: tuple[type[Exception], ...] = (*AGAIN, *LOST, *_UNABLE)


def unavailable(where: str, error: BaseException) -> StoreUnavailable:
    """`where` names host, port and database only."""
    return StoreUnavailable(f"PostgreSQL at {where}: {_reason(error)}")


def _reason(error: BaseException) -> str:
    if isinstance(error, TimeoutError):
        return "no answer in time"
    if isinstance(error, exceptions.InvalidAuthorizationSpecificationError):  # its message names the user
        return f"it does not let us in; look at the user and the password ({error.sqlstate})"
    if isinstance(error, exceptions.PostgresError):
        return f"{error.as_dict().get('message', '')} ({error.sqlstate})"
    if isinstance(error, OSError):
        return error.strerror or type(error).__name__
    return "the connection was lost"
