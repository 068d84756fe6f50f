# SPDX-License-Identifier: Apache-2.0
"""``tags``: the tenant's own words for a service, by which services are listed."""

from poppy.model.schema_parts import Schema, text

MAX_TAGS = 20
MAX_TAG = 64  #: Characters.

TAG: Schema = text("A tag.", 1, MAX_TAG)

TAGS: Schema = {
    "description": "Tags by which services can be listed; edges don't know them.",
    "items": TAG,
    "maxItems": MAX_TAGS,
    "uniqueItems": True,
}
