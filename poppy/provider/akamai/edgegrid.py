# SPDX-License-Identifier: Apache-2.0
"""Akamai's APIs: who we are to them, and what their refusals say.

Every request is signed as https://techdocs.akamai.com/developer/docs/edgegrid describes, by the
library ``edgegrid-python``.
"""

import configparser
import logging
from collections.abc import Mapping
from http import HTTPStatus
from pathlib import Path
from typing import Any, NamedTuple

import requests

from poppy.common.errors import ConfigError, RetryableError
from poppy.common.http import Client, Quota

Document = dict[str, Any]

GONE = frozenset({HTTPStatus.NOT_FOUND, HTTPStatus.GONE})
#: Fields of an .edgerc file, and the options of the same names.
_FIELDS = ("host", "client_token", "client_secret", "access_token")
_MOST_REASONS = 5


class Credentials(NamedTuple):
    """Of an API client of Akamai's Identity and Access Management."""

    host: str
    client_token: str
    client_secret: str
    access_token: str


class Session:
    """Signed requests to all of Akamai's APIs; for any number of threads.

    Args:
        name: of the driver, for messages.
        url: of the APIs, without a path.
        timeout: seconds to connect, and to wait for more of an answer.
        account_switch_key: the account to act on, of those that one login manages.

    Raises:
        ConfigError: the library that signs is not installed.
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
        self._client = Client(
            name,
            url,
            auth=_signer(name, credentials),
            timeout=(min(timeout, 5.0), timeout),
            explain=_explain,
        )

    @property
    def quota(self) -> Mapping[str, Quota]:
        """What the last answers said of rate limits, and of limits on things."""
        return self._client.quota

    def request(self, method: str, path: str, **options: Any) -> requests.Response:
        """As :meth:`Client.request`."""
        params = {**self._params, **(options.pop("params", None) or {})}
        return self._client.request(method, path, params=params, **options)

    def json(self, method: str, path: str, **options: Any) -> Any:
        """As :meth:`Client.json`."""
        params = {**self._params, **(options.pop("params", None) or {})}
        return self._client.json(method, path, params=params, **options)


def _signer(name: str, credentials: Credentials) -> Any:
    try:
        from akamai.edgegrid import EdgeGridAuth
    except ImportError as exc:
        raise ConfigError(
            f"[drivers:provider:{name}] edgegrid-python is not installed: "
            "pip install 'poppy[akamai]'"
        ) from exc
    # At its level debug, the library logs keys and bodies.
    logging.getLogger("akamai.edgegrid").setLevel(logging.INFO)
    return EdgeGridAuth(
        client_token=credentials.client_token,
        client_secret=credentials.client_secret,
        access_token=credentials.access_token,
    )


def credentials(options: Any, group: str) -> Credentials:
    """From the options, and for those that are not set from the .edgerc file.

    Raises:
        ConfigError: something is missing, or the file can't be read; tells no secret.
    """
    found = {field: options[field] or "" for field in _FIELDS}
    if options.edgerc:
        section = _section(options.edgerc, options.edgerc_section, group)
        found = {field: value or section.get(field, "") for field, value in found.items()}
    missing = [field for field, value in found.items() if not value]
    if missing:
        raise ConfigError(f"[{group}] {', '.join(missing)}: set neither here nor in edgerc")
    return Credentials(**found)


def _section(file: str, section: str, group: str) -> Mapping[str, str]:
    parser = configparser.ConfigParser(interpolation=None)
    try:
        parser.read_string(Path(file).expanduser().read_text(encoding="utf-8"))
        return {name.replace("-", "_"): value for name, value in parser[section].items()}
    except KeyError:
        raise ConfigError(f"[{group}] edgerc {file} has no section {section}") from None
    except (OSError, ValueError, configparser.Error) as exc:
        # What a parser says may quote the file.
        raise ConfigError(f"[{group}] edgerc {file} can't be read: {type(exc).__name__}") from None


def _explain(response: requests.Response) -> str:
    """Akamai's own words: an RFC 9457 problem, with a list of causes or without."""
    try:
        problem = response.json()
    except ValueError:
        return ""
    return words(problem) if isinstance(problem, dict) else ""


def words(problem: Document) -> str:
    """What a problem says, in one line."""
    causes = problem.get("errors")
    said = [_words(problem)]
    if isinstance(causes, list):
        said += [_words(cause) for cause in causes[:_MOST_REASONS] if isinstance(cause, dict)]
    return "; ".join(dict.fromkeys(part for part in said if part))


def _words(problem: Document) -> str:
    parts = (problem.get("title"), problem.get("detail"), problem.get("errorLocation"))
    return ": ".join(str(part) for part in parts if part)


def json_object(response: requests.Response) -> Document:
    """The document of an answer.

    Raises:
        RetryableError: it is no JSON object: something stands in between.
    """
    try:
        document = response.json()
    except ValueError as exc:
        raise RetryableError("Akamai answered with no JSON") from exc
    if not isinstance(document, dict):
        raise RetryableError("Akamai answered with no JSON object")
    return document
