# SPDX-License-Identifier: Apache-2.0
"""Poppy under faults, on real parts: ``python -m tests.chaos --help`` is the long run.

===============  =============================================================================
``double``       a provider and a DNS zone as one HTTP server, which misbehaves on ``orders``
``driver``       the drivers ``chaos`` that speak with it, installed as a third party's would be
``tenant``       a client that keeps a journal of what it asked for and what was accepted
``checker``      compares the journal with the store, the provider and the zone
``site``         Cassandra, ZooKeeper, poppy-server, poppy-workers and a double, to be broken
``faults``       what the long run breaks, ``plan`` when, and what tenants ask for meanwhile
===============  =============================================================================
"""
