# SPDX-License-Identifier: Apache-2.0
"""VCL that gives an object keys for purges by tag, prefix and host.

``cache.vcl`` gives it those of its service and path. :mod:`poppy.edge.plane.purges` has the form
of all keys. Every key begins with the service's ID, and what follows is encoded, so that neither
an origin nor a client can give an object a key of another service.
"""

from poppy.edge.plane.purges import DIRECTORY, HOST, TAG
from poppy.model.purges import MAX_LEVELS, MAX_PREFIX, MAX_TAG

#: Tags of an object, and their characters; more are ignored.
MAX_TAGS, MAX_TAGS_LENGTH = 128, 4096

#: Rules of HAProxy for all responses: clients don't get the tags.
RESPONSE_RULES = """\
    http-response del-header Cache-Tag
    http-response del-header Surrogate-Key
"""

_ENCODED = 3  # Characters of an encoded one.
#: A segment of an encoded path, without backtracking.
_SEGMENT = "%2f(?:[^%]++|%(?!2f))++"


def vcl() -> str:
    """Return the subroutines ``mark_host``, ``mark_tags`` and ``mark_directories``.

    They add to ``beresp.http.xkey``. ``mark_directories`` takes an encoded path in
    ``beresp.http.x-p-tree``.
    """
    return f"""\
sub mark_host {{
    set beresp.http.xkey = beresp.http.xkey + " " + bereq.http.x-p-service + "{HOST}"
        + bereq.http.host;
}}

# The origin's fields stay in the object, because a 304 may not repeat them. HAProxy removes them
# from responses.
sub mark_tags {{
    if (beresp.http.Cache-Tag || beresp.http.Surrogate-Key) {{
        std.collect(beresp.http.Cache-Tag);
        std.collect(beresp.http.Surrogate-Key);
        set beresp.http.x-p-tags = beresp.http.Cache-Tag + " " + beresp.http.Surrogate-Key;
        if (beresp.http.x-p-tags !~ "^.{{0,{MAX_TAGS_LENGTH}}}$") {{
            # Up to the last whole one.
            set beresp.http.x-p-tags = regsub(beresp.http.x-p-tags,
                "^(?:(.{{0,{MAX_TAGS_LENGTH}}})[ ,\\t])?.*$", "\\1");
        }}
        set beresp.http.x-p-tags = blob.transcode(decoding=IDENTITY, encoding=URL, case=LOWER,
            encoded=beresp.http.x-p-tags);
        # A field has no space at its beginning.
        set beresp.http.x-p-tags = regsuball(beresp.http.x-p-tags, "(?:%20|%2c|%09)+", " ");
        set beresp.http.x-p-tags = regsuball(" " + beresp.http.x-p-tags,
            " [^ ]{{{_ENCODED * MAX_TAG + 1},}}", "");
        set beresp.http.x-p-tags = regsub(" " + beresp.http.x-p-tags,
            "^((?: +[^ ]+){{0,{MAX_TAGS}}}).*$", "\\1");
        set beresp.http.xkey = beresp.http.xkey + regsuball(" " + beresp.http.x-p-tags,
            " +(?=[^ ])", " " + bereq.http.x-p-service + "{TAG}");
        unset beresp.http.x-p-tags;
    }}
}}

sub mark_directories {{
{_directories(1)}\
    unset beresp.http.x-p-tree;
    unset beresp.http.x-p-directory;
}}
"""


def _directories(level: int) -> str:
    """Return statements that add the key of the directory of a level, and of those below it."""
    if level > MAX_LEVELS:
        return ""
    directory = f"(?:{_SEGMENT}){{{level}}}%2f"
    below = _directories(level + 1)
    return f"""\
    if (beresp.http.x-p-tree ~ "^{directory}") {{
        set beresp.http.x-p-directory = regsub(beresp.http.x-p-tree, "^({directory}).*$", "\\1");
        if (beresp.http.x-p-directory ~ "^.{{1,{_ENCODED * MAX_PREFIX}}}$") {{
            set beresp.http.xkey = beresp.http.xkey + " " + bereq.http.x-p-service + "{DIRECTORY}"
                + beresp.http.x-p-directory;
{below}\
        }}
    }}
"""
