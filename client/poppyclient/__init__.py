# SPDX-License-Identifier: Apache-2.0
"""The client of Poppy: its API, and the commands made of it."""
