# SPDX-License-Identifier: Apache-2.0
"""Services, flavors and operations: frozen, typed values without I/O."""
