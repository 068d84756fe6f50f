# SPDX-License-Identifier: Apache-2.0
"""Conformance suites for drivers, public so that third-party drivers can run them."""
