# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built."""

project = "Poppy"
copyright = "Poppy developers"
extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "oslo_config.sphinxext", "oslo_policy.sphinxext"]
html_theme = "alabaster"
exclude_patterns: list[str] = []
nitpicky = False
