# SPDX-License-Identifier: Apache-2.0
"""The operators' resources, one file each."""
