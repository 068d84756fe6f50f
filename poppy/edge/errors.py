# SPDX-License-Identifier: Apache-2.0
"""Errors of a node."""

from poppy.common.errors import PermanentError, RetryableError, Scope


class Refused(PermanentError):
    """The node can't serve a program; the message says why. Other programs are unaffected."""


class Down(RetryableError):
    """A local process (HAProxy or Varnish) does not answer."""

    scope = Scope.PROVIDER
