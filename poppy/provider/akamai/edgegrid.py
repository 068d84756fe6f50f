# SPDX-License-Identifier: Apache-2.0
"""Session of Akamai's APIs: credentials, signatures and error messages.

The library ``edgegrid-python`` signs every request; see
https://techdocs.akamai.com/developer/docs/edgegrid.
"""

import configparser
import logging
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import requests

from poppy.common.errors import ConfigError
from poppy.common.http import Client
from poppy.provider.akamai.quotas import read_quotas

Document = dict[str, Any]

#: Fields of an .edgerc file; the options have the same names.
_FIELDS = ("host", "client_token", "client_secret", "access_token")
_MOST_REASONS = 5


class Credentials(NamedTuple):
    """Credentials of an API client in Akamai's Identity and Access Management."""

    host: str
    client_token: str
    client_secret: str
    access_token: str


class Session(Client):
    """A thread-safe client for signed requests to all of Akamai's APIs.

    Args:
        name: the driver's name, for messages.
        url: the base URL of the APIs, without a path.
        timeout: seconds to connect, and between two reads of the response.
        account_switch_key: the account to act on, if the API client manages several.

    Raises:
        ConfigError: ``edgegrid-python`` is not installed.
    """

    def __init__(
        self,
        name: str,
        url: str,
        credentials: Credentials,
        timeout: float,
        account_switch_key: str | None = None,
    ) -> None:
        self._params = {"accountSwitchKey": account_switch_key} if account_switch_key else {}
        super().__init__(
            name,
            url,
            auth=_signer(name, credentials),
            timeout=(min(timeout, 5.0), timeout),
            explain=_explain,
            quotas=read_quotas,
        )

    def request(
        self, method: str, path: str, *, accept: Collection[int] = (), **options: Any
    ) -> requests.Response:
        """See :meth:`Client.request`."""
        params = {**self._params, **(options.pop("params", None) or {})}
        return super().request(method, path, accept=accept, params=params, **options)


def _signer(name: str, credentials: Credentials) -> Any:
    try:
        from akamai.edgegrid import EdgeGridAuth
    except ImportError as exc:
        raise ConfigError(
            f"[drivers:provider:{name}] edgegrid-python is not installed: "
            "pip install 'poppy-cdn[akamai]'"
        ) from exc
    # At DEBUG the library logs keys and bodies.
    logging.getLogger("akamai.edgegrid").setLevel(logging.INFO)
    return EdgeGridAuth(
        client_token=credentials.client_token,
        client_secret=credentials.client_secret,
        access_token=credentials.access_token,
    )


def credentials(options: Any, group: str) -> Credentials:
    """Read the credentials from the options; take unset ones from the .edgerc file.

    Raises:
        ConfigError: a credential is missing, or the file can't be read. The message has no
            secrets.
    """
    found = {field: options[field] or "" for field in _FIELDS}
    if options.edgerc:
        section = _section(options.edgerc, options.edgerc_section, group)
        found = {field: value or section.get(field, "") for field, value in found.items()}
    missing = [field for field, value in found.items() if not value]
    if missing:
        raise ConfigError(f"[{group}] {', '.join(missing)}: not set here or in edgerc")
    return Credentials(**found)


def _section(file: str, section: str, group: str) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(Path(file).expanduser().read_text(encoding="utf-8"))
        return {name.replace("-", "_"): value for name, value in parser[section].items()}
    except KeyError:
        raise ConfigError(f"[{group}] edgerc {file} has no section {section}") from None
    except (OSError, ValueError, configparser.Error) as exc:
        # A parser's message may quote the file.
        raise ConfigError(f"[{group}] edgerc {file} can't be read: {type(exc).__name__}") from None


def _explain(response: requests.Response) -> str:
    """Return Akamai's error message: an RFC 9457 problem, possibly with a list of causes."""
    try:
        problem = response.json()
    except ValueError:
        return ""
    return words(problem) if isinstance(problem, dict) else ""


def words(problem: Document) -> str:
    """Return the message of a problem in one line."""
    parts = (_words(problem), listed(problem.get("errors")))
    return "; ".join(dict.fromkeys(part for part in parts if part))


def listed(problems: Any) -> str:
    """Return the messages of the first few problems of a list in one line."""
    found = problems[:_MOST_REASONS] if isinstance(problems, list) else []
    said = [_words(one) for one in found if isinstance(one, dict)]
    return "; ".join(dict.fromkeys(part for part in said if part))


def _words(problem: Document) -> str:
    parts = (problem.get("title"), problem.get("detail"), problem.get("errorLocation"))
    return ": ".join(str(part) for part in parts if part)
