# SPDX-License-Identifier: Apache-2.0
"""What the unit tests share."""

import functools

import pytest


@pytest.fixture(autouse=True, scope="session")
def shared_aws_descriptions():
    """Read each description of an AWS service once, not for each client."""
    try:
        import botocore.session
    except ImportError:
        yield
        return
    with pytest.MonkeyPatch.context() as patched:
        loader = functools.cache(botocore.session.create_loader)
        patched.setattr(botocore.session, "create_loader", loader)
        yield
