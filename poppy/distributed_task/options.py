# SPDX-License-Identifier: Apache-2.0
"""The options of the TaskFlow driver."""

from oslo_config import cfg

from poppy.distributed_task.board import boards

OPTS = (
    *boards.OPTS,
    cfg.IntOpt(
        "concurrency",
        default=10,
        min=1,
        help="Number of operations that one worker process runs at the same time.",
    ),
    cfg.IntOpt("workers", default=1, min=1, help="Number of processes poppy-worker runs."),
    cfg.FloatOpt(
        "poll_interval",
        default=0.2,
        min=0.01,
        help="Seconds between polls of the board while a worker is idle. While it finds no job, "
        "this grows to five times as long within some polls. A job that is posted in its own "
        "process, or on ZooKeeper, wakes it at once.",
    ),
    cfg.FloatOpt(
        "dispatch_interval",
        default=1.0,
        min=0.01,
        help="Seconds between looks for due operations in storage.",
    ),
    cfg.FloatOpt(
        "redelivery",
        default=10.0,
        min=0.1,
        help="Seconds after which a posted operation that no worker has begun is posted "
        "again. This is how long it waits if the board has lost its job. With Cassandra, a "
        "value above run_lease costs one more write for each operation.",
    ),
    cfg.FloatOpt(
        "run_lease",
        default=10.0,
        min=1,
        help="Seconds after its last sign of life that a running operation counts as lost. "
        "Then another worker runs it again, or a waiting delete proceeds. A worker renews "
        "the lease after each fifth of it. So it must be several times the response time of "
        "storage, the difference between clocks and the lag between regions.",
    ),
    cfg.IntOpt(
        "max_failures",
        default=20,
        min=1,
        mutable=True,
        help="Number of failed attempts after which an operation fails for good.",
    ),
    cfg.IntOpt(
        "max_age",
        default=86400,
        min=1,
        max=315360000,
        mutable=True,
        help="Seconds after which an unfinished operation fails for good, even if a provider "
        "asks to wait longer.",
    ),
    cfg.FloatOpt(
        "retry_base",
        default=5.0,
        min=0.01,
        mutable=True,
        help="Longest wait in seconds after the first failed attempt. It doubles with each "
        "further failure.",
    ),
    cfg.FloatOpt(
        "retry_ceiling",
        default=600.0,
        min=0.01,
        mutable=True,
        help="Longest wait in seconds between attempts, unless a provider asks for more.",
    ),
    cfg.FloatOpt(
        "max_retry_after",
        default=3600.0,
        min=1,
        max=86400,
        mutable=True,
        help="Longest wait in seconds that a provider may ask for, for example with "
        "Retry-After. Longer ones are cut to this.",
    ),
    cfg.BoolOpt(
        "failover",
        default=True,
        help="Point the names of multi-provider services away from providers that are down, "
        "and back when they are up again. The majority of workers decides.",
    ),
    cfg.FloatOpt(
        "health_interval",
        default=10.0,
        min=0.01,
        help="Seconds between health checks of the providers' edges, for failover.",
    ),
    cfg.IntOpt(
        "failover_after",
        default=3,
        min=1,
        help="Number of consecutive failed health checks after which a provider is down.",
    ),
    cfg.IntOpt(
        "failback_after",
        default=30,
        min=1,
        help="Number of consecutive successful health checks after which it is up again.",
    ),
    cfg.FloatOpt(
        "failover_rate",
        default=10.0,
        min=0.01,
        help="Maximum number of services per second with names that failover changes. Keep "
        "it within the limits of the DNS server.",
    ),
    cfg.FloatOpt(
        "audit_interval",
        default=86400.0,
        min=0,
        help="Seconds after which workers again compare all deployed services with providers and "
        "DNS, because others may have changed something there. The option audit of each driver "
        "says what to do with differences. 0: only on request (poppy-manage audit), and after a "
        "failover.",
    ),
    cfg.FloatOpt(
        "audit_rate",
        default=1.0,
        min=0.001,
        max=1000.0,
        help="Maximum number of services per second to compare. Comparing a service takes a few "
        "reads at each of its providers.",
    ),
    cfg.IntOpt(
        "max_crashes",
        default=5,
        min=1,
        mutable=True,
        help="Number of consecutive lost workers after which an operation fails for good: it "
        "may be what kills them. The count starts over when the operation is parked.",
    ),
    cfg.FloatOpt(
        "step_timeout",
        default=300.0,
        min=0.1,
        mutable=True,
        help="Maximum seconds for one step of an operation, that is, one driver call. After "
        "that the worker stops waiting and the step counts as failed, to be retried. Drivers "
        "have shorter timeouts of their own; this one applies if those fail.",
    ),
    cfg.IntOpt(
        "max_hung_calls",
        default=10,
        min=1,
        help="Number of abandoned driver calls that have not ended at which a worker process "
        "hands its operations back and restarts.",
    ),
    cfg.IntOpt(
        "shutdown_grace",
        default=30,
        min=0,
        help="Seconds in which running operations may finish when a worker is told to stop "
        "(SIGTERM). Unfinished ones are handed back, and another worker continues them at "
        "once.",
    ),
    cfg.FloatOpt(
        "heartbeat_interval",
        default=10.0,
        min=0.1,
        help="Seconds between a worker's heartbeats in storage. A worker that misses three "
        "counts as dead, and the others take over its share of each driver's rate.",
    ),
)
