# SPDX-License-Identifier: Apache-2.0
"""Attacks by a hostile tenant or client on a running Poppy made of real components."""
