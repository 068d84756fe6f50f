# SPDX-License-Identifier: Apache-2.0
"""The options of the provider ``akamai``."""

from collections.abc import Sequence

from oslo_config import cfg

from poppy.provider.akamai.rules import METHODS

CREDENTIALS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "edgerc",
        help="An .edgerc file with the credentials of an API client that may use Property "
        "Manager, CPS, Fast Purge and Reporting. What is set by the options below comes first.",
    ),
    cfg.StrOpt("edgerc_section", default="default", help="The section of that file."),
    cfg.StrOpt("host", help="Host of the API client: <name>.luna.akamaiapis.net."),
    cfg.StrOpt("client_token", secret=True, help="Client token of the API client."),
    cfg.StrOpt("client_secret", secret=True, help="Client secret of the API client."),
    cfg.StrOpt("access_token", secret=True, help="Access token of the API client."),
    cfg.StrOpt(
        "account_switch_key",
        help="The account to act on, for an API client that manages several.",
    ),
    cfg.StrOpt(
        "api_url",
        help="Where Akamai's APIs are, if not at https://<host>: for a proxy, or for tests.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=60.0,
        min=0.1,
        help="Seconds until Akamai's answer to one call counts as lost; checking a rule tree "
        "takes it some time.",
    ),
)

PLACE: Sequence[cfg.Opt] = (
    cfg.StrOpt("contract", help="The contract that everything is made under (``ctr_...``)."),
    cfg.StrOpt("group", help="The group that everything is made in (``grp_...``)."),
    cfg.StrOpt("product", default="prd_Fresca", help="The product of properties (``prd_...``)."),
    cfg.StrOpt(
        "network",
        default="PRODUCTION",
        choices=["STAGING", "PRODUCTION"],
        help="The network that services are activated on, and purged from. Names of STAGING are "
        "not for the public.",
    ),
    cfg.StrOpt(
        "rule_format",
        default="v2023-10-30",
        help="The dated set of features that rules are written in. What Akamai changes in newer "
        "ones then changes nothing.",
    ),
    cfg.ListOpt(
        "notify_emails",
        default=[],
        help="Whom Akamai tells by mail of each activation; it asks for at least one address.",
    ),
    cfg.FloatOpt(
        "poll_after",
        default=60.0,
        min=0.0,
        help="Seconds between two looks at an activation or a certificate, where Akamai does "
        "not say.",
    ),
)

DELIVERY: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "http_edge_hostname",
        default="{domain}.edgesuite.net",
        help="The edge hostname of http domains. With {domain}, each domain gets its own, which "
        "is made when it is missing; without, one that you have made is shared by all.",
    ),
    cfg.StrOpt(
        "shared_edge_hostname",
        help="The edge hostname of shared domains, which you have made, with your wildcard "
        "certificate. Without it, no shared certificates.",
    ),
    cfg.StrOpt(
        "ip_version",
        default="IPV6_COMPLIANCE",
        choices=[("IPV4", "IPv4"), ("IPV6_COMPLIANCE", "both IPv4 and IPv6")],
        help="By which protocols clients reach new edge hostnames.",
    ),
    cfg.StrOpt(
        "origin_ip_version",
        default="DUALSTACK",
        choices=["IPV4", "IPV6", "DUALSTACK"],
        help="By which protocols origins are reached.",
    ),
    cfg.ListOpt(
        "methods",
        default=list(METHODS),
        item_type=cfg.types.String(choices=list(METHODS)),
        help="Methods besides GET and HEAD that are passed to origins. Take away what the "
        "product does not have.",
    ),
    cfg.BoolOpt(
        "allow_https_downgrade",
        default=False,
        help="Let services with https domains have origins without TLS. Akamai asks such an "
        "origin over HTTP for GET, HEAD and OPTIONS, and not on every network.",
    ),
)

CERTIFICATES: Sequence[cfg.Opt] = (
    cfg.ListOpt(
        "san_certs",
        default=[],
        item_type=cfg.types.Integer(min=1),
        help="Ids of CPS enrollments that domains with a san certificate are added to, the one "
        "to fill first first. Without any, no san certificates.",
    ),
    cfg.IntOpt(
        "san_cert_hostname_limit",
        default=80,
        min=1,
        max=200,
        help="Names that an enrollment of san_certs may have.",
    ),
    cfg.StrOpt(
        "enrollment_template",
        help="A JSON file with a CPS enrollment, from which one is made for each domain with an "
        "sni certificate. Without it, no sni certificates.",
    ),
)

OPTS: Sequence[cfg.Opt] = (*CREDENTIALS, *PLACE, *DELIVERY, *CERTIFICATES)
