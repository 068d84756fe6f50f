# SPDX-License-Identifier: Apache-2.0
"""The operator's own edge: the program of a service, and the software of a node."""
