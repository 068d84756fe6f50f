# SPDX-License-Identifier: Apache-2.0
"""The operator's pages at ``/dashboard``, which show and change nothing.

Imported only where they are switched on.
"""
