# SPDX-License-Identifier: Apache-2.0
"""What browsers get from each provider's data plane."""

from collections.abc import Iterator

import pytest

from poppy.testing.edge import EdgeContract
from tests.real.akamai_plane import AkamaiPlane
from tests.real.cloudfront_plane import CloudFrontPlane, GuardedCloudFrontPlane
from tests.real.edge_plane import EdgePlane, SecureEdgePlane
from tests.real.fastly_plane import FastlyPlane

pytestmark = pytest.mark.real


class TestOwnEdge(EdgeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def plane(cls) -> Iterator[EdgePlane]:
        with EdgePlane() as plane:
            yield plane


class TestOwnEdgeOverHTTPS(EdgeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def plane(cls) -> Iterator[SecureEdgePlane]:
        with SecureEdgePlane() as plane:
            yield plane


class TestFastlyWithGeneratedVCL(EdgeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def plane(cls) -> Iterator[FastlyPlane]:
        with FastlyPlane("generated VCL") as plane:
            yield plane


class TestFastlyWithCustomVCL(EdgeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def plane(cls) -> Iterator[FastlyPlane]:
        with FastlyPlane("custom VCL") as plane:
            yield plane


class TestCloudFront(EdgeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def plane(cls) -> Iterator[CloudFrontPlane]:
        with CloudFrontPlane() as plane:
            yield plane


class TestCloudFrontWithOriginResponseFunction(EdgeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def plane(cls) -> Iterator[GuardedCloudFrontPlane]:
        with GuardedCloudFrontPlane() as plane:
            yield plane


class TestAkamai(EdgeContract):
    @pytest.fixture(scope="class")
    @classmethod
    def plane(cls) -> AkamaiPlane:
        return AkamaiPlane()
