# SPDX-License-Identifier: Apache-2.0
"""The optional fields of ``origins``, as far as behaviours of Property Manager have them.

Sources: https://techdocs.akamai.com/property-mgr/reference/ga-base-directory, ``ga-timeout``,
``ga-read-timeout`` and ``ga-tiered-distribution``.
"""

import re

from poppy.common.errors import PermanentError
from poppy.model.specs import Origin, ServiceSpec
from poppy.provider.akamai.access import deny
from poppy.provider.akamai.edgegrid import Document
from poppy.provider.akamai.parts import (
    CLIENT,
    assign,
    behavior,
    duration,
    regular,
    rule,
    variable,
)

#: Values of ``baseDirectory``.
_DIRECTORY = re.compile(r"/([^:#\[\]@/?]+/)*")
#: Segments of a decoded path that lead to the parent directory (RFC 3986, section 5.2.4). Some
#: origins take a backslash as a slash, and drop parameters of a segment (section 3.3).
_PARENT = r"[/\\][.]{2}(?:[/\\;]|$)"
#: Maps of ``tieredDistribution``; the locations of shields.
SHIELDS = ("CH2", "CHAPAC", "CHEU2", "CHEUS2", "CHCUS2", "CHWUS2", "CHAUS", "CH")


def check(spec: ServiceSpec, *, secure: bool) -> None:
    """Refuse values that the behaviours don't take.

    Args:
        spec: the document.
        secure: whether the property is secure.

    Raises:
        PermanentError: the message names the origin and the value.
    """
    for number, origin in enumerate(spec.origins):
        if not _DIRECTORY.fullmatch(f"{origin.prefix}/") or "{{" in origin.prefix:
            raise PermanentError(
                f"origins[{number}].path {origin.path!r}: Akamai takes no path with {{{{ or with "
                "one of the characters :#[]@?, or with an empty segment"
            )
        if isinstance(origin.shield, str):
            if origin.shield not in SHIELDS:
                raise PermanentError(
                    f"origins[{number}].shield {origin.shield!r}: Akamai's locations are "
                    f"{', '.join(SHIELDS)}"
                )
            if secure:
                raise PermanentError(
                    f"origins[{number}].shield {origin.shield!r}: with https domains, Akamai "
                    "chooses the location; use true"
                )


def options(origin: Origin) -> list[Document]:
    """Return the behaviours of an origin's optional fields."""
    found = []
    if origin.prefix:
        found.append(behavior("baseDirectory", value=f"{origin.prefix}/"))
    if origin.connect_timeout is not None:
        found.append(behavior("timeout", value=duration(origin.connect_timeout)))
    if origin.response_timeout is not None:
        found.append(behavior("readTimeout", value=duration(origin.response_timeout)))
    if isinstance(origin.shield, str):
        place = {"tieredDistributionMap": origin.shield}
        found.append(behavior("tieredDistribution", place, enabled=True))
    elif origin.shield is not None:
        found.append(behavior("tieredDistribution", enabled=origin.shield))
    return found


def confinement(origin: Origin) -> list[Document]:
    """Return the rules that keep requests inside the path of an origin.

    Akamai sends the path as the client spelled it, behind ``baseDirectory``: an origin that
    resolves dot segments would leave the directory. So such requests are refused with 403.
    The criterion ``path`` can't find these, because ``normalize`` resolves them before it compares
    (https://techdocs.akamai.com/property-mgr/reference/ga-path).
    """
    if not origin.prefix:
        return []
    name = "DECODED"
    refusal = rule(
        "Parent directory",
        [CLIENT, regular(variable(name), _PARENT)],
        deny("poppy-origin-path"),
    )
    decoded = assign(name, "{{builtin.AK_PATH}}", "URL_DECODE")
    return [rule("Path of the origin", behaviors=[decoded], children=[refusal])]
