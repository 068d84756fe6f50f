# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``rackspace``: Rackspace Cloud DNS."""

import contextlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

from oslo_config import cfg

from poppy.common import inspection
from poppy.common.chunks import chunks
from poppy.common.errors import PermanentError, RetryableError, succeeds
from poppy.dns.base import COMMON_OPTS, DNSDriver, occupied, possible
from poppy.dns.rackspace.api import API, Conflict
from poppy.dns.steering import Policy
from poppy.dns.zones import ZONES_OPT, Zones

#: Minimum TTL of Cloud DNS, in seconds.
MIN_TTL = 300
#: Common types of records that exclude a CNAME.
_FOREIGN = ("A", "AAAA", "MX", "NS", "SRV", "TXT")
#: Maximum records per call.
BATCH = 100
#: Timeout of health checks, in seconds.
HEALTH_TIMEOUT = 3.0


class Rackspace(DNSDriver):
    """Look up each name's record, then add, change or delete all records of a domain in one job.

    A job that adds or changes records is atomic.
    """

    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        *COMMON_OPTS,
        cfg.StrOpt("username", help="User name of the cloud account."),
        cfg.StrOpt("api_key", secret=True, help="The user's API key."),
        cfg.StrOpt(
            "auth_url",
            default="https://identity.api.rackspacecloud.com",
            help="URL of the identity service, without a version.",
        ),
        cfg.StrOpt(
            "url",
            help="URL of Cloud DNS with the account, such as "
            "https://dns.api.rackspacecloud.com/v1.0/1234. Unset: taken from the service catalog.",
        ),
        ZONES_OPT,
        cfg.FloatOpt("timeout", default=15.0, min=0.1, help="Timeout of an API call in seconds."),
        cfg.FloatOpt(
            "job_timeout",
            default=15.0,
            min=0,
            help="Seconds to wait for a job. If it takes longer, the operation is parked and "
            "checks the result later.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        options = self.options
        if not options.username or not options.api_key:
            raise self.config_error("username and api_key are both needed")
        if options.ttl < MIN_TTL:
            raise self.config_error(f"ttl is less than {MIN_TTL}, the minimum of Cloud DNS")
        self._api = self._make_api(options.timeout)
        self._asked_briefly = self._make_api(HEALTH_TIMEOUT)
        self._zones = Zones(options.zones, options.suffix, self._find_domain)

    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Set the CNAMEs with one job per domain; see :meth:`DNSDriver.ensure`."""
        for domain, names in self._zones.group(cnames).items():
            add, change = [], []
            for name in names:
                wanted = {"data": cnames[name], "ttl": self.options.ttl}
                known = self._record(domain, name)
                if known is None:
                    add.append({"name": name, "type": "CNAME", **wanted})
                elif {key: known[key] for key in wanted} != wanted:
                    change.append({"id": known["id"], "name": name, **wanted})
            if add or change:
                changed = ", ".join(str(it["name"]) for it in (*add, *change))
                inspection.differs(f"{changed}: no CNAME, or another one, at Cloud DNS")
            for method, records in (("PUT", change), ("POST", add)):
                for batch in chunks(records, BATCH):
                    self._run(method, domain, json={"records": batch})

    def differences(self, policies: Mapping[str, Policy]) -> Sequence[str]:
        """Find a name's other records before a change of it; see base."""
        try:
            return super().differences(policies)
        except inspection.Differs:
            for domain, names in self._zones.group(policies).items():
                for name in names:
                    self._check_free(domain, name)
            raise

    def _check_free(self, domain: str, name: str) -> None:
        """Raise PermanentError if a name has no CNAME and other records of common types."""
        if self._record(domain, name) is not None:
            return
        found = [kind for kind in _FOREIGN if self._record(domain, name, kind) is not None]
        if found:
            raise occupied(name, ", ".join(found))

    def remove(self, names: Sequence[str]) -> None:
        """Remove the CNAMEs with one job per domain; see :meth:`DNSDriver.remove`."""
        for domain, members in self._zones.group(possible(names)).items():
            found = [self._record(domain, name) for name in members]
            for batch in chunks([record["id"] for record in found if record is not None], BATCH):
                self._run("DELETE", domain, params={"id": batch})

    def health(self) -> bool:
        """Return whether Cloud DNS answers and accepts a token."""
        return succeeds(lambda: self._asked_briefly.get("/limits"))

    def _run(self, method: str, domain: str, **options: Any) -> None:
        try:
            with self._forgetting():
                self._api.run(method, f"/domains/{domain}/records", **options)
        except Conflict as exc:
            self._judge(domain, options["json"]["records"], exc)

    @contextlib.contextmanager
    def _forgetting(self) -> Iterator[None]:
        """Forget cached domain ids on a refusal: the domain may exist again with another id."""
        try:
            yield
        except PermanentError:
            self._zones.forget()
            raise

    def _judge(
        self, domain: str, records: Sequence[Mapping[str, Any]], conflict: Conflict
    ) -> None:
        """Raise the error for a conflict: with the driver's own record, or with a foreign one.

        The driver's own record may come from a job with a lost result.
        """
        missing = [it["name"] for it in records if self._record(domain, it["name"]) is None]
        if not missing:
            raise RetryableError(f"created concurrently: {conflict}") from conflict
        raise occupied(" or ".join(missing), str(conflict)) from conflict

    def _record(self, domain: str, name: str, kind: str = "CNAME") -> Mapping[str, Any] | None:
        """Return a record of a name. A search needs its type, so it can't find all records."""
        path = f"/domains/{domain}/records"
        with self._forgetting():
            found = self._api.get(path, type=kind, name=name)["records"]
        return next((record for record in found if record["name"] == name), None)

    def _find_domain(self, name: str) -> str | None:
        """Return the id of a domain; None if it does not exist."""
        found = self._api.get("/domains", name=name)["domains"]
        return next((str(domain["id"]) for domain in found if domain["name"] == name), None)

    def _make_api(self, timeout: float) -> API:
        options = self.options
        return API(
            self.name,
            options.auth_url,
            options.username,
            options.api_key,
            options.url,
            timeout,
            options.job_timeout,
        )
