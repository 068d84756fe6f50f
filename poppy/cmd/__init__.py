# SPDX-License-Identifier: Apache-2.0
"""The commands: poppy-server, -worker, -standalone, -manage, -status and -edge."""
