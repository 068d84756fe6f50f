# SPDX-License-Identifier: Apache-2.0
"""Every error Poppy raises on purpose, as one tree.

::

    PoppyError
    ├── InvalidRequest          what the client sent can't be accepted
    │   ├── SchemaInvalid       ... it breaks a JSON Schema; carries one message per breach
    │   ├── DomainTaken         ... a domain belongs to another service
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
        ├── RetryableError      may work later: rate limit, outage, timeout
        │   └── Unauthorized    ... once the operator has put our credentials right
        ├── InProgressError     has begun and needs time: ask again later
        └── PermanentError      will not work however often it is tried

Only the transport turns these into HTTP (``poppy.transport.pecan.errors``).
"""

from collections.abc import Sequence


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


class RetryableError(DriverError):
    """It may work later: the provider limits our rate, is down, or did not answer in time.

    Attributes:
        retry_after: seconds the other side asked us to wait, or None when it did not say.
    """

    def __init__(self, message: str, retry_after: float | None = None) -> None:
        super().__init__(message)
        self.retry_after = retry_after


class Unauthorized(RetryableError):
    """The other side refuses our credentials, or what they may do.

    That is for the operator to put right, and no tenant's request is to fail for it: it is tried
    again, though not at once, as accounts may be locked for that.
    """


class InProgressError(DriverError):
    """The other side is at it and needs time; asking again after a while is no failure.

    Attributes:
        poll_after: seconds until it makes sense to ask.
    """

    def __init__(self, message: str, poll_after: float) -> None:
        super().__init__(message)
        self.poll_after = poll_after


class PermanentError(DriverError):
    """It will not work however often it is tried; the message says why, for the tenant."""
