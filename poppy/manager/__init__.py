# SPDX-License-Identifier: Apache-2.0
"""The logic of each API call: checks, defaults and state changes, without HTTP or SQL."""
