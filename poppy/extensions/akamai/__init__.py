# SPDX-License-Identifier: Apache-2.0
"""The extension ``akamai``: lists, settings and jobs of the Akamai driver."""
