# SPDX-License-Identifier: Apache-2.0
"""The processes of a node: each command first renders the files that its process reads.

So every start of a process serves what the state contains, without API and agent.
"""

import os
from collections.abc import Container, Iterable, Mapping
from pathlib import Path

from oslo_log import log

from poppy.edge.errors import Refused
from poppy.edge.logs import pipe
from poppy.edge.options import Settings
from poppy.edge.plane import access_log, origins
from poppy.edge.plane.certificates import Served as Certificate
from poppy.edge.plane.certificates import check
from poppy.edge.plane.files import Files
from poppy.edge.plane.front import static_files
from poppy.edge.plane.policies import Served, served
from poppy.edge.program import Program
from poppy.edge.state import State

LOG = log.getLogger(__name__)

#: The tags of Varnish's log (vsl(7)) that each hit would write. ``Begin``, ``End`` and ``Link``
#: stay, so that ``varnishlog`` still shows requests to origins.
_TAGS_OF_HITS = (
    *("SessOpen", "SessClose", "ReqStart", "ReqMethod", "ReqURL", "ReqProtocol", "ReqHeader"),
    *("ReqUnset", "ReqAcct", "RespProtocol", "RespStatus", "RespReason", "RespHeader"),
    *("RespUnset", "VCL_call", "VCL_return", "Hit", "Timestamp"),
)


def haproxy_command(settings: Settings) -> list[str]:
    """Render HAProxy's files from the state, and return its command line.

    Raises:
        OSError: a file can't be written.
    """
    files = Files(settings)
    state = State(settings.state_directory / "state")
    stored = sorted(state.programs(), key=lambda it: it.revision)
    programs = (it.program for it in stored)
    services, refusals = serve(programs, settings, check_certificates=True)
    for service_id, reason in refusals.items():
        LOG.error("Not serving %s: %s", service_id, reason)
    settings.run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _clean(files.policies, {name for it in services.values() for name in it.files})
    certificates = [pem for it in services.values() for pem in it.certificates]
    _clean(files.certificates, {it.name for it in certificates})
    for it in services.values():
        write_policy(files, it)
    for pem in certificates:
        _write(files.certificates / pem.name, pem.pem)
    entries = (entry(files, it) for it in certificates)
    _write(files.certificate_list, "".join(f"{line}\n" for line in entries))
    _write_all(static_files(settings, origins.section(settings, settings.run_directory)))
    _write(files.hosts, "".join(f"{key} {value}\n" for key, value in hosts(services)))
    _write(files.services, "".join(f"{it.service_id} {it.value}\n" for it in services.values()))
    deliveries = (f"{it.service_id} {it.delivery}\n" for it in services.values() if it.delivery)
    _write(files.delivery, "".join(deliveries))
    _write(files.sick, "")
    _write(files.challenges, "".join(f"{key} {it}\n" for key, it in challenges(services)))
    pipe.create(files.access_log)
    return access_log.command(files)


def varnish_command(settings: Settings) -> list[str]:
    """Render the VCL, and return varnishd's command line.

    Raises:
        OSError: a file can't be written.
    """
    files = Files(settings)
    files.varnish.mkdir(mode=0o700, parents=True, exist_ok=True)
    settings.run_directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    _write(files.vcl, static_files(settings, "")[files.vcl])
    size = f"{settings.cache_size}m"
    parameters = {
        "http_max_hdr": "256",
        "http_req_hdr_len": "60k",
        "http_req_size": "64k",
        "http_resp_hdr_len": "60k",
        "http_resp_size": "64k",
        "workspace_client": "192k",
        "workspace_backend": "192k",
        # However many small objects have to go, a large one gets its room.
        "nuke_limit": "1000000",
    }
    if not settings.varnish_log:
        parameters["vsl_mask"] = ",".join(f"-{tag}" for tag in _TAGS_OF_HITS)
    command = ["varnishd", "-F", "-j", "none", "-f", str(files.vcl)]
    command += ["-n", str(files.varnish_work), "-T", "none"]
    command += ["-a", f"{files.cache_socket},mode=600"]
    command += ["-s", f"malloc,{size}", "-s", f"Transient=malloc,{size}"]
    for name, value in parameters.items():
        command += ["-p", f"{name}={value}"]
    return command


def serve(
    programs: Iterable[Program], settings: Settings, *, check_certificates: bool = False
) -> tuple[dict[str, Served], dict[str, str]]:
    """Return the services by ID, and the reasons of refused ones.

    Args:
        programs: in the order of their revisions: the last one with a host gets it.
        settings: of the node.
        check_certificates: whether to refuse services with a certificate that HAProxy can't read.
    """
    services: dict[str, Served] = {}
    refusals: dict[str, str] = {}
    for program in programs:
        try:
            service = served(program, settings)
            for certificate in service.certificates if check_certificates else ():
                check(certificate)
            services[program.service_id] = service
        except Refused as exc:
            refusals[program.service_id] = str(exc)
    return services, refusals


def hosts(services: Mapping[str, Served]) -> Iterable[tuple[str, str]]:
    """Return the entries of the map of hosts."""
    owners = {host: it.service_id for it in services.values() for host in it.hosts}
    return owners.items()


def challenges(services: Mapping[str, Served]) -> Iterable[tuple[str, str]]:
    """Return the entries of the map of challenges."""
    return dict(pair for it in services.values() for pair in it.challenges).items()


def entry(files: Files, certificate: Certificate) -> str:
    """Return the entry of a certificate in HAProxy's crt-list."""
    path = str(files.certificates / certificate.name)
    return " ".join((path, *filter(None, (certificate.options,)), *certificate.names))


def write_policy(files: Files, service: Served) -> None:
    """Write the policy of a service and the options of its origins, if it has any."""
    for name, text in service.files.items():
        _write(files.policies / name, text)


def _clean(directory: Path, wanted: Container[str]) -> None:
    """Create a directory, or delete the files in it that are not wanted."""
    directory.mkdir(mode=0o700, parents=True, exist_ok=True)
    for path in directory.iterdir():
        if path.name not in wanted:
            path.unlink(missing_ok=True)


def _write_all(contents: Mapping[Path, str]) -> None:
    for path, text in contents.items():
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _write(path, text)


def _write(path: Path, text: str) -> None:
    """Replace a file as a whole. It is rendered again at each start, so it is not synchronized."""
    draft = path.with_name(f".{path.name}.new")
    with open(os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
        file.write(text)
    draft.replace(path)
