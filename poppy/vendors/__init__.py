# SPDX-License-Identifier: Apache-2.0
"""Clients of vendors that have drivers of several kinds, such as AWS."""
