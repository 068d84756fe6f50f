# SPDX-License-Identifier: Apache-2.0
"""The options of the provider ``akamai``."""

from collections.abc import Sequence

from oslo_config import cfg

from poppy.provider import log_store
from poppy.provider.akamai.rules import METHODS

CREDENTIALS: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "edgerc",
        help="An .edgerc file with the credentials of an API client with access to Property "
        "Manager, Domain Ownership Manager, CPS, Fast Purge, Reporting and, for log delivery, "
        "DataStream. The options below take precedence.",
    ),
    cfg.StrOpt("edgerc_section", default="default", help="Section of the .edgerc file."),
    cfg.StrOpt("host", help="Host of the API client: <name>.luna.akamaiapis.net."),
    cfg.StrOpt("client_token", secret=True, help="Client token of the API client."),
    cfg.StrOpt("client_secret", secret=True, help="Client secret of the API client."),
    cfg.StrOpt("access_token", secret=True, help="Access token of the API client."),
    cfg.StrOpt(
        "account_switch_key",
        help="Account to act on, for an API client that manages several accounts.",
    ),
    cfg.StrOpt(
        "api_url",
        help="URL of Akamai's APIs, for a proxy or for tests. Unset: https://<host>.",
    ),
    cfg.FloatOpt(
        "timeout",
        default=60.0,
        min=0.1,
        help="Timeout of an API call in seconds. Akamai needs some time to validate a rule tree.",
    ),
)

PLACE: Sequence[cfg.Opt] = (
    cfg.StrOpt("contract", help="Contract of all created objects (``ctr_...``)."),
    cfg.StrOpt("group", help="Group of all created objects (``grp_...``)."),
    cfg.StrOpt("product", default="prd_Fresca", help="Product of properties (``prd_...``)."),
    cfg.StrOpt(
        "network",
        default="PRODUCTION",
        choices=["STAGING", "PRODUCTION"],
        help="Network on which services are activated and purged. Names of STAGING are not for "
        "public use.",
    ),
    cfg.StrOpt(
        "rule_format",
        default="v2023-10-30",
        help="Dated rule format of properties. A fixed format protects services from changes in "
        "newer formats.",
    ),
    cfg.ListOpt(
        "notify_emails",
        default=[],
        help="Mail addresses that Akamai notifies of each activation. At least one is required.",
    ),
    cfg.DictOpt(
        "compliance_record",
        default={},
        help="Compliance record of activations on PRODUCTION, if the account needs one. "
        "noncomplianceReason:EMERGENCY or NO_PRODUCTION_TRAFFIC; OTHER with "
        "otherNoncomplianceReason; NONE with customerEmail, peerReviewedBy and unitTested:true. "
        "ticketId is optional.",
    ),
    cfg.FloatOpt(
        "poll_after",
        default=60.0,
        min=0.0,
        help="Seconds between polls of an activation or a certificate, if Akamai gives no "
        "estimate.",
    ),
)

DELIVERY: Sequence[cfg.Opt] = (
    cfg.StrOpt(
        "http_edge_hostname",
        default="{domain}.edgesuite.net",
        help="Edge hostname of http domains. With {domain}, each domain gets its own, which the "
        "driver creates. Without it, all domains share an edge hostname that you have created.",
    ),
    cfg.StrOpt(
        "shared_edge_hostname",
        help="Edge hostname of shared domains, which you have created with your wildcard "
        "certificate. Unset: no shared certificates.",
    ),
    cfg.StrOpt(
        "ip_version",
        default="IPV6_COMPLIANCE",
        choices=[("IPV4", "IPv4"), ("IPV6_COMPLIANCE", "both IPv4 and IPv6")],
        help="IP versions of new edge hostnames, for clients' connections.",
    ),
    cfg.StrOpt(
        "origin_ip_version",
        default="DUALSTACK",
        choices=["IPV4", "IPV6", "DUALSTACK"],
        help="IP versions of connections to origins.",
    ),
    cfg.ListOpt(
        "methods",
        default=list(METHODS),
        item_type=cfg.types.String(choices=list(METHODS)),
        help="Methods besides GET and HEAD that are forwarded to origins. Remove those that the "
        "product does not support.",
    ),
    cfg.BoolOpt(
        "allow_https_downgrade",
        default=False,
        help="Allow origins without TLS for services with https domains. Akamai uses HTTP to such "
        "origins for GET, HEAD and OPTIONS only, and not on every network.",
    ),
    cfg.BoolOpt(
        "large_files",
        default=False,
        help="Support objects above 1.8 GB, up to 323 GB. Akamai fetches objects above 100 MB in "
        "parts: origins must support byte ranges, and such an object must get a new URL when it "
        "changes.",
    ),
    cfg.BoolOpt(
        "http2",
        default=False,
        help="Offer HTTP/2 to clients of services with https domains.",
    ),
    cfg.BoolOpt(
        "http3",
        default=False,
        help="Offer HTTP/3 to clients of services with https domains. Their certificates must "
        "have QUIC and TLS 1.3 enabled.",
    ),
)

OWNERSHIP: Sequence[cfg.Opt] = (
    cfg.BoolOpt(
        "domain_validation",
        default=True,
        help="Claim new domains in Domain Ownership Manager and have tenants prove that they own "
        "them, which Akamai requires before it activates a property. Turn it off if you have "
        "validated all domains yourself (in the scope DOMAIN of a parent domain, say), or if your "
        "account is exempt.",
    ),
)

CERTIFICATES: Sequence[cfg.Opt] = (
    cfg.ListOpt(
        "san_certs",
        default=[],
        item_type=cfg.types.Integer(min=1),
        help="Ids of the CPS enrollments for domains with a san certificate, in the order in "
        "which they are filled. Empty: no san certificates.",
    ),
    cfg.IntOpt(
        "san_cert_hostname_limit",
        default=80,
        min=1,
        max=200,
        help="Maximum names of an enrollment in san_certs.",
    ),
    cfg.StrOpt(
        "enrollment_template",
        help="JSON file with a CPS enrollment, used as the template for each domain with an sni "
        "certificate. Unset: no sni certificates, unless default_certificates is true.",
    ),
    cfg.BoolOpt(
        "default_certificates",
        default=False,
        help="Let Akamai issue default DV certificates for new sni domains, without CPS "
        "enrollments; the contract must include them. Domains keep the certificate that they "
        "have. Keep enrollment_template for as long as some are from CPS.",
    ),
)

OPTS: Sequence[cfg.Opt] = (
    *CREDENTIALS,
    *PLACE,
    *DELIVERY,
    *OWNERSHIP,
    *CERTIFICATES,
    *log_store.OPTS,
)
