# SPDX-License-Identifier: Apache-2.0
"""Conformance suites for drivers, public so that authors of drivers elsewhere run them too."""
