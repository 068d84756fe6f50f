# SPDX-License-Identifier: Apache-2.0
"""The DNS driver ``powerdns``: PowerDNS Authoritative Server, with its HTTP API."""

import urllib.parse
from collections.abc import Mapping, Sequence
from dataclasses import replace
from http import HTTPStatus
from typing import Any, ClassVar

import requests
from oslo_config import cfg
from oslo_log import log

from poppy.common.errors import PermanentError, Unauthorized, succeeds
from poppy.common.http import Client
from poppy.dns.base import COMMON_OPTS, DNSDriver, difference, occupied, possible
from poppy.dns.powerdns_lua import address_record, record
from poppy.dns.servers import Servers
from poppy.dns.steering import AddressPool, Policy, Steering, families, sharing, together
from poppy.dns.zones import ZONES_OPT, Zones

LOG = log.getLogger(__name__)

#: Seconds to connect, and to wait for an answer, in health checks.
HEALTH_TIMEOUT = (2.0, 2.0)
#: Kinds of zones that PowerDNS transfers to secondaries; newer versions say "Primary".
_TRANSFERRED = ("Master", "Primary", "Producer")


class PowerDNS(DNSDriver):
    """Send one PATCH per zone, which the server applies atomically.

    See https://doc.powerdns.com/authoritative/http-api/zone.html for the API (v1).

    A PATCH increases a zone's serial number only if the zone has ``SOA-EDIT-API``
    (https://doc.powerdns.com/authoritative/domainmetadata.html). The driver does not change this
    setting of the operator's. It refuses to add names to a zone that secondaries would not update.
    """

    KEEPS_EDGE: ClassVar[bool] = True

    TEXTS: ClassVar[bool] = True
    OPTS: ClassVar[Sequence[cfg.Opt]] = (
        *COMMON_OPTS,
        cfg.ListOpt(
            "urls",
            default=["http://127.0.0.1:8081"],
            help="URLs of the server's API. If one does not answer, the next one is used. All "
            "must serve the same zones.",
        ),
        cfg.StrOpt("api_key", secret=True, help="The server's api-key."),
        cfg.StrOpt("server_id", default="localhost", help="The server's id in API paths."),
        ZONES_OPT,
        cfg.FloatOpt("timeout", default=10.0, min=0.1, help="Timeout of an API call in seconds."),
        cfg.ListOpt(
            "steering",
            item_type=cfg.types.String(choices=[str(it) for it in Steering]),
            default=[],
            help="Steering that the server's LUA records support: weights (needs "
            "enable-lua-records) and geography (also needs the geoip backend with a database).",
        ),
        cfg.StrOpt(
            "ca_file",
            help="CA bundle to verify an https API. Unset: the well-known CAs.",
        ),
    )

    def __init__(self, conf: cfg.ConfigOpts, name: str) -> None:
        super().__init__(conf, name)
        options = self.options
        if not options.urls or not options.api_key:
            raise self.config_error(f"{'api_key' if options.urls else 'urls'} is missing")
        self._servers = self._clients((options.timeout, options.timeout))
        self._asked_briefly = self._clients(HEALTH_TIMEOUT)
        self._zones = Zones(options.zones, options.suffix, self._find_zone)
        self._checked: set[str] = set()

    @property
    def steering(self) -> frozenset[Steering]:
        """The steering in the options; the API does not report it."""
        return frozenset(map(Steering, self.options.steering))

    def ensure(self, cnames: Mapping[str, str]) -> None:
        """Set the CNAMEs with one request per zone; see :meth:`DNSDriver.ensure`."""
        self._replace("LUA", "CNAME", {name: f"{target}." for name, target in cnames.items()})

    def steer(self, policies: Mapping[str, Policy]) -> None:
        """Set LUA records that return CNAMEs; see :meth:`DNSDriver.steer`."""
        self._replace("CNAME", "LUA", {name: record(it) for name, it in policies.items()})

    def differences(self, policies: Mapping[str, Policy]) -> Sequence[str]:
        """Compare the records of each name; see :meth:`DNSDriver.differences`."""
        found = []
        for zone, names in self._zones.group(policies).items():
            for name in names:
                found.append(self._difference(zone, name, policies[name]))
        return [it for it in found if it]

    def _difference(self, zone: str, name: str, policy: Policy) -> str | None:
        path, params = self._path("zones", zone), {"rrset_name": f"{name}."}
        answer = self._servers.call(lambda it: it.json("GET", path, params=params))
        # Servers before 4.6 return the records of all names.
        present = {
            rrset["type"]: rrset["records"][0]["content"]
            for rrset in answer["rrsets"]
            if rrset["name"] == f"{name}." and rrset["records"]
        }
        contents = {kind: it for kind, it in present.items() if kind in self._kinds()}
        if foreign := sorted(present.keys() - contents.keys()):
            raise occupied(name, ", ".join(foreign))
        if len(policy) == 1:
            return difference(name, contents.get("CNAME"), policy[0].name)
        if contents == {"LUA": record(policy)}:
            return None
        return f"{name} has no LUA record for its providers, or another one"

    def ensure_edge(self, name: str, pools: Sequence[AddressPool], ttl: int) -> None:
        """Set A and AAAA records, or LUA records that return them, with one request.

        See :meth:`DNSDriver.ensure_edge`.
        """
        if Steering.GEOGRAPHY not in self.steering:
            pools = [replace(pool, countries=(), continents=()) for pool in pools]
        by_type = families(pools)
        contents: dict[str, Sequence[str]] = {kind: together(it) for kind, it in by_type.items()}
        several = len(sharing(pools)) > 1 or any(pool.is_local for pool in pools)
        if self.steering and several:
            contents = {"LUA": [address_record(kind, it) for kind, it in by_type.items()]}
        zone = self._zones.of(name)
        self._check(zone)
        gone = {"A", "AAAA", *self._kinds()} - contents.keys()
        records = [_records(name, kind, it, ttl) for kind, it in contents.items()]
        self._patch(zone, [*(_nothing(name, kind) for kind in sorted(gone)), *records])

    def set_texts(self, name: str, values: Sequence[str]) -> None:
        """Replace the TXT records with one request; see :meth:`DNSDriver.set_texts`."""
        zone = self._zones.of(name)
        self._check(zone)
        texts = [f'"{value}"' for value in values]
        made = _records(name, "TXT", texts, self.options.ttl) if texts else _nothing(name, "TXT")
        self._patch(zone, [made])

    def remove(self, names: Sequence[str]) -> None:
        """Remove the records with one request per zone; see :meth:`DNSDriver.remove`."""
        for zone, members in self._zones.group(possible(names)).items():
            try:
                self._check(zone)
            except PermanentError as exc:
                LOG.warning("%s", exc)
            gone = [_nothing(name, kind) for name in members for kind in self._kinds()]
            self._patch(zone, gone)

    def remarks(self) -> Sequence[str]:
        """Check that the serial numbers of the zones grow; see :meth:`DNSDriver.remarks`."""
        zones = self._zones.group([self.options.suffix, *self.shared_domains("www")])
        found = [self._remark(zone) for zone in zones]
        return [remark for remark in found if remark]

    def _replace(self, old: str, new: str, contents: Mapping[str, str]) -> None:
        """Replace records of type ``old`` with records of type ``new``."""
        for zone, names in self._zones.group(contents).items():
            self._check(zone)
            # Delete first: the server refuses a record next to one that is deleted later.
            gone = [_nothing(name, old) for name in names if old in self._kinds()]
            ttl = self.options.ttl
            self._patch(zone, gone + [_record(name, new, contents[name], ttl) for name in names])

    def _kinds(self) -> Sequence[str]:
        """The types of records that the driver may have created."""
        return ("CNAME", "LUA") if self.steering else ("CNAME",)

    def health(self) -> bool:
        """Return whether the API answers and accepts the key."""
        return succeeds(
            lambda: self._asked_briefly.call(lambda it: it.request("GET", self._path()))
        )

    def _check(self, zone: str) -> None:
        """Check a zone's serial number before the first change; log a remark.

        Raises:
            PermanentError: see :meth:`_remark`. The zone is checked again next time.
        """
        if zone not in self._checked:
            remark = self._remark(zone)
            if remark:
                LOG.warning("%s", remark)
            self._checked.add(zone)

    def _remark(self, zone: str) -> str | None:
        """Return a remark if it is not known that a zone's serial number grows with changes.

        Raises:
            PermanentError: it does not grow, and the zone is transferred to secondaries.
        """
        path = self._path("zones", zone)
        params = {"rrsets": "false"}
        try:
            found = self._servers.call(lambda it: it.json("GET", path, params=params))
        except (Unauthorized, PermanentError) as exc:
            # A proxy may allow only the changes, which tell whether the key or the zone is wrong.
            return f"{self.name} can't check that the serial number of zone {zone} grows: {exc}"
        if found.get("soa_edit_api"):
            return None
        name = str(found["name"]).rstrip(".")
        remark = (
            f"Changes do not increase the serial number of zone {name} ({found['kind']}), so "
            f"secondaries do not transfer them. Run: pdnsutil set-meta {name} SOA-EDIT-API DEFAULT"
        )
        if found["kind"] in _TRANSFERRED:
            raise PermanentError(remark)
        return remark

    def _patch(self, zone: str, rrsets: Sequence[Mapping[str, Any]]) -> None:
        path = self._path("zones", zone)
        body = {"rrsets": rrsets}
        accept = (HTTPStatus.NOT_FOUND,)
        answer = self._servers.call(lambda it: it.request("PATCH", path, json=body, accept=accept))
        if not answer.ok:
            self._zones.forget()
            self._checked.clear()
            raise PermanentError(f"{self.name} has no zone {zone}")

    def _find_zone(self, name: str) -> str | None:
        """Return the id of a zone: its name, with some characters escaped for paths."""
        if self.options.zones:
            return f"{name}."
        params = {"zone": f"{name}.", "dnssec": "false"}
        path = self._path("zones")
        found = self._servers.call(lambda it: it.json("GET", path, params=params))
        return str(found[0]["id"]) if found else None

    def _path(self, *parts: str) -> str:
        """Return an API path. Ids are already escaped with "="."""
        quoted = (urllib.parse.quote(part, safe="=") for part in (self.options.server_id, *parts))
        return "/api/v1/servers/" + "/".join(quoted)

    def _clients(self, timeout: tuple[float, float]) -> Servers[Client]:
        options = self.options
        return Servers(
            [
                Client(
                    f"{self.name} ({urllib.parse.urlsplit(url).netloc.rpartition('@')[2]})",
                    url,
                    headers={"X-API-Key": options.api_key},
                    timeout=timeout,
                    verify=options.ca_file or True,
                    explain=_explain,
                )
                for url in options.urls
            ]
        )


def _record(name: str, rdtype: str, content: str, ttl: int) -> dict[str, Any]:
    return _records(name, rdtype, [content], ttl)


def _records(name: str, rdtype: str, contents: Sequence[str], ttl: int) -> dict[str, Any]:
    return {
        "name": f"{name}.",
        "type": rdtype,
        "ttl": ttl,
        "changetype": "REPLACE",
        "records": [{"content": content, "disabled": False} for content in contents],
    }


def _nothing(name: str, rdtype: str) -> dict[str, Any]:
    return {"name": f"{name}.", "type": rdtype, "changetype": "DELETE"}


def _explain(response: requests.Response) -> str:
    """Return the server's error message."""
    try:
        return str(response.json()["error"])
    except (ValueError, KeyError, TypeError):
        return response.text
