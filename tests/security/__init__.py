# SPDX-License-Identifier: Apache-2.0
"""Attacks on the running product by a hostile tenant or a hostile client, on real parts."""
