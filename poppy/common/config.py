# SPDX-License-Identifier: Apache-2.0
"""The options shared by all drivers, and how configuration is loaded.

Each driver's module declares the driver's own options (see :mod:`poppy.common.driver`).
"""

from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

from poppy.common import audit, domains, errors, metrics, tracing, vault
from poppy.common.version import VERSION

LOG = log.getLogger(__name__)

DEFAULT_OPTS = (
    cfg.StrOpt(
        "state_path",
        default="/var/lib/poppy",
        help="Directory for local state, such as the default SQLite database.",
    ),
    cfg.StrOpt(
        "datacenter",
        default="",
        help="Name of the region or data centre this process runs in. It appears in logs. Storage "
        "drivers use it to prefer local replicas.",
    ),
    cfg.BoolOpt(
        "project_id_in_url",
        default=False,
        help="Include the project id in the links in responses "
        "(/v1.0/<project id>/services/...). Requests may use such URLs in either case.",
    ),
    cfg.StrOpt(
        "auth_strategy",
        default="noauth",
        choices=[
            ("noauth", "trust the X-Project-ID header: only behind your own auth middleware"),
            ("keystone", "check tokens with keystonemiddleware"),
        ],
        help="How the project of a request is determined.",
    ),
    cfg.BoolOpt(
        "noauth_trusted_network",
        default=False,
        help="Only with auth_strategy = noauth: whether everybody who can reach the API may act "
        "for any project. Without it, the API starts on a loopback address only, and answers "
        "only to the hosts localhost, 127.0.0.1, [::1] and its own address, unless "
        "allowed_hosts says otherwise.",
    ),
    cfg.ListOpt(
        "noauth_default_roles",
        default=["member", "reader"],
        help="Only with auth_strategy = noauth: the roles of a request without X-Roles. With "
        "admin, everybody who can reach the API is an operator.",
    ),
    cfg.ListOpt(
        "allowed_hosts",
        default=[],
        help="Host names that requests may be for, without a port: example.com; .example.com "
        'for it and all names below it; "*.example.com" for those below it; "*" for any. Others '
        "are refused with 400, which stops pages that reach the API by DNS rebinding. Behind a "
        "proxy whose headers are parsed, it is the forwarded host that counts. Empty: any, but "
        "see noauth_trusted_network.",
    ),
    cfg.BoolOpt(
        "access_log",
        default=True,
        help="Write a line for each request, at INFO by the logger poppy.access: address, "
        "method, path, status, milliseconds, project and request id. The query is left out.",
    ),
)

DRIVERS_OPTS = (
    cfg.StrOpt("transport", default="pecan", help="Transport driver, which serves the API."),
    cfg.StrOpt(
        "manager", default="default", help="Manager driver, which implements the API calls."
    ),
    cfg.StrOpt(
        "storage",
        default="sqlalchemy",
        help="Storage driver, which stores services and operations.",
    ),
    cfg.ListOpt(
        "providers",
        default=["mock"],
        help="CDN provider drivers to load. Flavors can only name providers in this list. To use "
        "one driver several times (two edges of your own, two accounts), write <name>:<driver> "
        "for each; its options are in [drivers:provider:<name>].",
    ),
    cfg.StrOpt("dns", default="mock", help="DNS driver, which creates the operator names."),
    cfg.StrOpt(
        "distributed_task",
        default="taskflow",
        help="Distributed task driver, which delivers operations to the workers.",
    ),
)

STORAGE_OPTS = (
    cfg.IntOpt(
        "max_services_per_project",
        default=20,
        min=0,
        help="Maximum services of a project without a limit of its own.",
    ),
    cfg.IntOpt(
        "max_open_operations_per_project",
        default=500,
        min=0,
        help="How many unfinished operations a project may have, without bulk work of operators. "
        "While it has as many, its creates, changes and purges are refused with 429; deletes are "
        "not. Requests at the same moment may exceed it by their number. 0: any number.",
    ),
    cfg.IntOpt(
        "operation_retention",
        default=30,
        min=0,
        max=3650,
        help="Days to keep finished operations; 0 means forever. They can be read for this time, "
        "even after their service is deleted.",
    ),
    cfg.IntOpt(
        "edge_retention",
        default=24,
        min=1,
        max=8760,
        help="Hours to keep purges and withdrawals in the log of the provider 'edge'. A node that "
        "was away for longer takes a snapshot, and its cache is emptied.",
    ),
    cfg.IntOpt(
        "edge_traffic_retention",
        default=30,
        min=1,
        max=3650,
        help="Days to keep the figures that nodes of the provider 'edge' report: the analytics of "
        "its services.",
    ),
    cfg.IntOpt(
        "max_certificates_per_project",
        default=100,
        min=0,
        help="Maximum certificates that a project may order.",
    ),
)

PROVIDER_OPTS = (
    cfg.IntOpt(
        "default_cache_ttl",
        default=86400,
        min=0,
        max=31536000,
        help="Default TTL in seconds for services without caching rules.",
    ),
    cfg.FloatOpt(
        "analytics_timeout",
        default=10.0,
        min=0.01,
        help="Seconds that a provider has to answer an analytics request. The client's request "
        "waits for the answer.",
    ),
)

#: Limits on requests and documents, used by the transport and the manager.
LIMITS_GROUP = "drivers:transport:limits"

LIMITS_OPTS = (
    cfg.IntOpt(
        "max_body_size",
        default=65536,
        min=1024,
        help="Maximum size of a request body in bytes; a larger body gets 413. The same limit "
        "applies to a service document as compact JSON with all defaults filled in: a POST or "
        "PATCH that results in a larger document gets 400.",
    ),
    cfg.IntOpt(
        "max_origin_rules",
        default=100,
        min=1,
        max=10000,
        help="Maximum rules of all origins of a service. Edges compile each rule and evaluate it "
        "for every request. A stored service above the limit is unchanged, but a PATCH must bring "
        "it within the limit. The same applies to the other limits on rules.",
    ),
    cfg.IntOpt(
        "max_caching_rules",
        default=100,
        min=1,
        max=10000,
        help="Maximum rules of all caching entries of a service. An entry without rules counts as "
        "one rule.",
    ),
    cfg.IntOpt(
        "max_restriction_rules",
        default=100,
        min=1,
        max=10000,
        help="Maximum rules of all restrictions of a service.",
    ),
    cfg.IntOpt(
        "max_redirects",
        default=100,
        min=1,
        max=10000,
        help="Maximum redirects of a service.",
    ),
    cfg.IntOpt(
        "max_header_rules",
        default=100,
        min=1,
        max=10000,
        help="Maximum rules of all entries of headers of a service. An entry without rules counts "
        "as one rule.",
    ),
    cfg.IntOpt(
        "max_error_pages",
        default=20,
        min=1,
        max=200,
        help="Maximum error pages of a service.",
    ),
    cfg.IntOpt(
        "max_signed_url_rules",
        default=100,
        min=1,
        max=10000,
        help="Maximum rules of signed_urls of a service. Without rules, it counts as one rule.",
    ),
    cfg.IntOpt(
        "max_rules",
        default=200,
        min=2,
        max=30000,
        help="Maximum rules of all kinds of a service.",
    ),
)

#: (group, options) of all options except the drivers' own.
GROUPS: tuple[tuple[str | None, Sequence[cfg.Opt]], ...] = (
    (None, (*DEFAULT_OPTS, *domains.OPTS)),
    (domains.RESOLVER_GROUP, domains.RESOLVER_OPTS),
    ("drivers", DRIVERS_OPTS),
    ("drivers:storage", STORAGE_OPTS),
    ("drivers:provider", PROVIDER_OPTS),
    (audit.GROUP, audit.OPTS),
    (LIMITS_GROUP, LIMITS_OPTS),
    (metrics.GROUP, metrics.OPTS),
    (tracing.GROUP, tracing.OPTS),
    (vault.GROUP, vault.OPTS),
)


def load(args: Sequence[str] | None = None, files: Sequence[str] | None = None) -> cfg.ConfigOpts:
    """Load the configuration of a process.

    Args:
        args: command-line arguments, without the program's name.
        files: configuration files; by default those of ``--config-file``, otherwise oslo.config's
            defaults such as ``~/.poppy/poppy.conf`` and ``/etc/poppy/poppy.conf``.

    Raises:
        oslo_config.cfg.Error: a file or an option can't be read.
    """
    conf = new()
    conf(
        args=list(args or []),
        project="poppy",
        version=VERSION,
        default_config_files=list(files) if files is not None else None,
    )
    return conf


def validate(conf: cfg.ConfigOpts) -> None:
    """Read every registered option, because oslo.config checks a value only when it is read.

    Raises:
        ConfigError: an option's value is invalid; the message names the option.
    """
    for source in conf.config_source:
        _check_source(conf, source)
    for group in (None, *conf.keys()):
        options = conf if group is None else conf[group]
        if group is not None and not isinstance(options, cfg.ConfigOpts.GroupAttr):
            continue
        for name in options:
            try:
                options[name]
            except ValueError as exc:
                raise errors.ConfigError(f"[{group or 'DEFAULT'}] {name}: {exc}") from exc


def _check_source(conf: cfg.ConfigOpts, source: str) -> None:
    """Check that a secret store returned every mapped value.

    oslo.config and castellan log a failure and use the option's default, which may be an empty
    password or another database.

    Raises:
        ConfigError: the store has no value for an option; the message names the option.
    """
    options = conf[source]
    if options.driver != "castellan":
        return
    if "mapping_file" not in options:
        raise errors.ConfigError(
            f"[{source}] the driver castellan is not installed or can't be used; see the log"
        )
    mapping: dict[str, dict[str, list[str]]] = {}
    cfg.ConfigParser(options.mapping_file, mapping).parse()
    for group, names in mapping.items():
        for name, (identifier, *_) in names.items():
            try:
                found = conf.get_location(name, None if group == "DEFAULT" else group)
            except (cfg.NoSuchOptError, cfg.NoSuchGroupError):
                continue  # an option of a driver that this process does not load
            except Exception as exc:
                # The stores' errors have no public common base class.
                raise errors.ConfigError(f"[{group}] {name}: {source}: {exc}") from exc
            if found is None or found.detail != identifier:
                raise errors.ConfigError(
                    f"[{group}] {name}: the secret store of [{source}] has no value for it"
                )


def reload(conf: cfg.ConfigOpts) -> bool:
    """Read the files again and apply the mutable options.

    Returns:
        Whether the options were applied. An invalid configuration is logged and changes nothing.
    """
    before = conf._mutable_ns
    try:
        conf.mutate_config_files()
        validate(conf)
    except (cfg.Error, errors.ConfigError) as exc:
        conf._mutable_ns = before
        conf.clear_override("state_path")  # there is none; this clears the cache of read values
        LOG.error("Keeping the previous configuration: %s", exc)
        return False
    LOG.info("Configuration reloaded")
    return True


def new() -> cfg.ConfigOpts:
    """Return a configuration with the shared and logging options, before any file is read."""
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    # At INFO these libraries log their own internals.
    quiet = ["alembic.runtime.plugins=WARN", "stevedore=WARN", "taskflow=WARN", "kazoo=ERROR"]
    # The exporter logs a warning for each failed attempt and an error for lost spans.
    quiet.append("opentelemetry.exporter=ERROR")
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), *quiet])
    for group, options in GROUPS:
        conf.register_opts(options, group=group)
    return conf
