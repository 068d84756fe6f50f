# SPDX-License-Identifier: Apache-2.0
"""Poppy's client: the API bindings and the commands that use them."""
