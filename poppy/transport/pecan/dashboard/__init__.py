# SPDX-License-Identifier: Apache-2.0
"""The operators' dashboard at ``/dashboard``. It is read-only.

The package is imported only when the dashboard is enabled.
"""
