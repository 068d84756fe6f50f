# SPDX-License-Identifier: Apache-2.0
"""The access logs of services: from HAProxy's pipe to the operator's object store."""
