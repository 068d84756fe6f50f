# SPDX-License-Identifier: Apache-2.0
"""The options that belong to no single driver, and how configuration is read.

Options of a driver stand beside the driver (see :mod:`poppy.common.driver`).
"""

import importlib.metadata
from collections.abc import Sequence

from oslo_config import cfg
from oslo_log import log

from poppy.common import audit, domains, errors, metrics, tracing

LOG = log.getLogger(__name__)

DEFAULT_OPTS = (
    cfg.StrOpt(
        "state_path",
        default="/var/lib/poppy",
        help="Directory for what the embedded defaults keep (the SQLite database).",
    ),
    cfg.StrOpt(
        "datacenter",
        default="",
        help="Name of the region or data centre this process runs in. Shown in logs, and used "
        "by storage drivers that prefer local replicas.",
    ),
    cfg.BoolOpt(
        "project_id_in_url",
        default=False,
        help="Put the project id into the links that Poppy answers with "
        "(/v1.0/<project id>/services/...). Such URLs are accepted in any case.",
    ),
    cfg.StrOpt(
        "auth_strategy",
        default="noauth",
        choices=[
            ("noauth", "trust the X-Project-ID header: only behind your own auth middleware"),
            ("keystone", "check tokens with keystonemiddleware"),
        ],
        help="Who says which project a request belongs to.",
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
    cfg.StrOpt("transport", default="pecan", help="Transport driver: the face to clients."),
    cfg.StrOpt("manager", default="default", help="Manager driver: what each API call does."),
    cfg.StrOpt(
        "storage",
        default="sqlalchemy",
        help="Storage driver: where services and operations are kept.",
    ),
    cfg.ListOpt(
        "providers",
        default=["mock"],
        help="CDN provider drivers to load. A flavor can only name providers of this list. With "
        "several of one driver (two edges of your own, two accounts), each is <name>:<driver>, "
        "and has the options of [drivers:provider:<name>].",
    ),
    cfg.StrOpt("dns", default="mock", help="DNS driver: where the operator's names are made."),
    cfg.StrOpt(
        "distributed_task",
        default="taskflow",
        help="Distributed task driver: how operations reach the workers.",
    ),
)

STORAGE_OPTS = (
    cfg.IntOpt(
        "max_services_per_project",
        default=20,
        min=0,
        help="How many services a project may have unless its own limit is set.",
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
        help="Days for which operations are kept after their end; 0 means for ever. They can be "
        "read for so long, also when their service is gone.",
    ),
    cfg.IntOpt(
        "max_certificates_per_project",
        default=100,
        min=0,
        help="How many certificates a project may have ordered.",
    ),
)

PROVIDER_OPTS = (
    cfg.IntOpt(
        "default_cache_ttl",
        default=86400,
        min=0,
        max=31536000,
        help="Seconds an edge may keep content of a service that says nothing about caching.",
    ),
    cfg.FloatOpt(
        "analytics_timeout",
        default=10.0,
        min=0.01,
        help="Seconds in which a provider has to answer when a client asks for statistics, for "
        "the request waits for it.",
    ),
)

#: Limits on requests and documents: the transport reads some, the manager others.
LIMITS_GROUP = "drivers:transport:limits"

LIMITS_OPTS = (
    cfg.IntOpt(
        "max_body_size",
        default=65536,
        min=1024,
        help="Bytes that the body of a request may have; more is refused with 413. The document "
        "of a service, as compact JSON with every default written out, may not have more either: "
        "a POST or PATCH whose result is larger is refused with 400.",
    ),
    cfg.IntOpt(
        "max_origin_rules",
        default=100,
        min=1,
        max=10000,
        help="How many rules the origins of a service may have together. Each rule adds to what "
        "edges compile and look through for every request. A stored service with more stays as "
        "it is; a PATCH of it must bring it below the limit. The same holds for the other limits "
        "on rules.",
    ),
    cfg.IntOpt(
        "max_caching_rules",
        default=100,
        min=1,
        max=10000,
        help="How many rules the caching entries of a service may have together; an entry "
        "without rules counts as one.",
    ),
    cfg.IntOpt(
        "max_restriction_rules",
        default=100,
        min=1,
        max=10000,
        help="How many rules the restrictions of a service may have together.",
    ),
    cfg.IntOpt(
        "max_rules",
        default=200,
        min=2,
        max=30000,
        help="How many rules of all kinds a service may have.",
    ),
)

#: (group, options) of everything that is not a driver's own.
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
)


def load(args: Sequence[str] | None = None, files: Sequence[str] | None = None) -> cfg.ConfigOpts:
    """Read the configuration of one process.

    Args:
        args: command-line arguments, without the program's name.
        files: configuration files; by default those named by ``--config-file``, else
            ``~/.poppy/poppy.conf``, ``/etc/poppy/poppy.conf`` and their relatives.

    Raises:
        oslo_config.cfg.Error: a file or an option can't be read.
    """
    conf = new()
    conf(
        args=list(args or []),
        project="poppy",
        version=importlib.metadata.version("poppy"),
        default_config_files=list(files) if files is not None else None,
    )
    return conf


def validate(conf: cfg.ConfigOpts) -> None:
    """Look at every option that is known by now, since oslo.config checks at the first look.

    Raises:
        ConfigError: names the option whose value can't be used.
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
    """Make sure that a secret store gave what it is to give.

    oslo.config and castellan log a failure and go on with the option's default, which may be no
    password at all, or another database.

    Raises:
        ConfigError: names the option whose value could not be had.
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
                continue  # of a driver that this process does not load
            except Exception as exc:
                # The store's own errors have no common base class that is public.
                raise errors.ConfigError(f"[{group}] {name}: {source}: {exc}") from exc
            if found is None or found.detail != identifier:
                raise errors.ConfigError(
                    f"[{group}] {name}: the secret store of [{source}] has no value for it"
                )


def reload(conf: cfg.ConfigOpts) -> bool:
    """Read the files again and take over the options that may change while Poppy runs.

    Returns:
        Whether that was done. What can't be read, or can't work, is logged and changes nothing.
    """
    before = conf._mutable_ns
    try:
        conf.mutate_config_files()
        validate(conf)
    except (cfg.Error, errors.ConfigError) as exc:
        conf._mutable_ns = before
        conf.clear_override("state_path")  # which is none; values that were read are forgotten
        LOG.error("The configuration stays as it is: %s", exc)
        return False
    LOG.info("The configuration was read again")
    return True


def new() -> cfg.ConfigOpts:
    """An unread configuration that knows the shared options and the logging options."""
    conf = cfg.ConfigOpts()
    log.register_options(conf)
    # At INFO these tell of their own making, not of Poppy's.
    quiet = ["alembic.runtime.plugins=WARN", "stevedore=WARN", "taskflow=WARN", "kazoo=ERROR"]
    # It warns at each of its tries to send, and tells by an error what was lost.
    quiet.append("opentelemetry.exporter=ERROR")
    log.set_defaults(default_log_levels=[*log.get_default_log_levels(), *quiet])
    for group, options in GROUPS:
        conf.register_opts(options, group=group)
    return conf
