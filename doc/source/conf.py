# SPDX-License-Identifier: Apache-2.0
"""How the documentation is built."""

import pathlib
import sys

sys.path.insert(0, str(pathlib.Path(__file__).parent / "_extensions"))

project = "Poppy"
copyright = "Poppy developers"
extensions = [
    "sphinx.ext.autodoc",
    "sphinx.ext.napoleon",
    "oslo_config.sphinxext",
    "oslo_policy.sphinxext",
    "reno.sphinxext",
    "api_reference",
    "flow_diagrams",
]
html_theme = "furo"
html_title = "Poppy"
#: Parts of other pages.
exclude_patterns = ["drivers/facts"]
nitpicky = False
