# SPDX-License-Identifier: Apache-2.0
"""``poppy-manage domains``: released domains and proof of ownership."""

import argparse
import sys
from typing import Any

from poppy.bootstrap import Bootstrap
from poppy.cmd import tables
from poppy.common import errors
from poppy.common.domains import Policy
from poppy.distributed_task.ownership import Keys
from poppy.manager.admin_search import host
from poppy.storage.domains import Claim

_COLUMNS = ("domain", "project_id", "released_at", "free_at")


def add(areas: Any) -> None:
    """Add the area to the parser of poppy-manage."""
    actions = areas.add_parser("domains", help="claims to domains").add_subparsers(
        dest="action", required=True, metavar="ACTION"
    )
    found = actions.add_parser(
        "list",
        help="list domains in quarantine",
        description="List released domains that are in quarantine, and when other projects can "
        "claim them. Reads the claims of all domains.",
    )
    found.add_argument("--limit", type=int, default=100, help="default: 100")
    found.add_argument("--marker", metavar="DOMAIN", help="list domains after this one")
    found.set_defaults(run=_list)
    tables.add_format(found)
    release = actions.add_parser(
        "release",
        help="free a domain early, or revoke an unproven claim",
        description="End the quarantine of a domain. With domain_ownership = txt, also revoke "
        "the claim of a service if its project has not proven ownership of the domain. To free a "
        "domain that is in use, delete its service.",
    )
    release.add_argument("domain", metavar="DOMAIN")
    release.set_defaults(run=_release)
    rotate = actions.add_parser(
        "rotate-key",
        help="change the key of the TXT records that prove ownership",
        description="Create a new key, from which the values of TXT records are derived. Values "
        "of the previous key are accepted until the next rotation. Proven domains stay proven.",
    )
    rotate.set_defaults(run=_rotate)


def _list(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    if arguments.limit < 1:
        raise errors.InvalidRequest("--limit must be 1 or more")
    policy = Policy.of(bootstrap.conf)
    found = bootstrap.storage.domains.released(arguments.marker, arguments.limit + 1)
    page = found[: arguments.limit]
    tables.show([_row(claim, policy) for claim in page], _COLUMNS, arguments.format)
    if len(found) > len(page):
        print(f"There are more: continue with --marker {page[-1].domain}.", file=sys.stderr)


def _release(bootstrap: Bootstrap, arguments: argparse.Namespace) -> None:
    domain = host(arguments.domain, "domain")
    claim = bootstrap.storage.domains.get(domain)
    if claim.service_id is not None and not _is_revocable(bootstrap, claim):
        raise errors.InvalidRequest(
            f"Domain {domain} is in use by service {claim.service_id} of project "
            f"{claim.project_id}; delete the service instead"
        )
    bootstrap.storage.domains.release(claim)
    print(f"Domain {domain} is free.")


def _is_revocable(bootstrap: Bootstrap, claim: Claim) -> bool:
    """Whether the claim is unproven and the domain is not deployed."""
    if not claim.pending or not Policy.of(bootstrap.conf).proof:
        return False
    service = bootstrap.storage.services.get(claim.project_id, claim.service_id or "")
    return claim.domain not in service.deployed_domains


def _rotate(bootstrap: Bootstrap, _arguments: argparse.Namespace) -> None:
    Keys(bootstrap.storage).rotate()
    print("The key was rotated. Records with values of the previous key are still accepted.")


def _row(claim: Claim, policy: Policy) -> dict[str, Any]:
    assert claim.released_at is not None, "listed claims are released"
    return {
        "domain": claim.domain,
        "project_id": claim.project_id,
        "released_at": claim.released_at.isoformat(timespec="seconds"),
        "free_at": policy.free_at(claim.released_at).isoformat(timespec="seconds"),
    }
