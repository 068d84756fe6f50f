# SPDX-License-Identifier: Apache-2.0
"""Log endpoints of the type S3, for :mod:`tests.real.fastly_account`.

The fields are those of https://www.fastly.com/documentation/reference/api/logging/s3/, the answers
those of the recordings ``fixtures/s3s`` in go-fastly, and names of objects those of the guide
"Changing where log files are written".
"""

import datetime
import gzip
import json
import re
import uuid
from collections.abc import Mapping
from typing import Any

FIELDS = (
    "name bucket_name domain access_key secret_key iam_role path period gzip_level "
    "compression_codec format format_version message_type timestamp_format placement "
    "response_condition redundancy acl public_key server_side_encryption "
    "server_side_encryption_kms_key_id file_max_bytes processing_region"
)
#: What Fastly fills in; all values are text.
DEFAULTS = {
    "domain": "s3.amazonaws.com",
    "period": "3600",
    "gzip_level": "0",
    "format": '%h %l %u %t "%r" %>s %b',
    "format_version": "2",
    "message_type": "classic",
    "timestamp_format": "%Y-%m-%dT%H:%M:%S.000",
    "path": "",
    "response_condition": "",
}
CHOICES = {
    "compression_codec": {"zstd", "snappy", "gzip"},
    "format_version": {"1", "2"},
    "message_type": {"classic", "loggly", "logplex", "blank"},
    "placement": {"", "none", "waf_debug"},
}
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]+)?")
_DIRECTIVE = re.compile(r"%\{([^{}]*)\}V|%(.?)")
_EXPRESSION = re.compile(r"json\.escape\(([A-Za-z0-9._-]+)\)|([A-Za-z0-9._-]+)")
#: Variables of VCL in ``vcl_log``.
_VARIABLES = {
    "client.ip",
    "fastly_info.state",
    "req.method",
    "req.proto",
    "req.url",
    "resp.body_bytes_written",
    "resp.bytes_written",
    "resp.status",
    "time.elapsed.msec",
    "time.start.sec",
}


def problem(form: Mapping[str, str], *, new: bool) -> str | None:
    """Return why Fastly refuses a form; None if it does not."""
    if form.get("compression_codec") and int(form.get("gzip_level") or 0):
        return "'compression_codec' and 'gzip_level' cannot be set simultaneously"
    if new and not form.get("iam_role"):
        for option in ("access_key", "secret_key"):
            if not form.get(option):
                return f"{option} can't be blank without iam_role"
    if "domain" in form and not _HOST.fullmatch(form["domain"]):
        return f"domain '{form['domain']}' is not a host"
    if int(form.get("gzip_level") or 0) > 9:
        return "gzip_level is out of range"
    for text, directive in _DIRECTIVE.findall(form.get("format", "")):
        found = _EXPRESSION.fullmatch(text)
        name = (found[1] or found[2]) if found else ""
        if directive in ("h", "l", "u", "t", "r", ">", "b", "s"):
            continue
        if name not in _VARIABLES and not name.startswith("req.http."):
            return f"Syntax error in format at '{text or directive}'"
    return None


def line(form: str, values: Mapping[str, Any]) -> str:
    """Return the log line of a request, for a format with ``%{...}V`` only."""

    def value(match: re.Match[str]) -> str:
        found = _EXPRESSION.fullmatch(match[1])
        assert found is not None, match[1]
        return json.dumps(values.get(found[1], ""))[1:-1] if found[1] else str(values[found[2]])

    return _DIRECTIVE.sub(value, form)


def upload(endpoint: Mapping[str, str], client: Any, lines: list[str]) -> str:
    """Put a file with these lines into the store, as Fastly names it; return the object's name.

    Args:
        client: a client of the store, with the endpoint's keys.
    """
    path = endpoint["path"]
    # A path without a slash at its end is a prefix of the file's name.
    moment = datetime.datetime.now(datetime.UTC).strftime(DEFAULTS["timestamp_format"])
    suffix = ".log.gz" if int(endpoint["gzip_level"]) else ".log"
    name = f"{path}{moment}-{uuid.uuid4().hex[:16]}{suffix}"
    content = "".join(f"{one}\n" for one in lines).encode()
    body = gzip.compress(content) if suffix.endswith("gz") else content
    client.put_object(Bucket=endpoint["bucket_name"], Key=name, Body=body)
    return name
