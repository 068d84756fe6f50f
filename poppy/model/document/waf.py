# SPDX-License-Identifier: Apache-2.0
"""``waf``: the web application firewall in front of a service."""

from dataclasses import dataclass
from typing import Annotated

from poppy.model.schema_parts import VISIBLE, text


@dataclass(frozen=True, slots=True)
class WAF:
    """A policy of the provider's web application firewall, which the operator or tenant made."""

    policy: Annotated[str, text("The provider's ID of the policy.", 1, 256, VISIBLE)]
