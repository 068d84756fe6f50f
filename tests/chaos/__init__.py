# SPDX-License-Identifier: Apache-2.0
"""Poppy under faults, on real backends; ``python -m tests.chaos --help`` is the long run.

===============  =============================================================================
``double``       a provider and a DNS zone as one HTTP server, which fails as ``orders`` say
``driver``       the drivers ``chaos`` for the double, installed as third-party drivers are
``tenant``       a client that keeps a journal of its requests and their results
``checker``      compares the journal with the store, the provider and the zone
``site``         Cassandra, ZooKeeper, poppy-server, poppy-workers and a double
``faults``       the faults of the long run; ``plan`` has their times and the tenants' requests
===============  =============================================================================
"""
