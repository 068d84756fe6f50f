# SPDX-License-Identifier: Apache-2.0
"""HAProxy towards the origins: the sections of its configuration between Varnish and the origins.

Varnish sends each request to the unix socket ``origin.sock`` with these fields, which no origin
receives:

``x-p-origin``
    ``host:port|tls|Host field|...;client``. An IPv6 address has brackets. ``tls`` is ``1`` for
    TLS, with the host's name in SNI and in the certificate. The Host field may be empty, for the
    requested one. The client's address is for X-Forwarded-For.
``x-p-for``
    X-Forwarded-For, if it is not that address.
``x-p-proto``
    X-Forwarded-Proto, if it is ``https`` and no trusted proxy has sent the field.
``x-p-final``
    ``1`` if Varnish did not understand the response to the same request. Interim responses (1xx)
    are then dropped, and for a day also those to later requests of the same origin.
``x-p-service``
    The service's ID, which is part of the name of the file with the origin's options
    (:mod:`poppy.edge.plane.origins_options`).
``x-p-turn``
    ``check`` for a health check; ``first`` and ``second`` are explained below.

``origins_options.lua`` applies the options of an origin. If another origin stands in for failures,
a request that can be repeated makes a detour over the backend ``origin_turns``. The first turn
goes to the origin. If that fails, or has a status of the list, it answers 425. HAProxy then
repeats the request, and the second turn goes to the backup.

``origins.lua`` chooses the address. Poppy's own errors are 502 (the origin is refused, has no
address, or closed the connection without a response), 503 (no connection, or no TLS) and 504 (no
response in time), with a body in plain text. An origin's errors pass through.
"""

import ipaddress
import math
from collections.abc import Iterable
from http import HTTPStatus
from pathlib import Path

from poppy.common import addresses
from poppy.edge.options import Settings
from poppy.edge.plane.files import Files

#: Kept connections, of all origins together. By default, HAProxy keeps as many as there were
#: requests at a time, which is too few if each goes to another origin.
_MAX_IDLE = 1000

#: Seconds that the options of an origin may allow for a connection, and for a response.
_LONGEST_CONNECT, _LONGEST_RESPONSE = 60, 300
#: In the order in which HAProxy loads them.
_SCRIPTS = ("common", "origins", "origins_options", "origins_sizes", "origins_addresses")
#: Milliseconds and bytes of a response without Content-Length that HAProxy waits for. A response
#: that ends before is small; the buffer has room for so much.
_WAIT_MS, _WAIT_BYTES = 200, 65536

#: IPv4 networks that are not globally reachable: those that :func:`poppy.common.addresses.check`
#: refuses (IANA, "IPv4 Special-Purpose Address Registry").
_SPECIAL_V4 = (
    "0.0.0.0/8",
    "10.0.0.0/8",
    "100.64.0.0/10",
    "127.0.0.0/8",
    "168.63.129.16/32",
    "169.254.0.0/16",
    "172.16.0.0/12",
    "192.0.0.0/24",
    "192.0.2.0/24",
    "192.88.99.0/24",
    "192.168.0.0/16",
    "198.18.0.0/15",
    "198.51.100.0/24",
    "203.0.113.0/24",
    "224.0.0.0/3",
)
#: The same for IPv6 (IANA, "IPv6 Special-Purpose Address Registry"). This includes Teredo
#: (2001::/32), whose addresses lead to two IPv4 addresses; no origin needs it.
_SPECIAL_V6 = (
    "::/3",
    "2001::/23",
    "2001:db8::/32",
    "3fff::/20",
    "4000::/2",
    "8000::/1",
)
_MAPPED = ipaddress.IPv6Network("::ffff:0:0/96")
_NAT64 = ipaddress.IPv6Network("64:ff9b::/96")  # RFC 6052.
_6TO4 = ipaddress.IPv6Network("2002::/16")


def section(settings: Settings, run_directory: Path) -> str:
    """Return the sections for HAProxy's configuration.

    They must come last, because sections after them would inherit their defaults. The ``global``
    section before them needs ``tune.bufsize`` for the widest header.
    """
    files = Files(settings)
    lua_settings = {
        "servers": ",".join(settings.nameservers),
        "timeout": settings.connect_timeout,
        "refused": _listed(_with_embedding(settings.refused_origins)),
        "allowed": _listed(_with_embedding(settings.allowed_origins)),
        "special": _listed(_special()),
        "policies": files.policies,
        "sick": files.sick,
        "largest": settings.max_object_size,
    }
    # HAProxy has one timeout for both. Varnish applies the shorter one.
    server_timeout = max(settings.first_byte_timeout, settings.between_bytes_timeout)
    return _TEMPLATE.format(
        scripts="".join(
            f"    lua-load-per-thread {Path(__file__).with_name(name)}.lua\n" for name in _SCRIPTS
        ),
        tls=_TLS.format(ca_file=settings.origin_ca_file),
        pooled=_POOLED,
        once=_ONCE,
        url="%[req.fhdr(x-p-service)] %[req.fhdr(host)] %[pathq]",
        wait_ms=_WAIT_MS,
        wait_bytes=_WAIT_BYTES,
        lua_settings=";".join(f"{name}={value}" for name, value in lua_settings.items()),
        connect_ms=_milliseconds(settings.connect_timeout),
        server_ms=_milliseconds(server_timeout),
        errors="".join(map(_error, (404, 405, 502, 503, 504))),
        log=_LOG,
        # So that the errors of the direct way arrive.
        detour_ms=5000
        + _milliseconds(
            max(server_timeout, _LONGEST_RESPONSE)
            + 3 * max(settings.connect_timeout, _LONGEST_CONNECT)
        ),
        patient=max(1, math.ceil(settings.connect_timeout)),
        run=run_directory,
        backends="".join(
            _BACKEND.format(name=f"{scheme}_{use}{suffix}", how=how + patience, tls=tls)
            for scheme, tls in (
                ("plain", ""),
                ("tls", _TLS.format(ca_file=settings.origin_ca_file) + _SNI),
            )
            for use, how in (("pooled", _POOLED), ("once", _ONCE))
            for suffix, patience in (("", ""), ("_patient", _PATIENT))
        ),
    )


def _special() -> list[addresses.Network]:
    """Return the networks that origins must not have unless they are allowed."""
    outside = [ipaddress.IPv6Network(text) for text in _SPECIAL_V6]
    for leads_to_v4 in (_MAPPED, _NAT64):
        around = next(network for network in outside if leads_to_v4.subnet_of(network))
        outside.remove(around)
        outside += around.address_exclude(leads_to_v4)
    return [*_with_embedding(map(ipaddress.IPv4Network, _SPECIAL_V4)), *outside]


def _with_embedding(networks: Iterable[addresses.Network]) -> list[addresses.Network]:
    """Return networks, and those of IPv6 that lead to them."""
    found: list[addresses.Network] = []
    for network in networks:
        found.append(network)
        if isinstance(network, ipaddress.IPv4Network):
            found += [
                ipaddress.IPv6Network(
                    (
                        int(around.network_address)
                        | int(network.network_address) << (96 - around.prefixlen),
                        around.prefixlen + network.prefixlen,
                    )
                )
                for around in (_MAPPED, _NAT64, _6TO4)
            ]
    return found


def _listed(networks: Iterable[addresses.Network]) -> str:
    return ",".join(map(str, networks))


def _error(status: int) -> str:
    text = f"Error {status} {HTTPStatus(status).phrase}\\n"
    kind = "text/plain; charset=utf-8"
    return f'    http-error status {status} content-type "{kind}" string "{text}"\n'


def _milliseconds(seconds: float) -> int:
    return max(1, round(seconds * 1000))


#: ``state`` is HAProxy's: SC for a refused connection, sC for none in time, SH for no response, sH
#: for none in time, SD and sD in the middle of a body.
_LOG = (
    "origin %[var(txn.p_origin)] address=%[var(txn.p_address)] method=%HM status=%ST state=%ts "
    'times=%Tc/%Tr/%Ta cause="%[var(txn.p_problem)] %[bc_err_str] %[ssl_bc_err_str]"'
)
# A connection of Varnish carries one request. On later ones, HAProxy answers the end of an
# origin's connection by closing without a response, and Varnish would repeat the request. (The
# option httpclose would close the connections to origins, too.)
#
# Only GET, HEAD and OPTIONS without a body are repeated after they were sent, so only they use
# kept connections, which the origin may be closing. Kept connections are told apart by address,
# port and SNI, and those of another backend are not used.
_TEMPLATE = """\
global
    setenv POPPY_ORIGINS "{lua_settings}"
{scripts}\

defaults origin
    mode http
    timeout client {server_ms}ms
    timeout connect {connect_ms}ms
    timeout server {server_ms}ms
    timeout tunnel 1h
{errors}
backend origin_interim from origin
    stick-table type string len 264 size 10k expire 1d store gpc0

frontend origin from origin
    bind unix@{run}/origin.sock mode 600 name origin
    bind unix@{run}/origin-direct.sock mode 600 name direct
    bind unix@{run}/origin-first.sock mode 600 name first
    bind unix@{run}/origin-second.sock mode 600 name second
    log global
    log-format '{log}'
    filter lua.measure
    option dontlog-normal
    option dontlognull
    acl has_body req.hdr(transfer-encoding) -m found
    acl has_body req.hdr_val(content-length) gt 0
    acl has_client var(txn.p_entry),field(2,;) -m len gt 0
    acl has_for req.hdr(x-p-for) -m found
    acl has_host var(txn.p_entry),field(3,|) -m len gt 0
    acl has_proto req.hdr(X-Forwarded-Proto) -m found
    acl has_options var(txn.p_options) -m found
    acl is_kept req.hdr(x-p-size) -m str kept
    acl is_measured req.hdr(x-p-size) -m found
    acl is_outer so_name origin
    acl is_short res.body_len lt {wait_bytes}
    acl will_be_kept var(txn.p_kept) -m bool
    acl is_quick var(txn.p_waited) -m int lt {wait_ms}
    acl is_unknown var(txn.p_unknown) -m bool
    acl is_sized res.hdr(content-length) -m found
    acl is_known var(txn.p_size) -m found
    acl is_address var(txn.p_by_address) -m bool
    acl is_secure req.hdr(x-p-proto) -m str https
    acl has_turns var(txn.p_has_turns) -m bool
    acl is_direct so_name direct
    acl is_interim var(txn.p_origin),in_table(origin_interim)
    acl is_first var(txn.p_turn) -m str first
    acl is_patient var(txn.p_connect) -m int gt {patient}
    acl is_pooled var(txn.p_pooled) -m bool
    acl is_tls var(txn.p_tls) -m str 1
    acl needs_detour var(txn.p_detour) -m bool
    acl refers var(txn.p_entry),field(2,|) -m sub /
    http-request set-var-fmt(txn.p_measured) "{url}" if is_outer is_measured
    http-request set-var(txn.p_kept) bool(1) if is_outer is_kept
    http-request set-header x-p-turn %[so_name] if {{ so_name first second }}
    http-request set-var(txn.p_turn) req.fhdr(x-p-turn)
    http-request set-var(txn.p_entry) req.fhdr(x-p-origin)
    http-request set-var(txn.p_pooled) bool(1) if {{ method GET HEAD OPTIONS }} !has_body
    http-request set-var(txn.p_wait) var(txn.p_entry),field(2,|),field(3,/),add(0) if refers
    http-request lua.origin_options if refers
    http-request deny deny_status 502 if refers !has_options
    http-request set-log-level silent if has_turns
    http-request allow if has_turns
    http-request set-var(txn.p_origin) var(txn.p_entry),field(1,|)
    http-request set-var(txn.p_tls) var(txn.p_entry),field(2,|)
    http-request track-sc0 var(txn.p_origin) table origin_interim if {{ req.hdr(x-p-final) 1 }}
    http-request set-var(txn.p_detour) bool(1) if is_pooled is_interim !is_direct
    http-request set-log-level silent if needs_detour
    http-request allow if needs_detour
    http-request set-header X-Forwarded-For %[var(txn.p_entry),field(2,;)] if has_client
    http-request set-header X-Forwarded-For %[req.fhdr(x-p-for)] if has_for
    http-request set-header X-Forwarded-Proto https if !has_proto is_secure
    http-request set-header X-Forwarded-Proto http if !has_proto
    http-request set-header Host %[var(txn.p_entry),field(3,|)] if has_host
    http-request add-header CDN-Loop poppy
    http-request del-header x-p- -m beg
    http-request lua.origin_request if has_options
    http-request deny deny_status 502 if has_options !{{ var(txn.p_changed) -m bool }}
    http-request deny deny_status 404 if {{ var(txn.p_status) -m str 404 }}
    http-request deny deny_status 405 if {{ var(txn.p_status) -m str 405 }}
    http-request lua.origin
    http-request deny deny_status 503 if {{ var(txn.p_status) -m str 503 }}
    http-request deny deny_status 502 unless {{ var(txn.p_address) -m found }}
    http-request set-dst var(txn.p_address)
    http-request set-dst-port var(txn.p_port)
    http-request set-src var(txn.p_address) if is_tls is_address
    http-response del-header x-p- -m beg
    http-response unset-var(txn.p_measured) if is_sized
    http-response unset-var(txn.p_measured) unless {{ status 200 }}
    http-response set-var(txn.p_unknown) bool(1) if will_be_kept {{ var(txn.p_measured) -m found }}
    http-response lua.known_size if is_unknown
    http-response set-var(txn.p_began) date(0,ms) if is_unknown !is_known
    http-response wait-for-body time {wait_ms} at-least {wait_bytes} if is_unknown !is_known
    http-response set-var(txn.p_waited) date(0,ms),sub(txn.p_began) if is_unknown !is_known
    http-response set-var(txn.p_size) str(unknown) if is_unknown !is_known
    http-response set-var(txn.p_size) str(small) if is_unknown is_quick is_short
    http-response set-header x-p-size %[var(txn.p_size)] if is_unknown
    http-response set-var(txn.p_responded) bool(1)
    http-after-response set-var-fmt(txn.p_judged) "%[status] %[var(txn.p_statuses)]" if is_first
    http-after-response set-status 425 if is_first {{ var(txn.p_judged),lua.is_listed -m str yes }}
    http-after-response set-status 425 if is_first !{{ var(txn.p_responded) -m bool }}
    http-after-response set-header X-Cache MISS
    http-after-response set-header connection close unless {{ status 101 }}
    use_backend origin_turns if has_turns
    use_backend origin_detour if needs_detour
    use_backend origin_address_pooled if is_tls is_address is_pooled
    use_backend origin_address_once if is_tls is_address
    use_backend origin_tls_pooled_patient if is_tls is_pooled is_patient
    use_backend origin_tls_once_patient if is_tls is_patient
    use_backend origin_plain_pooled_patient if is_pooled is_patient
    use_backend origin_plain_once_patient if is_patient
    use_backend origin_tls_pooled if is_tls is_pooled
    use_backend origin_tls_once if is_tls
    use_backend origin_plain_pooled if is_pooled
    default_backend origin_plain_once
{backends}
# TLS to an address makes a detour over TCP, where a filter verifies it. The proxy protocol carries
# the address, and tells kept connections apart.
backend origin_address_pooled from origin
{pooled}\
    http-request set-timeout server var(txn.p_response) if {{ var(txn.p_response) -m found }}
    server address unix@{run}/origin-address.sock send-proxy-v2

backend origin_address_once from origin
{once}\
    http-request set-timeout server var(txn.p_response) if {{ var(txn.p_response) -m found }}
    server address unix@{run}/origin-address.sock send-proxy-v2

# The second server gets requests again that fail at the first.
backend origin_turns from origin
    balance first
    http-reuse never
    retries 1
    option redispatch 1
    retry-on 425 conn-failure empty-response
    http-request set-timeout server var(txn.p_wait)
    server first unix@{run}/origin-first.sock
    server second unix@{run}/origin-second.sock

# HAProxy forwards interim responses before it applies any rule. So the responses of origins that
# send them make a detour over TCP, where a filter drops them. A detour doubles the CPU time.
backend origin_detour from origin
    http-reuse never
    retries 0
    timeout server {detour_ms}ms
    server detour unix@{run}/origin-detour.sock

defaults origin_tcp
    mode tcp
    timeout client {detour_ms}ms
    timeout connect {connect_ms}ms
    timeout server {detour_ms}ms
    timeout tunnel 1h

frontend origin_detour_tcp from origin_tcp
    bind unix@{run}/origin-detour.sock mode 600
    filter lua.final
    default_backend origin_direct

frontend origin_address from origin_tcp
    bind unix@{run}/origin-address.sock mode 600 accept-proxy
    tcp-request content set-var(txn.p_wanted) dst,hex
    filter lua.verified
    default_backend origin_address_tls

backend origin_address_tls from origin_tcp
    retries 0
    server origin 0.0.0.0:0{tls}

backend origin_direct from origin_tcp
    server direct unix@{run}/origin-direct.sock
"""

_BACKEND = """
backend origin_{name} from origin
{how}    http-request set-timeout server var(txn.p_response) if {{ var(txn.p_response) -m found }}
    server origin 0.0.0.0:0{tls}
"""
#: For options with a longer timeout than the node's. ``origins.lua`` has connected in that time.
_PATIENT = f"    timeout connect {_LONGEST_CONNECT}s\n"
_POOLED = f"""\
    http-reuse always
    default-server pool-low-conn {_MAX_IDLE} pool-max-conn {_MAX_IDLE} pool-purge-delay 30s
    retries 1
    retry-on empty-response
"""
_ONCE = """\
    http-reuse never
    retries 0
"""
# Without a session to resume, HAProxy verifies the certificate at each connection.
_TLS = " ssl verify required ca-file {ca_file} alpn http/1.1 ssl-min-ver TLSv1.2 no-ssl-reuse"
_SNI = " sni var(txn.p_host)"  # HAProxy verifies this name.
