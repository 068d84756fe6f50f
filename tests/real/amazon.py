# SPDX-License-Identifier: Apache-2.0
"""The server that ``tests.real.moto`` starts: moto with rules of Amazon that moto lacks.

The rules of CloudFront are from its API reference (2020-05-31): entity tags change and are
compared, changes take time, only disabled and unused objects can be deleted, an alias belongs to
one distribution and needs an issued certificate that covers it, and functions are published and
kept. A creation fills in defaults, which an update must contain (:data:`_DISTRIBUTION`). For ACM,
a certificate in use can't be deleted. For Route 53, see :mod:`tests.real.amazon_route53`, for logs
:mod:`tests.real.amazon_logs`.

``POST /lab/acm`` with ``PENDING_VALIDATION``, ``ISSUED`` or ``FAILED`` sets the state of
certificates that were not validated yet; by default, they are issued. ``POST /lab/tagging`` with
``off`` hides new tags, as Amazon may do for some seconds, until a POST of ``on``.
``POST /lab/route53`` limits the requests per second to Route 53; 0 is no limit. ``POST /lab/txt``
with a JSON object sets the TXT records that CloudFront finds in DNS, by name.
"""

import copy
import functools
import json
import re
import sys
from collections.abc import Callable, Iterable
from typing import Any

from cryptography.hazmat.primitives.asymmetric import rsa
from moto.acm.models import AWSCertificateManagerBackend, CertBundle, acm_backends
from moto.cloudfront import models, urls
from moto.cloudfront.exceptions import CloudFrontException, NoSuchFunctionExists
from moto.cloudfront.models import CloudFrontBackend, CloudFrontFunction, DistributionConfig
from moto.cloudfront.responses import CloudFrontResponse
from moto.core.exceptions import AWSError
from moto.core.responses import ActionResult, EmptyResult
from moto.moto_server.werkzeug_app import DomainDispatcherApplication, create_backend_app
from werkzeug.serving import WSGIRequestHandler, make_server

from tests.real import amazon_logs, amazon_route53

_MOST_BEHAVIOURS = 75
_MOST_ORIGINS = 25
#: "HTTP status codes that CloudFront caches" and custom error pages, in the developer guide.
_ERROR_CODES = {400, 403, 404, 405, 414, 416, 500, 501, 502, 503, 504}
#: Default values by field. Updates require all of these fields ("Required API fields for creating
#: and updating distributions" in the developer guide; for origins and forwarded values, the error
#: messages quoted in boto/boto3 issues 1083 and 1558, aws-controllers-k8s issue 2335 and
#: ubergeek42/lambda-letsencrypt issue 22).
_NOTHING: dict[str, Any] = {"Quantity": 0}
_DISTRIBUTION: dict[str, Any] = {
    "Aliases": _NOTHING,
    "DefaultRootObject": "",
    "CacheBehaviors": _NOTHING,
    "CustomErrorResponses": _NOTHING,
    "Logging": {"Enabled": False, "IncludeCookies": False, "Bucket": "", "Prefix": ""},
    "PriceClass": "PriceClass_All",
    "ViewerCertificate": {"CloudFrontDefaultCertificate": True},
    "Restrictions": {"GeoRestriction": {"RestrictionType": "none", **_NOTHING}},
    "WebACLId": "",
    "HttpVersion": "http2",
}
_ORIGIN: dict[str, Any] = {
    "OriginPath": "",
    "CustomHeaders": _NOTHING,
    "ConnectionAttempts": 3,
    "ConnectionTimeout": 10,
    "OriginShield": {"Enabled": False},
}
_CUSTOM_ORIGIN: dict[str, Any] = {
    "OriginSslProtocols": {"Quantity": 1, "Items": ["TLSv1"]},
    "OriginReadTimeout": 30,
    "OriginKeepaliveTimeout": 5,
}
_READING = {"Quantity": 2, "Items": ["HEAD", "GET"]}
_BEHAVIOUR: dict[str, Any] = {
    "AllowedMethods": {**_READING, "CachedMethods": _READING},
    "SmoothStreaming": False,
    "Compress": False,
    "LambdaFunctionAssociations": _NOTHING,
    "FieldLevelEncryptionId": "",
}
_FORWARDED: dict[str, Any] = {"QueryStringCacheKeys": _NOTHING}
_LONGEST_CODE = 10240
_EVENTS = {"viewer-request", "viewer-response"}
_MOST_HEADERS = 10  #: Of a behaviour with legacy cache settings, and of requests to an origin.
#: Of certificates for CloudFront ("Prerequisites for importing ACM certificates").
_KEYS = {"RSA_1024", "RSA_2048", "RSA_3072", "EC_prime256v1"}
#: "Choosing the AWS Region for Origin Shield".
_SHIELDS = {
    *(
        "us-east-1",
        "us-east-2",
        "us-west-2",
        "sa-east-1",
        "eu-central-1",
        "eu-west-1",
        "eu-west-2",
    ),
    *("ap-south-1", "ap-northeast-1", "ap-northeast-2", "ap-southeast-1", "ap-southeast-2"),
}
#: "Custom headers that CloudFront can't add to origin requests".
_NO_CUSTOM = {
    *("cache-control", "connection", "content-length", "cookie", "host", "if-match"),
    *("if-modified-since", "if-none-match", "if-range", "if-unmodified-since", "max-forwards"),
    *("pragma", "proxy-authorization", "proxy-connection", "range", "request-range", "te"),
    *("trailer", "transfer-encoding", "upgrade", "via", "x-real-ip"),
}
#: "Restrictions on Lambda@Edge": a numbered version of a function in us-east-1.
_LAMBDA_VERSION = re.compile(r"arn:aws:lambda:us-east-1:\d{12}:function:[\w-]+:\d+")
_WEB_ACL = re.compile(r"arn:aws:wafv2:us-east-1:\d{12}:global/webacl/[\w-]+/[\w-]+")
_CONTROLS = {"acm": "ISSUED", "tagging": "on", "txt": "{}"}


def _refuse(code: str, message: str) -> None:
    raise CloudFrontException(code, message)


# --- distributions ---------------------------------------------------------------------------

_create, _update = CloudFrontBackend.create_distribution, CloudFrontBackend.update_distribution
_delete = CloudFrontBackend.delete_distribution
_behaviour = models.DefaultCacheBehaviour.__init__
_viewer_certificate = models.ViewerCertificate.__init__


def _init_behaviour(self: Any, config: dict[str, Any]) -> None:
    _behaviour(self, config)
    if "ForwardedValues" in config and config.get("CachePolicyId"):
        _refuse("InvalidArgument", "ForwardedValues and a cache policy exclude each other")
    self.function_associations = config.get("FunctionAssociations", {"Quantity": 0})
    self.lambda_function_associations = config.get("LambdaFunctionAssociations", _NOTHING)


def _init_certificate(self: Any, config: dict[str, Any]) -> None:
    _viewer_certificate(self, config)
    self.cloud_front_default_certificate = not self.acm_certificate_arn


def _lists(value: Any) -> Iterable[dict[str, Any]]:
    if isinstance(value, dict):
        if "Quantity" in value:
            yield value
        for entry in value.values():
            yield from _lists(entry)
    elif isinstance(value, list):
        for entry in value:
            yield from _lists(entry)


def _parts(config: dict[str, Any]) -> Iterable[tuple[dict[str, Any], dict[str, Any]]]:
    """Return the parts of a configuration as it was sent, with the defaults of each."""
    yield config, _DISTRIBUTION
    for origin in config["Origins"].get("Items") or []:
        yield origin, _ORIGIN
        if "CustomOriginConfig" in origin:
            yield origin["CustomOriginConfig"], _CUSTOM_ORIGIN
    others = config.get("CacheBehaviors", {}).get("Items") or []
    for behaviour in [config["DefaultCacheBehavior"], *others]:
        yield behaviour, _BEHAVIOUR
        if "ForwardedValues" in behaviour:
            yield behaviour["ForwardedValues"], _FORWARDED


def _fill(config: dict[str, Any]) -> None:
    for part, defaults in _parts(config):
        for name, value in defaults.items():
            part.setdefault(name, copy.deepcopy(value))


def _normalize(config: dict[str, Any]) -> None:
    """Change what Amazon stores in another way: the order of lists, and some letters' case.

    For HttpVersion, see aws/aws-sdk-js issue 2962.
    """
    config["HttpVersion"] = config["HttpVersion"].upper()
    for entry in _lists(config):
        if all(isinstance(value, str) for value in entry.get("Items") or [0]):
            entry["Items"].sort(reverse=True)


def _check_complete(config: dict[str, Any]) -> None:
    for part, defaults in _parts(config):
        for name in defaults:
            if name not in part:
                _refuse("IllegalUpdate", f"{name} is required for updates.")


def _functions(config: Any) -> Iterable[str]:
    """Return the ARNs of the functions of a configuration, as moto keeps it."""
    others = config.CacheBehaviors.get("Items") or []
    for entry in [config.DefaultCacheBehavior, *others]:
        for function in entry.function_associations.get("Items", []):
            yield function["FunctionARN"]


def _uses(distribution: Any) -> set[str]:
    """Return the ARNs of what a distribution uses."""
    config = distribution.distribution_config
    uses = {*_functions(config), config.ViewerCertificate.acm_certificate_arn}
    if distribution.status != "Deployed":
        uses |= vars(distribution).get("used", set())
    return uses


def _validate(backend: CloudFrontBackend, config: dict[str, Any], own: str | None) -> None:
    """Refuse what CloudFront would refuse; the configuration is as it was sent."""
    for entry in _lists(config):
        if int(entry["Quantity"]) != len(entry.get("Items") or []):
            _refuse("InconsistentQuantities", "The value of Quantity and the size of Items differ")
    patterns = [e["PathPattern"] for e in config["CacheBehaviors"].get("Items") or []]
    if len(patterns) > _MOST_BEHAVIOURS:
        _refuse("TooManyCacheBehaviors", "Too many cache behaviors")
    if len(set(patterns)) < len(patterns):
        _refuse("InvalidArgument", "The parameter PathPattern contains duplicates")
    origins = [origin["Id"] for origin in config["Origins"]["Items"]]
    if len(origins) > _MOST_ORIGINS:
        _refuse("TooManyOrigins", "Too many origins")
    if len(set(origins)) < len(origins):
        _refuse("InvalidArgument", "The parameter Origin Id contains duplicates")
    errors = (config.get("CustomErrorResponses") or {}).get("Items") or []
    codes = [int(entry["ErrorCode"]) for entry in errors]
    if set(codes) - _ERROR_CODES or len(set(codes)) < len(codes):
        _refuse("InvalidErrorCode", "An invalid error code was specified")
    for part, _ in _parts(config):
        if part.get("TargetOriginId", origins[0]) not in origins:
            _refuse("NoSuchOrigin", "One or more of your origins do not exist")
    _validate_settings(config)
    _validate_functions(config)
    _validate_aliases(backend, config, own)


def _validate_settings(config: dict[str, Any]) -> None:
    for origin in config["Origins"]["Items"]:
        _validate_origin(origin)
    if config.get("WebACLId") and not _WEB_ACL.fullmatch(config["WebACLId"]):
        _refuse("InvalidWebACLId", "The web ACL ID is not valid")


def _validate_origin(origin: dict[str, Any]) -> None:
    """Check the settings of an origin ("Origin settings" and "Quotas", developer guide)."""
    path, shield = origin.get("OriginPath", ""), origin.get("OriginShield", {})
    if path and (not path.startswith("/") or path.endswith("/") or len(path) > 255):
        _refuse("InvalidArgument", "The parameter OriginPath is not valid")
    timeouts = (
        ("ConnectionTimeout", origin, 10),
        ("OriginReadTimeout", origin.get("CustomOriginConfig", {}), 60),
    )
    for name, part, most in timeouts:
        if not 1 <= int(part.get(name, 1)) <= most:
            _refuse("InvalidArgument", f"The parameter {name} is not valid")
    is_shielded = str(shield.get("Enabled")).lower() == "true"
    if is_shielded and shield.get("OriginShieldRegion") not in _SHIELDS:
        _refuse("InvalidOriginShieldRegion", "The region has no origin shield")
    fields = origin.get("CustomHeaders", {}).get("Items") or []
    if len(fields) > _MOST_HEADERS:
        _refuse("TooManyOriginCustomHeaders", "Too many custom headers")
    for field in fields:
        name, value = field["HeaderName"].lower(), field["HeaderValue"]
        if name in _NO_CUSTOM or name.startswith(("x-amz-", "x-edge-")) or len(value) > 1783:
            _refuse("InvalidArgument", f"The header {name} is not valid")


def _validate_functions(config: dict[str, Any]) -> None:
    """Check associations, and the names of forwarded headers ("Quotas", developer guide)."""
    for part, _ in _parts(config):
        found = part.get("FunctionAssociations", {}).get("Items") or []
        events = [entry["EventType"] for entry in found]
        if set(events) - _EVENTS or len(set(events)) < len(events):
            _refuse("InvalidFunctionAssociation", "The events of the functions are not valid")
        if len(part.get("Headers", {}).get("Items") or []) > _MOST_HEADERS:
            _refuse("TooManyHeadersInForwardedValues", "Too many headers in forwarded values")
        for entry in part.get("LambdaFunctionAssociations", {}).get("Items") or []:
            if not _LAMBDA_VERSION.fullmatch(entry["LambdaFunctionARN"]):
                _refuse("InvalidLambdaFunctionAssociation", "The function is no published version")


def _validate_aliases(backend: CloudFrontBackend, config: dict[str, Any], own: str | None) -> None:
    aliases = set(config["Aliases"].get("Items") or [])
    for other in backend.distributions.values():
        taken = set(other.distribution_config.Aliases.get("Items") or [])
        if other.distribution_id != own and taken & aliases:
            _refuse("CNAMEAlreadyExists", "One or more of the CNAMEs are already associated")
    if not aliases:
        return
    arn = config["ViewerCertificate"].get("ACMCertificateArn", "")
    held = acm_backends[backend.account_id]["us-east-1"]._certificates.get(arn)
    if held is None:
        _refuse(
            "InvalidViewerCertificate", "To add an alternate domain name, attach a certificate"
        )
        return
    held.check()
    if held.describe()["Certificate"]["KeyAlgorithm"] not in _KEYS:
        _refuse("InvalidViewerCertificate", "The key of the certificate is not supported")
    for alias in aliases:
        covered = {alias, f"*.{alias.partition('.')[2]}"} & {*held.sans, held.common_name}
        if held.status != "ISSUED" or not covered:
            _refuse("InvalidViewerCertificate", f"The certificate does not cover {alias}")


def _check_functions(backend: CloudFrontBackend, config: DistributionConfig) -> None:
    live = {f.arn for f in backend.functions.values() if f.stage == "LIVE"}
    for arn in _functions(config):
        if arn not in live:
            _refuse("InvalidFunctionAssociation", f"There is no published function {arn}")


def _create_distribution(
    self: CloudFrontBackend, distribution_config: dict[str, Any], tags: list[dict[str, str]]
) -> Any:
    known = self._distribution_with_caller_reference(distribution_config["CallerReference"])
    if known is None:
        _fill(distribution_config)
        _validate(self, distribution_config, None)
    _normalize(distribution_config)
    made = _create(self, distribution_config, tags)
    try:
        _check_functions(self, made[0].distribution_config)
    except CloudFrontException:
        del self.distributions[made[0].distribution_id]
        raise
    return made


def _match(known: str, sent: Any) -> None:
    if sent != known:
        _refuse("PreconditionFailed", "The precondition in the request evaluated to false")


def _update_distribution(
    self: CloudFrontBackend, dist_config: dict[str, Any], _id: str, if_match: Any
) -> Any:
    found, etag = self.get_distribution(_id)
    _match(etag, if_match)
    _check_complete(dist_config)
    _validate(self, dist_config, _id)
    before = found.distribution_config
    used = _uses(found)
    _normalize(dist_config)
    _update(self, dist_config, _id, if_match)
    try:
        _check_functions(self, found.distribution_config)
    except CloudFrontException:
        found.distribution_config = before
        raise
    # Edges use the earlier configuration until the change has reached them.
    found.used = used
    found.etag = models.random_id()
    found.status = "InProgress"
    found._tick = 0
    return found, found.location, found.etag


def _delete_distribution(self: CloudFrontBackend, distribution_id: str, if_match: Any) -> None:
    found, etag = self.get_distribution(distribution_id)
    _match(etag, if_match)
    if str(found.distribution_config.Enabled).lower() != "false" or found.status != "Deployed":
        _refuse("DistributionNotDisabled", "The distribution you are trying to delete is in use")
    if amazon_logs.has_source(self, found.arn):
        _refuse("ResourceInUse", "The logs of the distribution are delivered")
    _delete(self, distribution_id, if_match)


models.DefaultCacheBehaviour.__init__ = _init_behaviour  # type: ignore[method-assign]
models.DISTRIBUTION_CONFIG_FIELDS.append("CacheTagConfig")
models.ViewerCertificate.__init__ = _init_certificate  # type: ignore[method-assign]
CloudFrontBackend.create_distribution = _create_distribution  # type: ignore[method-assign]
CloudFrontBackend.update_distribution = _update_distribution  # type: ignore[method-assign]
CloudFrontBackend.delete_distribution = _delete_distribution  # type: ignore[method-assign]


# --- aliases of other distributions ----------------------------------------------------------
# "Move an alternate domain name" in the developer guide; AssociateAlias and ListConflictingAliases
# in the API reference.


def _holders(backend: CloudFrontBackend, alias: str) -> Iterable[Any]:
    for distribution in backend.distributions.values():
        if alias in (distribution.distribution_config.Aliases.get("Items") or []):
            yield distribution


def _covering(backend: CloudFrontBackend, distribution_id: str, alias: str) -> Any:
    """Return a distribution, which must have a certificate for an alias."""
    found, _ = backend.get_distribution(distribution_id)
    arn = found.distribution_config.ViewerCertificate.acm_certificate_arn
    held = acm_backends[backend.account_id]["us-east-1"]._certificates.get(arn)
    names = {*held.sans, held.common_name} if held else set()
    if not names & {alias, f"*.{alias.partition('.')[2]}"}:
        _refuse("InvalidArgument", f"The distribution has no certificate for {alias}")
    return found


def _list_conflicting_aliases(self: CloudFrontResponse) -> ActionResult:
    alias, target = self._get_param("Alias"), self._get_param("DistributionId")
    _covering(self.backend, target, alias)
    found = [
        {
            "Alias": alias,
            "DistributionId": "*" * 7 + other.distribution_id[7:],
            "AccountId": "******789012",
        }
        for other in _holders(self.backend, alias)
        if other.distribution_id != target
    ]
    listed = {"MaxItems": 100, "Quantity": len(found), "Items": found}
    return ActionResult({"ConflictingAliasesList": listed})


def _associate_alias(self: CloudFrontResponse) -> EmptyResult:
    alias = self._get_param("Alias")
    target = _covering(self.backend, self._get_param("TargetDistributionId"), alias)
    if json.loads(_CONTROLS["txt"]).get(f"_{alias}") != target.domain_name:
        _refuse("IllegalUpdate", f"The TXT record _{alias} does not name the target distribution")
    for other in _holders(self.backend, alias):
        other.distribution_config.Aliases["Items"].remove(alias)
        other.distribution_config.Aliases["Quantity"] -= 1
    aliases = target.distribution_config.Aliases
    aliases["Items"] = [*(aliases.get("Items") or []), alias]
    aliases["Quantity"] = len(aliases["Items"])
    target.etag = models.random_id()
    return EmptyResult()


CloudFrontResponse.list_conflicting_aliases = (  # type: ignore[attr-defined]
    _list_conflicting_aliases
)
CloudFrontResponse.associate_alias = _associate_alias  # type: ignore[attr-defined]
_ALIAS_PATHS = ("conflicting-alias$", "distribution/(?P<distribution_id>[^/]+)/associate-alias$")
for _path in _ALIAS_PATHS:
    urls.url_paths[f"{{0}}/2020-05-31/{_path}"] = CloudFrontResponse.dispatch


# --- invalidations ---------------------------------------------------------------------------

_invalidate = CloudFrontBackend.create_invalidation


def _check_invalidation(
    self: CloudFrontBackend, dist_id: str, paths: list[str], earlier: list[Any]
) -> None:
    """Refuse what CloudFront would refuse ("Quotas", "Invalidating content by cache tags")."""
    config = self.distributions[dist_id].distribution_config
    tags = [path[1:] for path in paths if path.startswith("#")]
    if tags and not hasattr(config, "CacheTagConfig"):
        _refuse("InvalidArgument", "The distribution has no CacheTagConfig")
    if not all(re.fullmatch(r"[!-+\--~]{1,256}", tag) for tag in tags):
        _refuse("InvalidArgument", "A tag is not valid")
    if not all(path.startswith(("/", "#")) for path in paths):
        _refuse("InvalidArgument", "A path does not begin with a slash")
    running = [path for it in earlier if it.status != "Completed" for path in it.paths] + paths
    wildcards = [path for path in running if path.startswith("/") and path.endswith("*")]
    if len(running) > 3000 or len(wildcards) > 15:
        _refuse("TooManyInvalidationsInProgress", "Too many invalidations are in progress")


def _create_invalidation(
    self: CloudFrontBackend, dist_id: str, paths: list[str], caller_ref: str
) -> Any:
    """Create an invalidation, which is complete when it is asked for again."""
    earlier = self.invalidations.get(dist_id, [])
    for known in earlier:
        if known.caller_ref == caller_ref:
            if sorted(known.paths) != sorted(paths):
                _refuse(
                    "InvalidArgument",
                    "Your request contains a caller reference that was used for a previous "
                    "invalidation batch for the same distribution.",
                )
            known.status = "Completed"
            return known
    if dist_id in self.distributions:
        _check_invalidation(self, dist_id, paths, earlier)
    made = _invalidate(self, dist_id, paths, caller_ref)
    made.status = "InProgress"
    return made


CloudFrontBackend.create_invalidation = _create_invalidation  # type: ignore[method-assign]


# --- functions -------------------------------------------------------------------------------

_create_function, _delete_function = (
    CloudFrontBackend.create_function,
    CloudFrontBackend.delete_function,
)
_describe_function = CloudFrontResponse.describe_function


def _make_function(self: CloudFrontBackend, function_code: bytes, **kwargs: Any) -> Any:
    if len(function_code) > _LONGEST_CODE:
        _refuse("FunctionSizeLimitExceeded", "The function is too large")
    return _create_function(self, function_code=function_code, **kwargs)


def _drop_function(self: CloudFrontBackend, name: str, if_match: Any) -> None:
    function = self.describe_function(name)
    _match(function.etag, if_match)
    for distribution in self.distributions.values():
        if function.arn in _uses(distribution):
            _refuse("FunctionInUse", "The function is associated with a distribution")
    _delete_function(self, name, if_match)


def _describe_stage(self: CloudFrontResponse) -> ActionResult:
    function: CloudFrontFunction = self.backend.describe_function(self._get_param("Name"))
    if self._get_param("Stage") == "LIVE" and function.stage != "LIVE":
        raise NoSuchFunctionExists(function.name)
    return _describe_function(self)


def _publish_function(self: CloudFrontResponse) -> ActionResult:
    function: CloudFrontFunction = self.backend.describe_function(self._get_param("Name"))
    _match(function.etag, self._get_param("IfMatch"))
    function.stage, function.status = "LIVE", "UNASSOCIATED"
    return ActionResult({"FunctionSummary": function.function_summary})


CloudFrontBackend.create_function = _make_function  # type: ignore[method-assign]
CloudFrontBackend.delete_function = _drop_function  # type: ignore[method-assign]
CloudFrontResponse.describe_function = _describe_stage  # type: ignore[method-assign]
CloudFrontResponse.publish_function = _publish_function  # type: ignore[attr-defined]
urls.url_paths["{0}/2020-05-31/function/(?P<function_name>[^/]+)/publish$"] = (
    CloudFrontResponse.dispatch
)


# --- certificates ----------------------------------------------------------------------------

_delete_certificate = AWSCertificateManagerBackend.delete_certificate
_request_certificate = AWSCertificateManagerBackend.request_certificate


# Generating a key takes long, and no test needs it.
rsa.generate_private_key = functools.cache(rsa.generate_private_key)


def _validation(self: CertBundle) -> None:
    if self.status == "PENDING_VALIDATION":
        self.status = _CONTROLS["acm"]


class _InUse(AWSError):
    TYPE = "ResourceInUseException"


def _drop_certificate(self: AWSCertificateManagerBackend, arn: str) -> None:
    for distribution in models.cloudfront_backends[self.account_id]["aws"].distributions.values():
        if arn in _uses(distribution):
            raise _InUse(f"Certificate {arn} is in use")
    _delete_certificate(self, arn)


def _ask_certificate(
    self: AWSCertificateManagerBackend,
    domain_name: str,
    idempotency_token: str,
    *args: Any,
    **kwargs: Any,
) -> str:
    # Amazon does not document what happens if a certificate was deleted within the hour. The
    # worst case would be to return it again.
    arn = self._get_arn_from_idempotency_token(idempotency_token)
    if arn and arn not in self._certificates:
        return arn
    return _request_certificate(self, domain_name, idempotency_token, *args, **kwargs)


_list_certificates = AWSCertificateManagerBackend.list_certificates
_describe_certificate = CertBundle.describe
#: Key types that ListCertificates lists without a filter (API reference).
_LISTED_KEYS = ["RSA_1024", "RSA_2048"]


def _list(
    self: AWSCertificateManagerBackend, statuses: list[str], includes: dict[str, Any]
) -> Any:
    return _list_certificates(self, statuses, {"keyTypes": _LISTED_KEYS, **(includes or {})})


def _describe(self: CertBundle) -> dict[str, Any]:
    """Add the names that ListCertificates returns."""
    answer = _describe_certificate(self)
    answer["Certificate"]["SubjectAlternativeNameSummaries"] = self.sans[:100]
    answer["Certificate"]["HasAdditionalSubjectAlternativeNames"] = len(self.sans) > 100
    return answer


def _tagged(self: AWSCertificateManagerBackend) -> Iterable[Any]:
    return _iter_tagged(self) if _CONTROLS["tagging"] == "on" else ()


_iter_tagged = AWSCertificateManagerBackend.iter_tagged_resources
AWSCertificateManagerBackend.iter_tagged_resources = _tagged  # type: ignore[method-assign, assignment]
AWSCertificateManagerBackend.list_certificates = _list  # type: ignore[method-assign]
CertBundle.describe = _describe  # type: ignore[method-assign]
CertBundle.check = _validation  # type: ignore[method-assign]
AWSCertificateManagerBackend.delete_certificate = _drop_certificate  # type: ignore[method-assign]
AWSCertificateManagerBackend.request_certificate = _ask_certificate  # type: ignore[method-assign]


# --- the server ------------------------------------------------------------------------------


def _with_controls(application: Callable[..., Any]) -> Callable[..., Any]:
    def wrapped(environ: dict[str, Any], start_response: Callable[..., Any]) -> Any:
        _, lab, name = f"{environ['PATH_INFO']}//".split("/")[:3]
        if lab != "lab":
            return application(environ, start_response)
        _CONTROLS[name] = environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])).decode()
        start_response("204 No Content", [])
        return []

    return wrapped


class _Quiet(WSGIRequestHandler):
    protocol_version = "HTTP/1.1"
    # Otherwise, the client's delayed acknowledgement adds 40 ms to each answer.
    disable_nagle_algorithm = True

    def log_request(self, *_args: Any) -> None:
        pass


def main() -> None:
    """Serve on a free port of the address in the first argument, and print the port."""
    amazon_route53.install(_CONTROLS)
    amazon_logs.install()
    application = DomainDispatcherApplication(create_backend_app)
    server = make_server(
        sys.argv[1], 0, _with_controls(application), threaded=True, request_handler=_Quiet
    )
    print(server.port, flush=True)
    server.serve_forever()


if __name__ == "__main__":
    main()
