# SPDX-License-Identifier: Apache-2.0
"""Names of Route 53 records, for the check before a service is accepted."""

from poppy.dns.route53.records import longest_helper_of, steered
from poppy.dns.steering import Target


def test_helper_names_are_at_most_as_long_as_the_longest() -> None:
    name = "www.example.org.cdn.example.net"
    places = ({"countries": ("DE",)}, {"continents": ("EU",)}, {})
    policy = [
        Target(f"{label}{number}.example.com", 1, **place)
        for number, place in enumerate(places)
        for label in "ab"
    ]
    made = {record["Name"].rstrip(".") for record in steered(name, policy, 300)}
    assert longest_helper_of(name) in made
    assert max(map(len, made)) == len(longest_helper_of(name))
