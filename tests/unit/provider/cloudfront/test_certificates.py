# SPDX-License-Identifier: Apache-2.0
"""Names of certificates in AWS Certificate Manager."""

from typing import Any, cast

import pytest

from poppy.common.errors import PermanentError
from poppy.provider.cloudfront.certificates import (
    SERVICE_TAG,
    Certificates,
    Owner,
    check_names,
)
from poppy.vendors import aws

LONG = f"{'a' * 60}.long.example.com"
SHORT = "www.short.example.com"


class ACM:
    """A double with the limit of the API reference: 64 characters for the domain name."""

    def __init__(self) -> None:
        self.asked: dict[str, Any] = {}

    def call(self, name: str, **options: Any) -> dict[str, Any]:
        if name == "request_certificate":
            if len(options["DomainName"]) > 64:
                raise PermanentError("DomainName: Member must have length less than 65")
            self.asked = options
            return {"CertificateArn": "arn:1"}
        names = self.asked["SubjectAlternativeNames"]
        return {
            "Certificate": {
                "CertificateArn": "arn:1",
                "DomainName": self.asked["DomainName"],
                "SubjectAlternativeNames": names,
                "Status": "PENDING_VALIDATION",
            }
        }

    def pages(self, name: str, **options: Any) -> list[dict[str, Any]]:
        return [{"ResourceTagMappingList": []}]


def test_the_shortest_name_is_the_common_name() -> None:
    acm = ACM()
    service = cast(aws.Service, acm)
    found = Certificates(service, service).ensure(Owner(SERVICE_TAG, "1"), {LONG, SHORT})
    assert acm.asked["DomainName"] == SHORT
    assert set(acm.asked["SubjectAlternativeNames"]) == {LONG, SHORT}
    assert found.names == {LONG, SHORT}


def test_one_name_must_fit_in_a_common_name() -> None:
    check_names({LONG, SHORT})
    check_names({"a" * 52 + ".example.com"})
    with pytest.raises(PermanentError, match=f"the shortest, {LONG}, has {len(LONG)}"):
        check_names({LONG, f"a.{LONG}"})
