# SPDX-License-Identifier: Apache-2.0
"""What the API is, as an OpenAPI 3.1 document.

The table of routes says what there is, a description (one per route, in ``services.py``,
``flavors.py`` ...) says what it means, and :mod:`document` makes one document of both. The schemas
of request bodies are those that requests are checked by (:mod:`poppy.model.schemas`).
"""
