# SPDX-License-Identifier: Apache-2.0
"""Every error Poppy raises on purpose, as one tree.

::

    PoppyError
    ├── InvalidRequest          what the client sent can't be accepted
    │   ├── SchemaInvalid       ... it breaks a JSON Schema; carries one message per breach
    │   ├── DomainTaken         ... a domain belongs to another service
    │   │   ├── DomainUnproven  ... which has not proven that it owns it
    │   │   └── DomainReleased  ... or did until just now, and is kept for its former project
    │   ├── ServiceBusy         ... not in the state the request needs
    │   └── KeyReused           ... its idempotency key belongs to another request
    ├── LimitReached            the project may not have more services
    ├── TooManyRequests         the project has to wait before it asks for more
    ├── NotFound                no such thing, or not this project's
    ├── InUse                   can't go while something depends on it
    ├── Changed                 a conditional write lost to another writer
    ├── PreconditionFailed      it is not as the client said it had to be
    ├── Repeated                this create was done before
    ├── NotRunnable             this operation is not for this worker to run now
    │   └── Fenced              ... and the run that was under way has lost its right to write
    │       └── Superseded      ... to a delete, which waits until the run acknowledges that
    ├── Unavailable             a part Poppy needs does not answer (storage, job board)
    ├── ConfigError             the operator's configuration can't work
    └── DriverError             what provider and DNS drivers raise, and nothing else
        ├── RetryableError      may work later; its scope says whom it concerns
        │   ├── TimedOut        ... there was no answer in time: not repeated at once
        │   └── Unauthorized    ... once the operator has put our credentials right
        ├── InProgressError     has begun and needs time: ask again later
        └── PermanentError      will not work however often it is tried

Only the transport turns these into HTTP (``poppy.transport.pecan.errors``).
"""

import datetime
import enum
from collections.abc import Sequence

from poppy.common import waits

#: Seconds until a provider that is at it, and gives no sensible number, is asked again.
POLL_AFTER = 10.0


class PoppyError(Exception):
    """Root of the tree. ``str(error)`` is fit to be shown to whoever caused it."""


class InvalidRequest(PoppyError):
    """The request can't be accepted; the message names the offender."""


class SchemaInvalid(InvalidRequest):
    """A document breaks its JSON Schema.

    Attributes:
        messages: one ``[path]-what is wrong`` per breach, at least one.
    """

    def __init__(self, messages: Sequence[str]) -> None:
        super().__init__("; ".join(messages))
        self.messages = tuple(messages)


class DomainTaken(InvalidRequest):
    """A domain is already claimed by some service, of this project or another.

    Attributes:
        domain: the domain that could not be claimed.
    """

    def __init__(self, domain: str) -> None:
        super().__init__(f"Domain {domain} has already been taken")
        self.domain = domain


class DomainUnproven(DomainTaken):
    """A domain is claimed by another project, which has not proven that it owns it.

    Args:
        name: of the TXT record by which the project that asks can prove it.
        value: of that record.
    """

    def __init__(self, domain: str, name: str, value: str) -> None:
        super().__init__(domain)
        self.args = (
            f"Domain {domain} has already been taken, but not proven. If it is yours, make the "
            f"TXT record {name} with the value {value} and ask again",
        )


class DomainReleased(DomainTaken):
    """A domain was released recently and is kept for its former project.

    The message does not tell which project that is.

    Attributes:
        free_at: when other projects may claim it.
    """

    def __init__(self, domain: str, free_at: datetime.datetime) -> None:
        super().__init__(domain)
        # Rounded up: at the second that is told, it is free.
        told = (free_at + datetime.timedelta(microseconds=999_999)).strftime("%Y-%m-%dT%H:%M:%SZ")
        self.args = (f"Domain {domain} was released recently and is not available until {told}",)
        self.free_at = free_at


class ServiceBusy(InvalidRequest):
    """The service is not in a state in which the request makes sense."""


class KeyReused(InvalidRequest):
    """An idempotency key came with another request before."""

    def __init__(self) -> None:
        super().__init__("This idempotency key was used with another request before")


class LimitReached(PoppyError):
    """The project already has as many services as it may.

    Attributes:
        limit: how many services the project may have.
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
    """There is no such thing, or it belongs to another project."""


class InUse(PoppyError):
    """The thing can't be removed: something else depends on it."""


class Changed(PoppyError):
    """The stored thing is no longer what the caller read; read again and decide again."""


class PreconditionFailed(PoppyError):
    """What is there is not what the client meant to change."""


class Repeated(PoppyError):
    """The service was created before, by the same idempotency key.

    Attributes:
        service_id: of that service.
    """

    def __init__(self, service_id: str) -> None:
        super().__init__(f"Service {service_id} was created by this request before")
        self.service_id = service_id


class NotRunnable(PoppyError):
    """The operation is finished, gone, another's, or has to wait for an earlier one."""


class Fenced(NotRunnable):
    """The run lost its right to write: superseded, or taken over by another worker."""


class Superseded(Fenced):
    """A delete overtook the run, and waits for it to end: the run has to acknowledge that."""


class Unavailable(PoppyError):
    """A part that Poppy needs does not answer.

    Attributes:
        retry_after: seconds after which trying again makes sense.
    """

    def __init__(self, message: str, retry_after: int = 5) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class ConfigError(PoppyError):
    """The configuration can't work; the message names the option and what to do."""


class DriverError(PoppyError):
    """A provider or DNS driver could not do what it was asked."""


class Scope(enum.StrEnum):
    """Whom a failure concerns.

    SERVICE: one service: its origin does not resolve, its document is refused for now, another
        worker changed its object. Only that service waits.
    PROVIDER: the provider or DNS server as a whole: it can't be reached, fails, limits our
        account or refuses our credentials. The circuit breaker listens to these alone.
    """

    SERVICE = "service"
    PROVIDER = "provider"


class RetryableError(DriverError):
    """It may work later.

    A failure concerns its own service unless the driver says otherwise: a tenant who can cause a
    failure must not be able to have other tenants wait for it.

    Attributes:
        retry_after: seconds the other side asked us to wait, between 0 and
            :data:`poppy.common.waits.LONGEST`; None when it did not say, or no sensible number.
        scope: whom the failure concerns.
    """

    # For drivers' own subclasses that do not call this constructor.
    scope: Scope = Scope.SERVICE
    _retry_after: float | None = None

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        scope: Scope = Scope.SERVICE,
    ) -> None:
        super().__init__(message)
        self.retry_after = retry_after
        self.scope = scope

    @property
    def retry_after(self) -> float | None:
        """See the class."""
        return self._retry_after

    @retry_after.setter
    def retry_after(self, seconds: float | None) -> None:
        self._retry_after = waits.bounded(seconds)


class TimedOut(RetryableError):
    """There was no answer in time.

    It is not repeated at once: each try would hold the worker's slot as long again.
    """

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        scope: Scope = Scope.PROVIDER,
    ) -> None:
        super().__init__(message, retry_after, scope=scope)


class Unauthorized(RetryableError):
    """The other side refuses our credentials, or what they may do.

    That is for the operator to put right, and no tenant's request is to fail for it: it is tried
    again, though not at once, as accounts may be locked for that.
    """

    def __init__(
        self,
        message: str,
        retry_after: float | None = None,
        *,
        scope: Scope = Scope.PROVIDER,
    ) -> None:
        super().__init__(message, retry_after, scope=scope)


class InProgressError(DriverError):
    """The other side is at it and needs time; asking again after a while is no failure.

    Attributes:
        poll_after: seconds until it makes sense to ask, between 0 and
            :data:`poppy.common.waits.LONGEST`.
    """

    def __init__(self, message: str, poll_after: float) -> None:
        super().__init__(message)
        bounded = waits.bounded(poll_after)
        self.poll_after = POLL_AFTER if bounded is None else bounded


class PermanentError(DriverError):
    """It will not work however often it is tried; the message says why, for the tenant."""
