# SPDX-License-Identifier: Apache-2.0
"""The commands, one file for each kind of thing."""
