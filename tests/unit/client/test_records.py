# SPDX-License-Identifier: Apache-2.0
"""DNS records as lines of a zone file."""

import dns.zone
from poppyclient.records import Record, zone_lines


def record(kind, name, value):
    return Record(name, "traffic", kind, name, value, None, "missing", None)


def test_lines_are_a_zone_file():
    long = 'x"\\' * 120
    found = zone_lines(
        [
            record("CNAME", "www.example.org", "target.example.net"),
            record("TXT", "_poppy-challenge.example.org", long),
            record("ALIAS", "example.org", "target.example.net."),
        ]
    )
    text = "\n".join(["$TTL 60", "@ SOA ns h 1 1 1 1 1", "@ NS ns", *found, ""])
    zone = dns.zone.from_text(text, "example.org.", relativize=False)
    (cname,) = zone.find_rdataset("www.example.org.", "CNAME")
    assert cname.target.to_text() == "target.example.net."
    (txt,) = zone.find_rdataset("_poppy-challenge.example.org.", "TXT")
    assert b"".join(txt.strings).decode() == long
    assert "; example.org. needs an ALIAS or ANAME to target.example.net." in text
