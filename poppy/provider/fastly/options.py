# SPDX-License-Identifier: Apache-2.0
"""The options of the provider ``fastly``."""

from collections.abc import Sequence

from oslo_config import cfg

from poppy.provider import edges, log_store

OPTS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "token",
        secret=True,
        help="A user's API token or an automation token, with the scope global and the role "
        "engineer. Ordering certificates also needs the permission to manage TLS.",
    ),
    cfg.StrOpt("api_url", default="https://api.fastly.com", help="URL of Fastly's API."),
    cfg.FloatOpt(
        "timeout",
        default=30.0,
        min=0.1,
        help="Timeout of an API call in seconds.",
    ),
    cfg.StrOpt(
        "http_access_name",
        default="dualstack.nonssl.global.fastly.net",
        help="CNAME target of http domains; {domain} stands for the domain.",
    ),
    cfg.StrOpt(
        "tls_configuration",
        help="Id of the TLS configuration for san, sni and custom certificates. It determines the "
        "CNAME target of their domains. Default: the account's.",
    ),
    cfg.StrOpt(
        "certificate_authority",
        choices=["certainly", "lets-encrypt", "globalsign"],
        help="Certificate authority of san and sni certificates. Default: Fastly's.",
    ),
    cfg.StrOpt(
        "shared_tls_configuration",
        help="Id of the TLS configuration for shared domains, with a certificate that you "
        "have uploaded and activated at Fastly.",
    ),
    cfg.StrOpt(
        "shared_access_name",
        help="CNAME target of shared domains, instead of that of shared_tls_configuration. "
        "If both are unset, there are no shared certificates.",
    ),
    cfg.IntOpt(
        "grace",
        default=300,
        min=0,
        help="Seconds after its TTL, or after a soft purge, that an object may be served "
        "stale while a new one is fetched or the origin is down.",
    ),
    cfg.IntOpt(
        "stale_if_error",
        min=0,
        help="Seconds after its TTL, or after a soft purge, that an object may be served "
        "stale if the origin is down or answers with 5xx. Default: grace.",
    ),
    *edges.ORIGIN_TIMEOUTS,
    cfg.IntOpt(
        "max_backends",
        default=5,
        min=1,
        help="Maximum origins of a service: the account's limit on backends per service.",
    ),
    cfg.BoolOpt(
        "segmented_caching",
        default=True,
        help="Let Fastly cache large objects in segments. Otherwise it answers requests for "
        "objects of more than 20 MB with 503. Incompatible with Fastly's compression.",
    ),
    *log_store.OPTS,
)
