# SPDX-License-Identifier: Apache-2.0
"""Generate the API's OpenAPI 3.1 document.

:mod:`document` combines the route table with a description per route (``services.py``,
``flavors.py`` ...). Request bodies use the schemas that validate requests
(:mod:`poppy.model.schemas`).
"""
