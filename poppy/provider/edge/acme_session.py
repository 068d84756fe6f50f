# SPDX-License-Identifier: Apache-2.0
"""Requests to an ACME authority, by the library ``acme``.

The library signs, keeps nonces, and repeats a request once if its nonce is refused. It has no
calls for single requests of an order, which a resumable issuance needs.
"""

import contextlib
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

import josepy.errors
import requests
from acme import client, errors, messages
from josepy.json_util import field as json_field
from josepy.jwa import ES256
from josepy.jwk import JWKEC

from poppy.common import waits
from poppy.common.clock import now_utc
from poppy.common.version import VERSION
from poppy.provider.edge import acme_errors
from poppy.provider.edge.acme_options import Authority

#: How many orders of an account's list are examined at most.
_MAX_LISTED = 100


class NewOrder(messages.NewOrder):
    """An order that may replace a certificate (RFC 9773, section 5)."""

    replaces: str | None = json_field("replaces", omitempty=True)


class Registered(NamedTuple):
    """An account's URL, and the URL of its orders if the authority lists them."""

    url: str
    orders: str | None


class Session:
    """Requests of one account at one authority. It is not thread-safe.

    All methods raise the errors of :mod:`poppy.provider.edge.acme_errors` or ``PermanentError``.

    Args:
        key: the account's private key.
        account: the account's URL; None to register it first.
    """

    def __init__(self, authority: Authority, key: JWKEC, account: str | None) -> None:
        self.authority = authority
        self.key = key
        self._net = client.ClientNetwork(
            key,
            alg=ES256,
            # The annotation says bool, but the value is the argument ``verify`` of requests.
            verify_ssl=authority.ca_file or True,  # type: ignore[arg-type]
            user_agent=f"poppy/{VERSION}",
            timeout=authority.timeout,
        )
        self._last: requests.Response | None = None
        self._net.session.hooks["response"].append(self._remember)
        if account is not None:
            self._use(account)
        with self._calls():
            self.directory = client.ClientV2.get_directory(authority.directory, self._net)

    def register(self) -> Registered:
        """Register the account, or find it if it exists (RFC 8555, section 7.3)."""
        self._net.account = None
        external = None
        with self._calls():
            if self.authority.external is not None:
                external = messages.ExternalAccountBinding.from_data(
                    self.key.public_key(), *self.authority.external, self.directory
                )
            registration = messages.NewRegistration.from_data(
                email=self.authority.email,
                terms_of_service_agreed=True,
                external_account_binding=external,
            )
            response = self._send(self.directory["newAccount"], registration)
            account = self._use(response.headers["Location"])
            return Registered(account, response.json().get("orders"))

    def order(self, names: Iterable[str], replaces: str | None) -> str:
        """Create an order and return its URL."""
        names = tuple(names)
        identifiers = [messages.Identifier(typ=messages.IDENTIFIER_FQDN, value=it) for it in names]
        profiles = self.directory["meta"].profiles or {}
        profile = self.authority.profile
        order = NewOrder(
            identifiers=identifiers,
            profile=profile if profile in profiles else None,
            replaces=replaces if self.suggests_renewals else None,
        )
        with self._calls(names):
            return str(self._send(self.directory["newOrder"], order).headers["Location"])

    def find_order(self, orders: str, names: Iterable[str]) -> str | None:
        """Return the URL of an unfinished order for exactly these names; None without one.

        Args:
            orders: URL of the account's list (RFC 8555, section 7.1.2.1).
        """
        page: str | None = orders
        wanted = set(names)
        left = _MAX_LISTED
        while page is not None and left > 0:
            response = self.fetch(page)
            with self._calls():
                listed = [str(url) for url in response.json()["orders"]]
                page = response.links.get("next", {}).get("url")
            for url in listed[:left]:
                order = self.read(url)
                named = {identifier.value for identifier in order.identifiers}
                if named == wanted and order.status in (
                    messages.STATUS_PENDING,
                    messages.STATUS_READY,
                ):
                    return url
            left -= max(1, len(listed))
        return None

    def read(self, url: str) -> messages.Order:
        """Return an order.

        Raises:
            OrderMissing: the authority does not know it.
        """
        try:
            response = self.fetch(url)
        except acme_errors.AuthorityError as exc:
            if self._last is not None and self._last.status_code == requests.codes.not_found:
                raise acme_errors.OrderMissing(str(exc)) from exc
            raise
        with self._calls():
            order: messages.Order = messages.Order.from_json(response.json())
            _require(order.status, order.identifiers, order.authorizations, order.finalize)
            return order

    def authorization(self, url: str) -> messages.Authorization:
        """Return an authorization."""
        response = self.fetch(url)
        with self._calls():
            found: messages.Authorization = messages.Authorization.from_json(response.json())
            _require(found.status, found.identifier, found.challenges)
            return found

    def fetch(self, url: str) -> requests.Response:
        """Return what a POST-as-GET request finds (RFC 8555, section 6.3)."""
        return self.post(url, None)

    def post(self, url: str, body: Any, names: Iterable[str] = ()) -> requests.Response:
        """Send a signed request.

        Args:
            body: an object of the library; None for POST-as-GET.
            names: the domains that the request is about, for errors.
        """
        with self._calls(names):
            return self._send(url, body)

    def library(self) -> client.ClientV2:
        """Return the library's own client, for requests that need no account."""
        return client.ClientV2(self.directory, self._net)

    @property
    def suggests_renewals(self) -> bool:
        """Whether the authority says when to renew a certificate (RFC 9773)."""
        return "renewalInfo" in self.directory.to_partial_json()

    @property
    def retry_after(self) -> float | None:
        """Seconds of the last response's ``Retry-After`` field, bounded."""
        if self._last is None:
            return None
        return waits.retry_after(self._last.headers.get("Retry-After", ""), now_utc())

    def _send(self, url: str, body: Any) -> requests.Response:
        self._last = None
        return self._net.post(url, body, new_nonce_url=self.directory["newNonce"])

    def _use(self, account: str) -> str:
        self._net.account = messages.RegistrationResource(
            uri=account, body=messages.Registration()
        )
        return account

    def _remember(self, response: requests.Response, *_: Any, **__: Any) -> None:
        self._last = response

    @contextlib.contextmanager
    def _calls(self, names: Iterable[str] = ()) -> Iterator[None]:
        name = self.authority.name
        try:
            yield
        except messages.Error as exc:
            raise acme_errors.of_request(exc, name, self.retry_after, names) from exc
        except errors.ConflictError as exc:
            # The library does not show the problem of a response with status 409.
            raise acme_errors.AlreadyReplaced(f"{name} answered with 409") from exc
        except (errors.Error, josepy.errors.Error, KeyError, ValueError, TypeError) as exc:
            status = self._last.status_code if self._last is not None else "nothing"
            raise acme_errors.AuthorityError(
                f"{name} did not answer as RFC 8555 requires (status: {status})", self.retry_after
            ) from exc
        except requests.RequestException as exc:
            # Messages of requests are long and quote the URL.
            raise acme_errors.AuthorityError(
                f"{name} did not answer: {type(exc).__name__}"
            ) from exc


def _require(*fields: Any) -> None:
    """Check that required fields are present, which are optional for the library."""
    if None in fields:
        raise ValueError("A field is missing")
