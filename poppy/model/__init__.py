# SPDX-License-Identifier: Apache-2.0
"""What a service, a flavor and an operation are: frozen, typed values without any I/O."""
