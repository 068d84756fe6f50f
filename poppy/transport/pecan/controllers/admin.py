# SPDX-License-Identifier: Apache-2.0
"""``/v1.0/admin``: services, domains, limits and certificates of all projects, for operators."""

from http import HTTPStatus

from poppy.model import admin_schemas, certificates
from poppy.model.services import Status
from poppy.policies.base import ADMIN, AUDITOR, service_rule
from poppy.transport.pecan import views
from poppy.transport.pecan.conditional import reply_tagged
from poppy.transport.pecan.controllers.base import API, marker_of, project, uuid
from poppy.transport.pecan.controllers.certificates import CERT_TYPE
from poppy.transport.pecan.openapi import answers, service_answers
from poppy.transport.pecan.paging import MAX_ENTRIES, listing, next_link
from poppy.transport.pecan.request import JSON, JSON_PATCH, Request, integer, parameter
from poppy.transport.pecan.response import Response, reply
from poppy.transport.pecan.routes import Answer, Body, Parameter, Route, tagged

#: Small, because each order is a separate read.
_MAX_ORDERS = 100


def _list_services(api: API, request: Request) -> Response:
    status = parameter(request, "status") or ""
    after = marker_of(request)
    limit = integer(request, "limit", MAX_ENTRIES, MAX_ENTRIES)
    found = api.manager.admin_search.by_status(status, after, limit)
    entries = [{**entry._asdict(), "status": status} for entry in found]
    following = {"status": status, "marker": found[-1].service_id if found else ""}
    return listing(request, entries, limit, following)


def _act(api: API, request: Request) -> Response:
    body = api.body(request)
    following = api.manager.actions.act(body, marker_of(request), request.request_id)
    headers = {} if following is None else {"Link": next_link(request, {"marker": following})}
    return reply(status=HTTPStatus.ACCEPTED, headers=headers)


def _set_status(api: API, request: Request) -> Response:
    deploys = api.manager.actions.set_status(api.body(request), request.request_id)
    return reply(status=HTTPStatus.ACCEPTED if deploys else HTTPStatus.CREATED)


def _set_provider_details(api: API, request: Request, service_id: str) -> Response:
    body = api.body(request)
    service_id = uuid(service_id, "service id")
    changed = api.manager.actions.move(service_id, body, request.request_id)
    return reply(status=HTTPStatus.CREATED if changed else HTTPStatus.ACCEPTED)


def _list_domains(api: API, request: Request) -> Response:
    url = parameter(request, "provider_url") or ""
    after = parameter(request, "marker")
    limit = integer(request, "limit", MAX_ENTRIES, MAX_ENTRIES)
    found = api.manager.admin_search.domains_at(url, after, limit)
    following = {"provider_url": url, "marker": found[-1] if found else ""}
    return listing(request, list(found), limit, following)


def _get_by_domain(api: API, request: Request, domain: str) -> Response:
    service = api.manager.admin_search.by_domain(domain)
    return reply_tagged(request, views.service(service, request.base_url), service.revision)


def _get_limit(api: API, request: Request, project_id: str) -> Response:
    return reply({"limit": api.manager.limits.get(project(project_id))})


def _set_limit(api: API, request: Request, project_id: str) -> Response:
    body = api.body(request)
    api.manager.limits.set(project(project_id), body)
    return reply(status=HTTPStatus.CREATED)


def _list_certificates(api: API, request: Request) -> Response:
    status = parameter(request, "status") or ""
    after = marker_of(request)
    limit = integer(request, "limit", _MAX_ORDERS, _MAX_ORDERS)
    found, following = api.manager.certificates.by_status(status, after, limit)
    headers = {}
    if following is not None:
        query = {"status": status, "marker": following, "limit": str(limit)}
        headers["Link"] = next_link(request, query)
    return reply([views.certificate(order) for order in found], headers=headers)


def _set_certificate_status(api: API, request: Request, domain: str) -> Response:
    body = api.body(request)
    cert_type = parameter(request, "cert_type")
    api.manager.certificates.set_status(domain, cert_type, body, request.request_id)
    return reply(status=HTTPStatus.NO_CONTENT)


_CHANGES = (HTTPStatus.NOT_FOUND, HTTPStatus.CONFLICT)
_ONE = {"project_id": answers.PROJECT_ID, "service_id": answers.SERVICE_ID}
_MARKER = Parameter("marker", "The ID of the last entry of the previous page.", answers.UUID)


def _limit(largest: int) -> Parameter:
    schema = {"type": "integer", "minimum": 1, "maximum": largest, "default": largest}
    return Parameter("limit", "The maximum number of entries on a page.", schema)


def _status(values: list[str]) -> Parameter:
    schema = {"type": "string", "enum": values}
    return Parameter("status", "The status.", schema, "failed", required=True)


ROUTES = (
    Route(
        "GET /v1.0/admin/services",
        _list_services,
        service_rule(
            "cdn:admin_services:list", AUDITOR, "List the services of all projects by status."
        ),
        id="listServicesByStatus",
        summary="List the services of all projects with a status.",
        parameters=(_status([status.value for status in Status]), _limit(MAX_ENTRIES), _MARKER),
        answers={
            HTTPStatus.OK: Answer(
                "A page of services.",
                answers.array(
                    answers.answer(
                        "Service found",
                        {
                            "project_id": answers.TEXT,
                            "service_id": answers.UUID,
                            "status": answers.TEXT,
                        },
                    )
                ),
                [{**_ONE, "status": "failed"}],
                may_have=("Link",),
            )
        },
    ),
    Route(
        "POST /v1.0/admin/services/action",
        _act,
        service_rule(
            "cdn:admin_services:action",
            ADMIN,
            "Enable, disable or delete all services of a project, or the service of a domain.",
        ),
        id="actOnServices",
        summary="Enable, disable or delete a project's services, or the service with a domain.",
        description="A request handles as many services as it can in a short time. If more "
        "remain, repeat the request at the URL in Link.",
        parameters=(_MARKER,),
        body=Body(
            admin_schemas.SERVICE_ACTION, {"action": "disable", "domain": "www.example.com"}
        ),
        answers={HTTPStatus.ACCEPTED: Answer("The action is accepted.", may_have=("Link",))},
        errors=_CHANGES,
    ),
    Route(
        "POST /v1.0/admin/services/status",
        _set_status,
        service_rule("cdn:admin_services:set_status", ADMIN),
        id="setServiceStatus",
        summary="Set the status of a service.",
        body=Body(admin_schemas.SERVICE_STATUS, {"status": "failed", **_ONE}),
        answers={
            HTTPStatus.CREATED: Answer("The status is set."),
            HTTPStatus.ACCEPTED: Answer(
                "The service exists at no provider; its deployment has started."
            ),
        },
        errors=_CHANGES,
    ),
    Route(
        "PATCH /v1.0/admin/services/provider_details/{service_id}",
        _set_provider_details,
        service_rule(
            "cdn:admin_services:set_provider_details",
            ADMIN,
            "Set the operator name and the provider's name of a domain.",
        ),
        id="setProviderDetails",
        summary="Point a domain's operator name to a provider hostname.",
        body=Body(
            admin_schemas.PROVIDER_DETAILS,
            {
                "project_id": answers.PROJECT_ID,
                "domain_name": "www.example.com",
                "operator_url": "www.example.com.cdn.example.net",
                "provider_url": "edge7.provider.example",
            },
        ),
        answers={
            HTTPStatus.CREATED: Answer("The change has started."),
            HTTPStatus.ACCEPTED: Answer("The name already points there."),
        },
        errors=_CHANGES,
    ),
    Route(
        "GET /v1.0/admin/domains",
        _list_domains,
        service_rule(
            "cdn:admin_domains:list", AUDITOR, "List the domains with a given provider URL."
        ),
        id="listDomains",
        summary="List the domains behind a provider hostname.",
        parameters=(
            Parameter(
                "provider_url",
                "The provider hostname.",
                answers.TEXT,
                "edge7.provider.example",
                required=True,
            ),
            _limit(MAX_ENTRIES),
            Parameter("marker", "The last domain of the previous page.", answers.TEXT),
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of domains.",
                answers.array(answers.TEXT, "The domains, sorted."),
                ["www.example.com"],
                may_have=("Link",),
            )
        },
    ),
    tagged(
        Route(
            "GET /v1.0/admin/domains/{domain}",
            _get_by_domain,
            service_rule("cdn:admin_domains:get", AUDITOR, "Show the service of a domain."),
            id="getServiceByDomain",
            summary="Show the service with a domain.",
            answers={
                HTTPStatus.OK: Answer(
                    "The service.", service_answers.SERVICE, service_answers.SERVICE_EXAMPLE
                ),
            },
        )
    ),
    Route(
        "GET /v1.0/admin/limits/{project_id}",
        _get_limit,
        service_rule("cdn:admin_limits:get", AUDITOR, "Show the service limit of a project."),
        id="getLimit",
        summary="Show how many services a project may have.",
        answers={HTTPStatus.OK: Answer("The limit.", admin_schemas.LIMIT, {"limit": 20})},
    ),
    Route(
        "PUT /v1.0/admin/limits/{project_id}",
        _set_limit,
        service_rule("cdn:admin_limits:update", ADMIN, "Set the service limit of a project."),
        id="setLimit",
        summary="Set how many services a project may have. Existing services stay.",
        body=Body(admin_schemas.LIMIT, {"limit": 50}),
        answers={HTTPStatus.CREATED: Answer("The limit is set.")},
    ),
    Route(
        "GET /v1.0/admin/certificates",
        _list_certificates,
        service_rule(
            "cdn:admin_certificates:list",
            AUDITOR,
            "List the certificate orders of all projects by status.",
        ),
        id="listCertificates",
        summary="List the certificate orders of all projects with a status.",
        parameters=(
            _status([*certificates.STATES, "delete_in_progress"]),
            _limit(_MAX_ORDERS),
            _MARKER,
        ),
        answers={
            HTTPStatus.OK: Answer(
                "A page of orders.",
                answers.array(answers.ORDER),
                [answers.ORDER_EXAMPLE],
                may_have=("Link",),
            )
        },
    ),
    Route(
        "PATCH /v1.0/admin/certificates/{domain}",
        _set_certificate_status,
        service_rule("cdn:admin_certificates:update", ADMIN),
        id="setCertificateStatus",
        summary="Set the status of a certificate.",
        description="With create_in_progress the certificate is requested from the providers "
        "again.",
        parameters=(CERT_TYPE,),
        body=Body(
            admin_schemas.CERTIFICATE_PATCH,
            [{"op": "replace", "path": "/status", "value": "deployed"}],
            media_types=(JSON_PATCH, JSON),
        ),
        answers={HTTPStatus.NO_CONTENT: Answer("The status is set.")},
        errors=_CHANGES,
    ),
)
