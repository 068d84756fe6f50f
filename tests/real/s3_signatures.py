# SPDX-License-Identifier: Apache-2.0
"""Amazon's rules for URLs with a signature, which it computes by itself.

They are from "Authenticating Requests: Using Query Parameters" in the API reference of Amazon S3,
and "Create a signed AWS API request" in the IAM user guide.
"""

import datetime
import hashlib
import hmac
import urllib.parse
from collections.abc import Mapping

ACCESS_KEY, SECRET_KEY, REGION = "AKIALOGS", "s3cr3t-of-the-operator", "us-east-1"
_ALGORITHM = "AWS4-HMAC-SHA256"
_LONGEST = 7 * 24 * 3600


def problem(
    method: str, target: str, fields: Mapping[str, str], now: datetime.datetime
) -> str | None:
    """Return why S3 refuses a request; None if it does not.

    Args:
        method: of the request.
        target: path and query as sent.
        fields: the header fields, with names in lower case.
        now: the time of the server.
    """
    path, _, text = target.partition("?")
    pairs = [it.partition("=")[::2] for it in text.split("&")]
    query = {name: urllib.parse.unquote(value) for name, value in pairs}
    try:
        given = query["X-Amz-Signature"]
        access_key, day, region, service, end = query["X-Amz-Credential"].split("/")
        date, signed = query["X-Amz-Date"], query["X-Amz-SignedHeaders"].split(";")
        began = datetime.datetime.strptime(date, "%Y%m%dT%H%M%SZ").replace(tzinfo=datetime.UTC)
        seconds = int(query["X-Amz-Expires"])
    except (KeyError, ValueError):
        return "AuthorizationQueryParametersError"
    if (query["X-Amz-Algorithm"], service, end) != (_ALGORITHM, "s3", "aws4_request"):
        return "AuthorizationQueryParametersError"
    if not 0 < seconds <= _LONGEST or not date.startswith(day) or region != REGION:
        return "AuthorizationQueryParametersError"
    if access_key != ACCESS_KEY:
        return "InvalidAccessKeyId"
    if not began - datetime.timedelta(minutes=15) <= now:
        return "RequestTimeTooSkewed"
    if now > began + datetime.timedelta(seconds=seconds):
        return "Request has expired"
    if "host" not in signed or not set(signed) <= fields.keys():
        return "SignedHeaders"
    canonical = "\n".join(
        (
            method,
            path,
            "&".join(sorted(it for it in text.split("&") if "X-Amz-Signature=" not in it)),
            *(f"{name}:{fields[name].strip()}" for name in signed),
            "",
            ";".join(signed),
            "UNSIGNED-PAYLOAD",
        )
    )
    scope = f"{day}/{region}/s3/aws4_request"
    digest = hashlib.sha256(canonical.encode()).hexdigest()
    key = f"AWS4{SECRET_KEY}".encode()
    for part in (day, region, "s3", "aws4_request", f"{_ALGORITHM}\n{date}\n{scope}\n{digest}"):
        key = hmac.digest(key, part.encode(), "sha256")
    return None if hmac.compare_digest(key.hex(), given) else "SignatureDoesNotMatch"
