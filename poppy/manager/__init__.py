# SPDX-License-Identifier: Apache-2.0
"""What each API call does: order of checks, defaults, state changes. No HTTP, no SQL."""
