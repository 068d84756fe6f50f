# SPDX-License-Identifier: Apache-2.0
"""The surroundings of an issuer of certificates: records in memory, and a publisher."""

import datetime
import json
from dataclasses import asdict

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519

from poppy.provider.edge.acme_orders import DNS, Account, Order


class MemoryRecords:
    """Accounts and orders as JSON, so that nothing but JSON survives.

    Attributes:
        accounts: JSON by the URL of the directory.
        orders: JSON by ID.
    """

    def __init__(self):
        self.accounts = {}
        self.orders = {}
        self._events = {}

    def account(self, directory):
        text = self.accounts.get(directory)
        return None if text is None else Account(**json.loads(text))

    def add_account(self, account):
        self.accounts.setdefault(account.directory, json.dumps(asdict(account)))
        return self.account(account.directory)

    def put_account(self, account):
        self.accounts[account.directory] = json.dumps(asdict(account))

    def put_order(self, order):
        self.orders[order.id] = json.dumps(order.to_dict())

    def order(self, order_id):
        return Order.from_dict(json.loads(self.orders[order_id]))

    def events(self, key, since):
        return [at for at in self._events.get(key, ()) if at > since]

    def add_event(self, key, at):
        self._events.setdefault(key, []).append(at)


class LocalPublisher:
    """Publishes to ``tests.real.pebble.Published``, or nowhere without it."""

    def __init__(self, published=None):
        self.published = published
        self.challenges = []

    def publish(self, order):
        self.withdraw(order)
        for challenge in order.challenges:
            self.challenges.append(challenge)
            if self.published and challenge.kind == DNS:
                self.published.set_txt(challenge.name, challenge.value)
            elif self.published:
                self.published.http[challenge.name] = challenge.value

    def withdraw(self, order):
        for challenge in order.challenges:
            if self.published and challenge.kind == DNS:
                self.published.clear_txt(challenge.name)
            elif self.published:
                self.published.http.pop(challenge.name, None)


class Signed:
    """A certificate with its key.

    Args:
        issuer: signs it; by default it signs itself.
        names: its DNS names; without any it is an authority.
        begin, end: of its validity, from now.

    Attributes:
        pem: the certificate.
        key_pem: the private key.
    """

    def __init__(
        self,
        common_name,
        *,
        issuer=None,
        names=(),
        key=None,
        begin=datetime.timedelta(hours=-1),
        end=datetime.timedelta(days=30),
    ):
        self.key = key or ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, common_name)])
        signer = issuer or self
        now = datetime.datetime.now(datetime.UTC)
        builder = (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(issuer.certificate.subject if issuer else subject)
            .public_key(self.key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now + begin)
            .not_valid_after(now + end)
            .add_extension(x509.BasicConstraints(not names, None), critical=True)
        )
        if names:
            alternative = x509.SubjectAlternativeName([x509.DNSName(name) for name in names])
            builder = builder.add_extension(alternative, critical=False)
        is_ed = isinstance(signer.key, ed25519.Ed25519PrivateKey)
        self.certificate = builder.sign(signer.key, None if is_ed else hashes.SHA256())
        self.names = list(names)
        self.pem = self.text(self.certificate)
        self.fingerprint = self.certificate.fingerprint(hashes.SHA256()).hex()
        self.key_pem = self._key(serialization.NoEncryption())

    @staticmethod
    def text(certificate):
        """Return a certificate in PEM."""
        return certificate.public_bytes(serialization.Encoding.PEM).decode()

    def encrypted_key(self, password):
        """Return the private key, encrypted."""
        return self._key(serialization.BestAvailableEncryption(password.encode()))

    def _key(self, encryption):
        pem, pkcs8 = serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8
        return self.key.private_bytes(pem, pkcs8, encryption).decode()
