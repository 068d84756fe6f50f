# SPDX-License-Identifier: Apache-2.0
"""The version of the installed distribution."""

import importlib.metadata

#: The name on the Python Package Index, where ``poppy`` is an unrelated project.
DISTRIBUTION = "poppy-cdn"

VERSION = importlib.metadata.version(DISTRIBUTION)
