# SPDX-License-Identifier: Apache-2.0
"""Find, create, change and delete the distribution of a service."""

import re
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from oslo_log import log

from poppy.common import inspection
from poppy.common.errors import InProgressError, RetryableError
from poppy.provider.cloudfront.distribution import Viewer
from poppy.provider.cloudfront.merging import Config, complete, holds, items, merge
from poppy.vendors import aws

LOG = log.getLogger(__name__)

#: Marks of what a document adds that an operator may add by hand too: at the end of the comment.
_WAF, _PAGES = "waf", "pages"
_ID = re.compile(r"\bE[A-Z0-9]{6,31}\b")


class Distribution(NamedTuple):
    """The current state of a distribution.

    Attributes:
        arn: its ARN, which names it in other services of Amazon.
        domain_name: its own name, ``*.cloudfront.net``.
        is_deployed: whether its configuration has reached every edge.
        etag: the ETag of the configuration, needed for updates.
    """

    distribution_id: str
    arn: str
    domain_name: str
    is_deployed: bool
    etag: str
    config: Mapping[str, Any]

    @property
    def viewer(self) -> Viewer:
        """Its current aliases and certificate."""
        return Viewer(
            tuple(self.config["Aliases"].get("Items", ())),
            self.config["ViewerCertificate"].get("ACMCertificateArn") or None,
        )


class Distributions:
    """CloudFront distributions, at most one per service.

    The service's id is the distribution's caller reference, which CloudFront keeps unique. The
    comment also contains it, for searches.

    Args:
        poll_after: seconds between polls for a change to reach every edge.
    """

    def __init__(self, cloudfront: aws.Service, poll_after: float) -> None:
        self._cloudfront = cloudfront
        self._poll_after = poll_after

    def get(self, distribution_id: str) -> Distribution | None:
        """Return a distribution; None if it does not exist."""
        try:
            return _read(self._cloudfront.call("get_distribution", Id=distribution_id))
        except aws.Refused as exc:
            if exc.code == "NoSuchDistribution":
                return None
            raise

    def search(self, service_id: str) -> Distribution | None:
        """Search all distributions for that of a service; None if there is none."""
        for page in self._cloudfront.pages("list_distributions"):
            for entry in page["DistributionList"].get("Items", ()):
                if entry["Comment"].split()[:2] == ["poppy", service_id]:
                    return self.get(entry["Id"])
        return None

    def create(self, service_id: str, config: Config) -> Distribution:
        """Create the distribution of a service, or return the existing one."""
        whole = complete({"CallerReference": service_id, **_commented(service_id, config)})
        try:
            answer = self._cloudfront.call("create_distribution", DistributionConfig=whole)
        except aws.Refused as exc:
            if exc.code != "DistributionAlreadyExists":
                raise
            # The message ends with the id. That is undocumented, so fall back to a search.
            said = _ID.findall(str(exc))
            found = self.get(said[-1]) if said else None
            found = found or self.search(service_id)
            if found is None:
                raise RetryableError(str(exc)) from exc
            return found
        found = _read(answer)
        LOG.info("Created the distribution %s", found.distribution_id)
        return found

    def update(self, service_id: str, found: Distribution, config: Config) -> Distribution:
        """Update a distribution if it differs from the configuration, and return it.

        Values that CloudFront normalizes or an operator adds do not count as differences.
        """
        wanted = _commented(service_id, config)
        changes = [key for key, value in wanted.items() if not _has(found, key, value)]
        if not changes:
            return found
        inspection.differs(f"the distribution differs in {', '.join(changes)}")
        LOG.info("Changing %s of the distribution %s", ", ".join(changes), found.distribution_id)
        return self._write(found, complete(merge(wanted, _without_marked(found.config))))

    def delete(self, found: Distribution) -> None:
        """Disable a distribution, and delete it once every edge has disabled it.

        Raises:
            InProgressError: it is not deleted yet.
        """
        enabled = found.config["Enabled"]
        if enabled:
            self._write(found, {**found.config, "Enabled": False})
        if enabled or not found.is_deployed:
            raise InProgressError("CloudFront is disabling the distribution", self._poll_after)
        try:
            self._cloudfront.call(
                "delete_distribution", Id=found.distribution_id, IfMatch=found.etag
            )
        except aws.Refused as exc:
            if exc.code == "DistributionNotDisabled":
                raise InProgressError(str(exc), self._poll_after) from exc
            if exc.code != "NoSuchDistribution":
                raise

    def _write(self, found: Distribution, config: Mapping[str, Any]) -> Distribution:
        answer = self._cloudfront.call(
            "update_distribution",
            Id=found.distribution_id,
            IfMatch=found.etag,
            DistributionConfig=config,
        )
        return _read(answer)


def _commented(service_id: str, config: Config) -> Config:
    """Return a configuration with its comment, which names the marked parts that it has."""
    marks = [
        *([_WAF] if config.get("WebACLId") else []),
        *([_PAGES] if any(map(_has_page, _errors(config))) else []),
    ]
    return {**config, "Comment": " ".join(["poppy", service_id, *marks])}


def _without_marked(config: Mapping[str, Any]) -> Config:
    """Return an existing configuration without its marked parts.

    They came from a document, perhaps an earlier one. Others that an operator has added stay.
    """
    left, marks = dict(config), config["Comment"].split()[2:]
    if _WAF in marks:
        left["WebACLId"] = ""
    if _PAGES in marks:
        pages = ("ResponsePagePath", "ResponseCode")
        left["CustomErrorResponses"] = items(
            [{k: v for k, v in entry.items() if k not in pages} for entry in _errors(config)]
        )
    return left


def _errors(config: Mapping[str, Any]) -> Sequence[Mapping[str, Any]]:
    found: Sequence[Mapping[str, Any]] = config["CustomErrorResponses"].get("Items", ())
    return found


def _has_page(entry: Mapping[str, Any]) -> bool:
    return bool(entry.get("ResponsePagePath"))


def _has(found: Distribution, key: str, value: Any) -> bool:
    return holds({key: found.config.get(key)}, {key: value})


def _read(answer: Mapping[str, Any]) -> Distribution:
    entry = answer["Distribution"]
    return Distribution(
        distribution_id=entry["Id"],
        arn=entry["ARN"],
        domain_name=entry["DomainName"],
        is_deployed=entry["Status"] == "Deployed",
        etag=answer["ETag"],
        config=entry["DistributionConfig"],
    )
