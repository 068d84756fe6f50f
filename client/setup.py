# SPDX-License-Identifier: Apache-2.0
"""All metadata is in setup.cfg (pbr)."""

import setuptools

setuptools.setup(setup_requires=["pbr>=6.0"], pbr=True)
