# SPDX-License-Identifier: Apache-2.0
"""Benchmarks: what Poppy costs beside the bare libraries it is made of, and beside its goals.

``python -m tests.perf`` (or ``tools/perf``) runs them all and prints one table.

A figure taken alone says more about the machine than about Poppy. So whatever can be compared
is compared in the same run: rounds of A and B alternate, each round gives a ratio, and the median
of the ratios is held against the goal. What else the machine does meanwhile hits both alike.
"""
