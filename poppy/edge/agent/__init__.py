# SPDX-License-Identifier: Apache-2.0
"""The agent of a node: keeps the node's data plane equal to what Poppy publishes."""
