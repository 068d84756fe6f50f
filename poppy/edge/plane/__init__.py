# SPDX-License-Identifier: Apache-2.0
"""The data plane of a node: HAProxy in front, Varnish, and HAProxy towards the origins."""
