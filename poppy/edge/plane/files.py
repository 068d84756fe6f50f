# SPDX-License-Identifier: Apache-2.0
"""The names of a node's files."""

from poppy.edge.options import ACCESS_LOG, AGENT_METRICS, Settings


class Files:
    """The names of a node's files and sockets."""

    def __init__(self, settings: Settings) -> None:
        self.haproxy = settings.state_directory / "haproxy"
        self.varnish = settings.state_directory / "varnish"
        self.configuration = self.haproxy / "haproxy.cfg"
        self.common_lua = self.haproxy / "common.lua"
        self.lua = self.haproxy / "policy.lua"
        self.changes_lua = self.haproxy / "changes.lua"
        self.keys_lua = self.haproxy / "keys.lua"
        self.metrics_lua = self.haproxy / "metrics.lua"
        self.signing_lua = self.haproxy / "signing.lua"
        self.refused = self.haproxy / "refused"  #: Expressions of targets.
        self.plain = self.haproxy / "plain"  #: Expression of targets that are fine.
        self.policies = self.haproxy / "policies"
        self.certificates = self.haproxy / "certificates"
        self.certificate_list = self.haproxy / "certificates.list"
        self.challenges = self.haproxy / "challenges.map"
        self.hosts = self.haproxy / "hosts.map"
        self.services = self.haproxy / "services.map"
        self.sick = self.haproxy / "sick.map"  #: Origins that fail their health checks.
        self.delivery = self.haproxy / "delivery.map"
        self.ready = self.haproxy / "ready.map"
        self.vcl = self.varnish / "cache.vcl"
        self.runtime_socket = settings.run_directory / "haproxy.sock"
        self.cache_socket = settings.run_directory / "varnish.sock"
        self.origin_socket = settings.run_directory / "origin.sock"
        self.access_log = settings.run_directory / ACCESS_LOG
        self.agent_metrics = settings.run_directory / AGENT_METRICS
        self.varnish_work = settings.run_directory / "varnish"
