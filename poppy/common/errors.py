# SPDX-License-Identifier: Apache-2.0
"""The tree of errors that Poppy raises.

::

    PoppyError
    ├── InvalidRequest          the request is invalid
    │   ├── SchemaInvalid       ... it violates a JSON Schema; has one message per violation
    │   ├── DomainTaken         ... a domain belongs to another service
    │   │   ├── DomainUnproven  ... which has not proven ownership
    │   │   └── DomainReleased  ... a domain is in quarantine for its former project
    │   ├── ServiceBusy         ... the service is in the wrong state
    │   └── KeyReused           ... its idempotency key belongs to another request
    ├── LimitReached            the project has reached its service limit
    ├── TooManyRequests         the project has too many open operations or requests
    ├── NotFound                no such resource in this project
    ├── Gone                    the requested part of a log has been deleted
    ├── InUse                   other resources depend on it
    ├── Changed                 a conditional write lost to another writer
    ├── PreconditionFailed      a precondition of the client does not hold
    ├── Repeated                the same create request was accepted before
    ├── NotRunnable             this worker can't run the operation now
    │   └── Fenced              ... the run lost its right to write
    │       └── Superseded      ... to a delete, which waits for the run to acknowledge it
    ├── Unavailable             storage or the job board does not answer
    ├── ConfigError             the configuration is invalid
    └── DriverError             the only errors that provider and DNS drivers raise
        ├── RetryableError      may work later; its scope says what it affects
        │   ├── TimedOut        ... no answer in time; not retried at once
        │   └── Unauthorized    ... the operator must fix the credentials
        ├── InProgressError     started but not finished; poll again later
        └── PermanentError      retrying does not help

Only the transport maps them to HTTP (``poppy.transport.pecan.errors``).
"""

import datetime
import enum
from collections.abc import Callable, Sequence

from poppy.common import waits

#: Default seconds between polls, for a driver that gives no valid number.
POLL_AFTER = 10.0


class PoppyError(Exception):
    """Root of the tree. ``str(error)`` is safe to show to the client that caused it."""


class InvalidRequest(PoppyError):
    """The request is invalid. The message names the value at fault."""


class SchemaInvalid(InvalidRequest):
    """A document violates its JSON Schema.

    Attributes:
        messages: one ``[path]-what is wrong`` per violation, at least one.
    """

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = tuple(messages)


class DomainTaken(InvalidRequest):
    """A domain is already claimed by a service of this project or another.

    Attributes:
        domain: the domain that could not be claimed.
    """

    def __init__(self, domain: str) -> None:
        super().__init__(f"Domain {domain} has already been taken")
        self.domain = domain


class DomainUnproven(DomainTaken):
    """A domain is claimed by another project, which has not proven ownership.

    Args:
        name: the name of the TXT record with which the requesting project proves ownership.
        value: the value of that record.
    """

    def __init__(self, domain: str, name: str, value: str) -> None:
        super().__init__(domain)
        self.args = (
            f"Domain {domain} has already been taken, but not proven. If it is yours, make the "
            f"TXT record {name} with the value {value} and ask again",
        )


class DomainReleased(DomainTaken):
    """A domain was released recently and is in quarantine for its former project.

    The message does not name that project.

    Attributes:
        free_at: when other projects can claim it.
    """

    def __init__(self, domain: str, free_at: datetime.datetime) -> None:
        super().__init__(domain)
        # Rounded up, so that the domain is free at the time in the message.
        told = (free_at + datetime.timedelta(microseconds=999_999)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.args = (f"Domain {domain} was released recently and is not available until {told}",)
        self.free_at = free_at


class ServiceBusy(InvalidRequest):
    """The service is not in a state that allows the request."""


class NotLoaded(InvalidRequest):
    """A provider that has the service is not loaded, so that nothing can be removed there."""

    def __init__(self, provider: str) -> None:
        super().__init__(
            f"The provider '{provider}' may have the service, but it is not loaded: an operator "
            "must name it in [drivers] providers"
        )


class KeyReused(InvalidRequest):
    """An idempotency key was used before with another request."""

    def __init__(self) -> None:
        super().__init__("This idempotency key was used with another request before")


class LimitReached(PoppyError):
    """The project has reached its service limit.

    Attributes:
        limit: the maximum number of services of the project.
    """

    def __init__(self, project_id: str, limit: int) -> None:
        super().__init__(f"Project {project_id} may not have more than {limit} services")
        self.limit = limit


class TooManyRequests(PoppyError):
    """The project asks for more than its share; the message says of what.

    Attributes:
        retry_after: whole seconds after which trying again makes sense, at least 1.
    """

    def __init__(self, message: str, retry_after: int) -> None:
        super().__init__(message)
        self.retry_after = max(1, retry_after)


class NotFound(PoppyError):
    """The resource does not exist or belongs to another project."""


class Gone(PoppyError):
    """The requested part of a log has been deleted; the reader needs a snapshot."""


class InUse(PoppyError):
    """The resource can't be removed because another one depends on it."""


class Changed(PoppyError):
    """The stored object changed since the caller read it; read it again."""


class PreconditionFailed(PoppyError):
    """The resource does not match the client's precondition."""


class Repeated(PoppyError):
    """A request with the same idempotency key already created the service.

    Attributes:
        service_id: the id of that service.
    """

    def __init__(self, service_id: str) -> None:
        super().__init__(f"Service {service_id} was created by this request before")
        self.service_id = service_id


class NotRunnable(PoppyError):
    """The operation is finished, gone, run by another worker, or waits for an earlier one."""


class Fenced(NotRunnable):
    """The run lost its right to write: superseded, or taken over by another worker."""


class Superseded(Fenced):
    """A delete superseded the run. The run must acknowledge that; the delete waits for it."""


class Unavailable(PoppyError):
    """Storage or the job board does not answer.

    Attributes:
        retry_after: seconds to wait before a retry.
    """

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigError(PoppyError):
    """The configuration is invalid. The message names the option and the remedy."""


class DriverError(PoppyError):
    """A call to a provider or DNS driver failed."""


class Scope(enum.StrEnum):
    """What a failure affects.

    SERVICE: one service: its origin does not resolve, its document is refused for now, or
        another worker changed its object. Only that service waits.
    PROVIDER: the whole provider or DNS server: it is unreachable, fails, limits Poppy's account
        or refuses its credentials. Only these failures count for the circuit breaker.
    """

    SERVICE = "service"
    PROVIDER = "provider"


class RetryableError(DriverError):
    """The call may work later.

    By default a failure affects only its own service, so that a tenant who causes a failure
    can't delay other tenants.

    Attributes:
        retry_after: seconds that the vendor asks to wait, between 0 and
            :data:`poppy.common.waits.LONGEST`; None without a valid number.
        scope: what the failure affects.
    """

    # Defaults, also for drivers' subclasses that do not call this constructor.
    scope: Scope = Scope.SERVICE
    _retry_after: float | None = None

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        scope: Scope | None = None,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        if scope is not None:
            self.scope = scope

    @property
    def retry_after(self) -> float | None:
        """Seconds to wait, bounded; see the class."""
        return self._retry_after

    @retry_after.setter
    def retry_after(self, seconds: float | None) -> None:
        self._retry_after = waits.bounded(seconds)


class TimedOut(RetryableError):
    """No answer in time.

    The call is not retried at once, because each attempt holds a worker's slot for as long.
    """

    scope = Scope.PROVIDER


class Unauthorized(RetryableError):
    """The vendor refuses Poppy's credentials or their permissions.

    The operator must fix this, so no tenant's request fails: the call is retried later. It is not
    retried at once, because the vendor may lock the account.
    """

    scope = Scope.PROVIDER


class InProgressError(DriverError):
    """The change is in progress at the vendor. Polling again is not a failure.

    Attributes:
        poll_after: seconds until the next poll, between 0 and
            :data:`poppy.common.waits.LONGEST`.
    """

    def __init__(self, message: str, poll_after: float) -> None:
        super().__init__(message)
        bounded = waits.bounded(poll_after)
        self.poll_after = POLL_AFTER if bounded is None else bounded


class PermanentError(DriverError):
    """A retry does not help. The message tells the tenant why."""


def succeeds(call: Callable[[], object]) -> bool:
    """Return whether a call of a driver raises no :class:`DriverError`; for health checks."""
    try:
        call()
    except DriverError:
        return False
    return True
