# SPDX-License-Identifier: Apache-2.0
"""Promises about the options of origins."""

from typing import Any

from poppy.model.document.origins import Auth, HealthCheck, SecretHeader
from poppy.model.operations import Purge
from poppy.model.secrets import Secret
from poppy.model.specs import Origin
from poppy.provider.base import Capability
from poppy.testing.edge.origin import Reply
from poppy.testing.edge.promises import (
    ANY,
    BASIC,
    FIRST,
    NONE,
    NOTHING,
    SECOND,
    SECURE,
    VERIFIED,
    Ask,
    Document,
    Promise,
)

_SECRET = "a-secret-of-the-contract"  # noqa: S105
_FREE = ("/free",)


def _one(origin: str = FIRST, **options: Any) -> Document:
    return {**BASIC, "origins": (Origin(origin, **options),)}


def _two(main: str, options: dict[str, Any], **backup: Any) -> Document:
    spare = Origin(SECOND, backup_of="main", **backup)
    return {**BASIC, "origins": (Origin(main, name="main", **options), spare)}


def _backup(id: str, text: str, document: Document, *asks: Ask) -> Promise:
    return Promise(id, text, asks, document, _FREE, needs=Capability.ORIGIN_BACKUP)


_CHECK = HealthCheck("/health", interval=1, timeout=1)
#: The origins of the contract answer the path with 200.
_SICK = HealthCheck("/health", interval=1, timeout=1, status=(204,))
_BACKED = _two(FIRST, {}, backup_status=(404, 503))
_SIGNED = _one(
    hostheadertype="origin",
    auth=Auth("s3", "eu-central-1", "films", "AKIDEXAMPLE", Secret("0", _SECRET)),
)
_SIGNATURE = (
    "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/[0-9]{{8}}/eu-central-1/s3/aws4_request, ?"
    "SignedHeaders=[a-z0-9;-]+, ?Signature=[0-9a-f]{{64}}"
)

ORIGINS = (
    Promise(
        "origin-path",
        "An origin with a path receives it before the path of the request.",
        (
            Ask(forwards="/site{path}"),
            Ask("{path}?a=%20&b=/../", forwards="/site{path}?a=%20&b=/../"),
            Ask("//free/%7e{token}", forwards="/site//free/%7e{token}"),
            Ask("{path}", "POST", body=b"x", forwards="/site{path}"),
        ),
        _one(path="/site/"),
        _FREE,
        needs=Capability.ORIGIN_PATH,
    ),
    Promise(
        "origin-path-stays",
        "No request leaves the path of an origin.",
        tuple(
            Ask(f"/free/{dots}/{{token}}", status=(400, 403), gets=NOTHING, at_most=0)
            for dots in ("..", "../..", "%2e%2e", "..%2f..", "..;/..", "..%3b/..", "..%5c..")
        ),
        _one(path="/site"),
        _FREE,
        needs=Capability.ORIGIN_PATH,
    ),
    Promise(
        "origin-path-purge",
        "Purges use the path of the client, not that of the origin.",
        (
            Ask(),
            Ask(gets=0),
            Ask(purge=Purge("/site{path}", True), gets=0),
            Ask(purge=Purge("{path}", True), forwards="/site{path}", within=3),
        ),
        _one(path="/site"),
        ("/ttl-3600",),
        needs=Capability.ORIGIN_PATH,
    ),
    Promise(
        "origin-response-timeout",
        "An origin that has not answered after its response_timeout is given up.",
        (
            Ask(origin=Reply(delay=2), status=(503, 504), gets=NOTHING),
            Ask("{path}/post", "POST", body=b"x", status=(503, 504), gets=NOTHING),
        ),
        _one(response_timeout=1),
        _FREE,
        needs=Capability.ORIGIN_TIMEOUTS,
    ),
    Promise(
        "origin-patience",
        "An origin has all of its response_timeout to answer.",
        (Ask(origin=Reply(delay=4)), Ask("{path}/post", "POST", body=b"x")),
        _one(response_timeout=8),
        _FREE,
        needs=Capability.ORIGIN_TIMEOUTS,
    ),
    Promise(
        "origin-verify-name",
        "The edge asks for verify_name, and verifies that the certificate has it.",
        (Ask(reaches=SECURE), Ask("{path}/post", "POST", body=b"x", reaches=SECURE)),
        _one(SECURE, port=443, ssl=True, verify_name=VERIFIED),
        _FREE,
        needs=Capability.ORIGIN_VERIFY_NAME,
    ),
    Promise(
        "origin-other-name",
        "An origin without verify_name in its certificate receives no request.",
        (Ask(status=(502, 503), gets=NOTHING, at_most=0),),
        _one(SECURE, port=443, ssl=True, verify_name=f"other.{VERIFIED}"),
        _FREE,
        needs=Capability.ORIGIN_VERIFY_NAME,
    ),
    Promise(
        "origin-sick",
        "A backup stands in for an origin that fails its health checks.",
        (
            Ask(reaches=SECOND, within=10),
            Ask("{path}/post", "POST", body=b"x", reaches=SECOND),
        ),
        _two(FIRST, {"health_check": _SICK}),
        ("/ttl-0",),
        needs=Capability.ORIGIN_HEALTH_CHECK,
    ),
    Promise(
        "origin-healthy",
        "An origin that passes its health checks gets the requests.",
        (Ask(reaches=FIRST, after=3),),
        _two(FIRST, {"health_check": _CHECK}),
        ("/ttl-0",),
        needs=Capability.ORIGIN_HEALTH_CHECK,
    ),
    Promise(
        "origin-sick-backup",
        "A backup that fails its health checks does not stand in.",
        (Ask(origin=Reply(503), status=(503,), reaches=FIRST, at_most=1, after=3),),
        _two(FIRST, {}, health_check=_SICK),
        _FREE,
        needs=Capability.ORIGIN_HEALTH_CHECK,
    ),
    _backup(
        "backup-refused",
        "A backup stands in for an origin that refuses connections, whatever the method.",
        _two(NONE, {}),
        *(
            Ask(f"{{path}}/{method}", method, reaches=SECOND)
            for method in ("GET", "HEAD", "OPTIONS")
        ),
        *(
            Ask(f"{{path}}/{method}", method, body=b"x", reaches=SECOND)
            for method in ("POST", "PUT", "DELETE")
        ),
    ),
    _backup(
        "backup-status",
        "A backup stands in for a response with a status of backup_status.",
        _BACKED,
        Ask(origin=Reply(503, at=FIRST), reaches=SECOND, at_most=2),
        Ask("{path}/missing", origin=Reply(404, at=FIRST), reaches=SECOND, at_most=4),
        Ask("{path}/direct", fields={"Authorization": "Basic YTpi"}, reaches=SECOND),
    ),
    _backup(
        "backup-other-status",
        "Responses with other statuses are the origin's own.",
        _BACKED,
        Ask(origin=Reply(500, at=FIRST), status=(500,), reaches=FIRST, at_most=1),
    ),
    _backup(
        "backup-fails",
        "If the backup fails too, its response counts.",
        _BACKED,
        Ask(origin=Reply(503), status=(503,), reaches=SECOND, at_most=2, gets=ANY),
    ),
    _backup(
        "backup-reset",
        "A backup stands in for an origin that closes the connection without a response.",
        _BACKED,
        Ask(origin=Reply(fault="reset", at=FIRST), reaches=SECOND),
    ),
    _backup(
        "backup-slow",
        "A backup stands in for an origin that does not answer in time.",
        _two(FIRST, {"response_timeout": 1}),
        Ask(origin=Reply(delay=3, at=FIRST), reaches=SECOND),
    ),
    _backup(
        "backup-not-twice",
        "A request with a body that an origin has received is not sent to its backup.",
        _BACKED,
        Ask("{path}", "POST", body=b"x", origin=Reply(503, at=FIRST), status=(503,), at_most=1),
        Ask(
            "{path}",
            "POST",
            body=b"x",
            origin=Reply(fault="reset", at=FIRST),
            status=(502, 503),
            gets=NOTHING,
            at_most=2,
        ),
    ),
    Promise(
        "secret-header",
        "Origins receive the secret header of the edge, and none that a client sends.",
        (
            Ask(
                fields={"X-Origin-Secret": "forged", "X_Origin-Secret": "forged"},
                sees={"X-Origin-Secret": _SECRET, "X_Origin-Secret": None},
                has={"X-Origin-Secret": None},
            ),
            Ask("{path}/post", "POST", body=b"x", sees={"X-Origin-Secret": _SECRET}),
        ),
        _one(secret_header=SecretHeader("X-Origin-Secret", Secret("0", _SECRET))),
        _FREE,
        needs=Capability.ORIGIN_SECRET_HEADER,
    ),
    Promise(
        "signed-requests",
        "Requests to a bucket are signed by the edge, not by clients.",
        (
            Ask(
                sees={"Authorization": _SIGNATURE, "X-Amz-Security-Token": None},
                fields={"X-Amz-Security-Token": "forged"},
                forwards="/films{path}",
            ),
            Ask(
                "{path}",
                fields={"Authorization": "Basic YTpi"},
                sees={"Authorization": _SIGNATURE},
            ),
            Ask("{path}/head", "HEAD", sees={"Authorization": _SIGNATURE}),
        ),
        _SIGNED,
        _FREE,
        needs=Capability.ORIGIN_S3,
    ),
    Promise(
        "signed-reads",
        "Clients can only read objects of a bucket: they can't write, delete, or list them.",
        (
            *(
                Ask("{path}", method, body=b"x", status=(403, 405), gets=NOTHING, at_most=0)
                for method in ("PUT", "POST", "DELETE")
            ),
            Ask("{path}?acl&list-type=2", forwards="/films{path}"),
            Ask("/", status=(403, 404), gets=NOTHING),
        ),
        _SIGNED,
        _FREE,
        needs=Capability.ORIGIN_S3,
    ),
)
