# SPDX-License-Identifier: Apache-2.0
"""Poppy: one REST API in front of many CDNs."""
