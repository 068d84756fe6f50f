# SPDX-License-Identifier: Apache-2.0
"""The cause of a failed connection, in words, with a hint at the remedy."""

import socket
import ssl
from collections.abc import Iterator
from typing import NamedTuple


class Cause(NamedTuple):
    """A cause.

    Attributes:
        text: continues a sentence that begins with the server's URL.
        permanent: whether another try would fail as well.
    """

    text: str
    permanent: bool


def cause_of(error: BaseException) -> Cause:
    """Return the cause of an error of keystoneauth, requests or urllib3, which wrap each other."""
    for each in _chain(error):
        if isinstance(each, ssl.SSLCertVerificationError):
            return Cause(
                f"has a certificate that can't be verified: {each.verify_message}. If it is of "
                "your own CA, give the CA's certificate with --os-cacert",
                permanent=True,
            )
        if isinstance(each, ssl.SSLError):
            return Cause(
                f"does not speak TLS as expected ({each}). Check that the URL's "
                "scheme (http or https) and port are right",
                permanent=True,
            )
        if isinstance(each, socket.gaierror):
            return Cause(
                f"has a host name that can't be resolved ({each.strerror}). Check the name and "
                "your DNS",
                permanent=each.errno == socket.EAI_NONAME,
            )
        if isinstance(each, ConnectionRefusedError):
            return Cause(
                "refuses connections. Check the URL's port, and that the server runs",
                permanent=False,
            )
    return Cause("does not answer", permanent=False)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and those that it wraps, each once."""
    waiting, seen = [error], set()
    while waiting:
        each = waiting.pop(0)
        if id(each) in seen:
            continue
        seen.add(id(each))
        yield each
        wrapped = (each.__cause__, each.__context__, getattr(each, "reason", None), *each.args)
        waiting += [it for it in wrapped if isinstance(it, BaseException)]
