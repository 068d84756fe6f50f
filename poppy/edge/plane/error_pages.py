# SPDX-License-Identifier: Apache-2.0
"""Requests that may need an error page, which ``cache.vcl`` fetches.

``changes.lua`` sets the field ``x-p-errors`` for services with error pages.
"""

#: Rules that have Varnish pass a request on that would bypass it otherwise.
RULES = """\
    acl has_body req.hdr(Transfer-Encoding) -m found
    acl has_body req.hdr_val(Content-Length) gt 0
    acl has_body req.body_len gt 0
    acl has_body req.hdr(Upgrade) -m found
    http-request set-header x-p-pass 1 if { req.hdr(x-p-errors) -m found }\
 { var(txn.direct) -m bool } { method GET HEAD } !has_body
    http-request set-var(txn.direct) bool(false) if { req.hdr(x-p-pass) -m found }
"""
