# SPDX-License-Identifier: Apache-2.0
"""Limits on the size of a service document."""

from typing import Any, NamedTuple, Self


class DocumentLimits(NamedTuple):
    """Limits on the document of one service.

    They apply to requests. If a limit was lowered, a larger stored document can still be read,
    purged and deleted, but a PATCH must bring it within the limits.

    Attributes:
        origin_rules: total rules of all origins.
        caching_rules: total rules of all caching entries.
        restriction_rules: total rules of all restrictions.
        rules: total rules of all kinds.
        size: bytes of the document as compact JSON in UTF-8, with all defaults filled in.
        redirects: number of redirects.
        header_rules: total rules of all entries of ``headers``; an entry without rules is one.
        error_pages: number of error pages.
        signed_url_rules: rules of ``signed_urls``.
    """

    origin_rules: int = 100
    caching_rules: int = 100
    restriction_rules: int = 100
    rules: int = 200
    size: int = 65536
    redirects: int = 100
    header_rules: int = 100
    error_pages: int = 20
    signed_url_rules: int = 100

    @classmethod
    def of(cls, options: Any) -> Self:
        """Read the limits from the options of ``[drivers:transport:limits]``."""
        return cls(
            origin_rules=options.max_origin_rules,
            caching_rules=options.max_caching_rules,
            restriction_rules=options.max_restriction_rules,
            rules=options.max_rules,
            size=options.max_body_size,
            redirects=options.max_redirects,
            header_rules=options.max_header_rules,
            error_pages=options.max_error_pages,
            signed_url_rules=options.max_signed_url_rules,
        )

    @property
    def by_list(self) -> dict[str, int]:
        """The maximum total rules of each list of the document."""
        kinds = {
            "origins": self.origin_rules,
            "caching": self.caching_rules,
            "restrictions": self.restriction_rules,
        }
        return {name: min(most, self.rules) for name, most in kinds.items()}

    @property
    def by_optional_list(self) -> dict[str, int]:
        """The same for the lists that old documents don't have."""
        kinds = {
            "redirects": self.redirects,
            "headers": self.header_rules,
            "error_pages": self.error_pages,
        }
        return {name: min(most, self.rules) for name, most in kinds.items()}

    @property
    def by_object(self) -> dict[str, int]:
        """The maximum rules of each object of the document that has some."""
        return {"signed_urls": min(self.signed_url_rules, self.rules)}
