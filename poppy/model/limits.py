# SPDX-License-Identifier: Apache-2.0
"""How large a service document may be."""

from typing import Any, NamedTuple, Self


class DocumentLimits(NamedTuple):
    """Bounds on the document of one service.

    They hold for what a request asks for. A stored document that is larger, because a limit was
    lowered, can still be read, purged and deleted; a PATCH of it must bring it within the limits.

    Attributes:
        origin_rules: rules of all origins together.
        caching_rules: rules of all caching entries together.
        restriction_rules: rules of all restrictions together.
        rules: rules of all three kinds together.
        size: bytes of the document as compact JSON in UTF-8, with every default written out.
    """

    origin_rules: int = 100
    caching_rules: int = 100
    restriction_rules: int = 100
    rules: int = 200
    size: int = 65536

    @classmethod
    def of(cls, options: Any) -> Self:
        """From the options of ``[drivers:transport:limits]``."""
        return cls(
            origin_rules=options.max_origin_rules,
            caching_rules=options.max_caching_rules,
            restriction_rules=options.max_restriction_rules,
            rules=options.max_rules,
            size=options.max_body_size,
        )

    @property
    def by_list(self) -> dict[str, int]:
        """The most rules in all entries of each list of the document."""
        kinds = {
            "origins": self.origin_rules,
            "caching": self.caching_rules,
            "restrictions": self.restriction_rules,
        }
        return {name: min(most, self.rules) for name, most in kinds.items()}
