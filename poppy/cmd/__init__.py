# SPDX-License-Identifier: Apache-2.0
"""The commands: poppy-server, poppy-worker, poppy-standalone, poppy-manage and poppy-status."""
