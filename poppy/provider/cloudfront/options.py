# SPDX-License-Identifier: Apache-2.0
"""The options of the provider ``cloudfront``."""

import re

from oslo_config import cfg

from poppy.provider import log_store
from poppy.provider.cloudfront.origins import SHIELD_REGIONS
from poppy.vendors import aws

#: ARN of a published version, in the region that Lambda@Edge requires ("Restrictions on
#: Lambda@Edge" in the CloudFront developer guide).
_FUNCTION_VERSION = re.compile(r"arn:aws[a-z-]*:lambda:us-east-1:\d{12}:function:[\w-]{1,64}:\d+")

OPTS: tuple[cfg.Opt, ...] = (
    *aws.OPTS,
    cfg.StrOpt(
        "certificate_arn",
        help="ARN of the operator's own certificate in ACM (us-east-1). It is used for "
        "services if it covers all of their domains, such as shared domains. Unset: no shared "
        "certificates.",
    ),
    cfg.StrOpt(
        "price_class",
        default="PriceClass_All",
        choices=["PriceClass_All", "PriceClass_200", "PriceClass_100"],
        help="Price class, which selects CloudFront's edge locations; fewer cost less.",
    ),
    cfg.StrOpt(
        "minimum_protocol_version",
        default="TLSv1.2_2021",
        help="CloudFront security policy, which sets the minimum TLS version of viewers.",
    ),
    cfg.StrOpt(
        "cookies",
        default="pass",
        choices=[
            ("pass", "forward cookies to origins, and cache responses by cookie"),
            ("strip", "forward no cookies to origins"),
        ],
        help="How to handle cookies in requests.",
    ),
    cfg.StrOpt(
        "origin_response_function",
        regex=_FUNCTION_VERSION,
        help="ARN of a published version of a Lambda@Edge function (us-east-1) that every service "
        "uses for its origins' responses. With etc/cloudfront/origin-response.mjs, CloudFront "
        "shares no response that sets a cookie or varies by other headers. Unset: it does.",
    ),
    cfg.StrOpt(
        "cache_tag_header",
        regex="^[A-Za-z0-9-]{1,100}$",
        help="Response field in which origins list tags, with commas between them, for purges by "
        "tag: Cache-Tag, or x-amz-meta-cache-tag for origins in S3. Needs boto3 of May 2026 or "
        "later. Unset: no purges by tag.",
    ),
    cfg.StrOpt(
        "shield_region",
        choices=SHIELD_REGIONS,
        help="Region of CloudFront Origin Shield for origins with shield true: the one nearest to "
        "most origins. Amazon charges for shields. Unset: tenants must name a region.",
    ),
    cfg.FloatOpt(
        "poll_after",
        default=30.0,
        min=0.0,
        help="Seconds between polls for a change to reach every edge, which takes some minutes.",
    ),
    log_store.BUCKET,
)
