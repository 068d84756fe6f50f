# SPDX-License-Identifier: Apache-2.0
"""Create, publish and delete the CloudFront functions of a service."""

import hashlib
from collections.abc import Collection, Iterator
from typing import Any

from poppy.common.errors import RetryableError
from poppy.vendors import aws

#: Owner of the functions that have nothing of one service in them. They are never deleted.
SHARED = "shared"
_RUNTIME = "cloudfront-js-2.0"


class Functions:
    """CloudFront functions, one for each version of a service's code for an event.

    A function's name consists of the service's id and a digest of its code. Its code never
    changes, so a distribution switches to a new version atomically with its own update.
    """

    def __init__(self, cloudfront: aws.Service) -> None:
        self._cloudfront = cloudfront

    def ensure(self, service_id: str, code: str) -> str:
        """Have this code published for a service, or for ``SHARED``; gives the function's ARN."""
        name = _name(service_id, code)
        live = self._describe(name, "LIVE")
        if live is not None:
            return _arn(live)
        draft = self._describe(name, "DEVELOPMENT")
        if draft is None:
            draft = self._create(service_id, name, code)
        self._cloudfront.call("publish_function", Name=name, IfMatch=draft["ETag"])
        return _arn(draft)

    def remove_others(self, service_id: str, codes: Collection[str]) -> bool:
        """Delete the functions of a service except those with these codes.

        Functions that a distribution still uses stay. Return whether all others are gone.
        """
        kept = {_name(service_id, code) for code in codes}
        return all([self._delete(name) for name in self._names(service_id) if name not in kept])

    def _names(self, service_id: str) -> Iterator[str]:
        # Every function has this stage, even if it is not published.
        parameters: dict[str, Any] = {"Stage": "DEVELOPMENT"}
        while True:
            page = self._cloudfront.call("list_functions", **parameters)["FunctionList"]
            for entry in page.get("Items", ()):
                if entry["Name"].startswith(_prefix(service_id)):
                    yield entry["Name"]
            if not page.get("NextMarker"):
                return
            parameters["Marker"] = page["NextMarker"]

    def _create(self, service_id: str, name: str, code: str) -> dict[str, Any]:
        try:
            return self._cloudfront.call(
                "create_function",
                Name=name,
                FunctionConfig={"Comment": f"poppy {service_id}", "Runtime": _RUNTIME},
                FunctionCode=code.encode(),
            )
        except aws.Refused as exc:
            if exc.code == "FunctionAlreadyExists":
                # Another call was faster; read the state again.
                raise RetryableError(str(exc)) from exc
            raise

    def _delete(self, name: str) -> bool:
        found = self._describe(name, "DEVELOPMENT")
        if found is None:
            return True
        try:
            self._cloudfront.call("delete_function", Name=name, IfMatch=found["ETag"])
        except aws.Refused as exc:
            if exc.code == "FunctionInUse":
                return False
            if exc.code != "NoSuchFunctionExists":
                raise
        return True

    def _describe(self, name: str, stage: str) -> dict[str, Any] | None:
        try:
            return self._cloudfront.call("describe_function", Name=name, Stage=stage)
        except aws.Refused as exc:
            if exc.code == "NoSuchFunctionExists":
                return None
            raise


def _prefix(service_id: str) -> str:
    return f"poppy-{service_id}-"


def _name(service_id: str, code: str) -> str:
    return _prefix(service_id) + hashlib.sha256(code.encode()).hexdigest()[:16]


def _arn(answer: dict[str, Any]) -> str:
    return str(answer["FunctionSummary"]["FunctionMetadata"]["FunctionARN"])
