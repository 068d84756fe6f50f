# SPDX-License-Identifier: Apache-2.0
"""Accounts at authorities: one for each, shared by all workers."""

import threading
from collections.abc import Iterable
from dataclasses import replace

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from josepy.jwk import JWKEC

from poppy.common.vault import Vault, key_id
from poppy.provider.edge.acme_errors import AccountMissing, AuthorityError
from poppy.provider.edge.acme_options import Authority
from poppy.provider.edge.acme_orders import Account, Records
from poppy.provider.edge.acme_session import Session


def new_key(vault: Vault, purpose: str) -> str:
    """Return a new private key on the curve P-256, sealed; its content is PKCS #8 in PEM."""
    pem = ec.generate_private_key(ec.SECP256R1()).private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.PKCS8,
        serialization.NoEncryption(),
    )
    return vault.seal(pem, purpose)


class Accounts:
    """The sessions of this process. It is thread-safe: each thread has sessions of its own."""

    def __init__(self, vault: Vault, records: Records) -> None:
        self._vault = vault
        self._records = records
        self._local = threading.local()

    def session(self, authority: Authority) -> Session:
        """Return this thread's session; register the account if that was not done yet.

        Raises:
            AuthorityError: the authority does not answer, or refuses the account.
        """
        session = self._sessions().get(authority.directory)
        if session is None:
            session = self._new(authority)
            self._sessions()[authority.directory] = session
        return session

    def find_order(self, session: Session, names: Iterable[str]) -> str | None:
        """Return the URL of an unfinished order, if the authority lists orders."""
        account = self._records.account(session.authority.directory)
        if account is None or account.orders is None:
            return None
        return session.find_order(account.orders, names)

    def drop(self, directory: str, error: AuthorityError) -> None:
        """Drop a session that failed; register a missing account again next time."""
        self._sessions().pop(directory, None)
        account = self._records.account(directory)
        if isinstance(error, AccountMissing) and account is not None:
            self._records.put_account(replace(account, url=None, orders=None))

    def seal_again(self, directory: str) -> str | None:
        """Encrypt an account's key with the first key; return the ID of its previous key."""
        account = self._records.account(directory)
        if account is None:
            return None
        self._sealed_again(account)
        return key_id(account.key)

    def _sealed_again(self, account: Account) -> Account:
        sealed = self._vault.seal_again(account.key, account.directory)
        if sealed != account.key:
            account = replace(account, key=sealed)
            self._records.put_account(account)
        return account

    def _new(self, authority: Authority) -> Session:
        directory = authority.directory
        account = self._records.account(directory)
        if account is None:
            # Another worker may be quicker; its account is for all.
            account = self._records.add_account(
                Account(directory, new_key(self._vault, directory))
            )
        account = self._sealed_again(account)
        pem = self._vault.open(account.key, directory)
        key = JWKEC(key=serialization.load_pem_private_key(pem, None))
        session = Session(authority, key, account.url)
        if account.url is None:
            url, orders = session.register()
            self._records.put_account(replace(account, url=url, orders=orders))
        return session

    def _sessions(self) -> dict[str, Session]:
        found: dict[str, Session] | None = getattr(self._local, "sessions", None)
        if found is None:
            found = self._local.sessions = {}
        return found
