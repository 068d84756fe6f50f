# SPDX-License-Identifier: Apache-2.0
"""Benchmarks of Poppy against the bare libraries it uses and against its goals.

``python -m tests.perf`` (or ``tools/perf``) runs them all and prints one table.

An absolute figure depends mostly on the machine. Where a comparison is possible, it is
therefore made in the same run: rounds of A and B alternate, each round gives a ratio, and the
median of the ratios is compared with the goal. Other load on the machine affects both equally.
"""
