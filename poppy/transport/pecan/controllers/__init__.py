# SPDX-License-Identifier: Apache-2.0
"""The routes of the API and their handlers, one module for each kind of resource."""
