# SPDX-License-Identifier: Apache-2.0
"""Generate the API's OpenAPI 3.1 document.

:mod:`document` combines the declarations of the routes. :mod:`answers` has the schemas of
responses; request bodies use those that validate requests (:mod:`poppy.model.schemas`).
"""
