# SPDX-License-Identifier: Apache-2.0
"""What a node counts: each response once, wherever the agent, HAProxy or the API fails."""

import collections
import datetime
import functools
import json
import random
import string

import pytest

from poppy.common.errors import PermanentError
from poppy.edge import files, traffic
from poppy.edge.plane import traffic as table
from poppy.edge.traffic import Ledger, Sample
from poppy.model.edge_traffic import HOUR, MAX_DOMAINS, TOTAL, Counts, Domain
from tests.unit.edge.agent_parts import Site
from tests.unit.edge.test_program import PROGRAM

WWW = Domain("a1", "www.example.com")
OTHER = Domain("b2", "b2.example.com")
REPLY = """\
Name: HAProxy
Pid: 4711
Uptime: 0d 0h00m15s
Start_time_sec: 1796063811
Tainted: 0

# table: traffic, type: string, size:65536, used:2
0x560763567780: key=www.example.com|a1 use=1 exp=604800000 bytes_out_cnt=99 gpc0=0 gpc1=7 gpc2=1 \
gpc3=2 gpc4=3 gpc5=6 gpc6=1
0x560763567782: key=www.example.com|a1|DE use=0 exp=5 bytes_out_cnt=5 gpc1=2
0x560763567783: key=www.example.com|a1|Germany use=0 exp=5 bytes_out_cnt=1 gpc3=1
0x560763567781: key=b2.example.com|b2 use=0 exp=5 bytes_out_cnt=1 gpc0=0 gpc1=0 gpc2=0 gpc3=0 \
gpc4=0 gpc5=0 gpc6=0

"""


class Time:
    """The time of day."""

    def __init__(self):
        self.now = datetime.datetime(2030, 1, 2, 3, 58, tzinfo=datetime.UTC)

    def __call__(self):
        return self.now


@pytest.fixture
def time():
    return Time()


@pytest.fixture
def ledger(tmp_path, time):
    made = Ledger(tmp_path, time)
    made.add(Sample("p1", {}))
    return made


def sample(ok, sent=None, process="p1", domain=WWW, country="ZZ"):
    counts = Counts(responses_2xx=ok, sent=ok if sent is None else sent)
    return Sample(process, {domain._replace(country=country): counts})


def test_table_of_haproxy_is_read():
    assert table.parse(REPLY) == Sample(
        "4711-1796063811",
        {
            WWW._replace(country="ZZ"): Counts(0, 13, 1, 2, 3, 7, 99),
            WWW._replace(country="Germany"): Counts(responses_4xx=1, sent=1),
            WWW._replace(country="DE"): Counts(responses_2xx=2, sent=5),
            OTHER._replace(country="ZZ"): Counts(sent=1),
        },
    )
    with pytest.raises(PermanentError, match="restart it"):
        table.parse("Pid: 4711\nStart_time_sec: 1796063811\n\nNo such table\n")


def test_first_sample_of_a_node_is_not_counted(tmp_path, time):
    ledger = Ledger(tmp_path, time)
    assert ledger.add(sample(5)) == Counts()
    assert ledger.batch() is None
    assert ledger.add(sample(7)) == Counts(responses_2xx=2, sent=2)


def test_sums_of_an_hour_are_below_one_source_and_the_next_hour_has_another(ledger, time):
    ledger.add(sample(5))
    time.now += datetime.timedelta(minutes=1)
    ledger.add(sample(6))
    first = ledger.batch()
    assert first.counts == {it: Counts(responses_2xx=6, sent=6) for it in (WWW, TOTAL)}
    time.now += datetime.timedelta(minutes=1)
    ledger.add(sample(10))
    assert ledger.batch() == first, "the oldest hour first"
    ledger.taken(first)
    second = ledger.batch()
    assert second.counts[WWW] == Counts(responses_2xx=4, sent=4)
    assert (second.hour - first.hour, first.hour.minute) == (HOUR, 0)
    assert second.source != first.source
    assert second.sequence > first.sequence


def test_domain_is_reported_with_its_known_countries(ledger, tmp_path, time):
    ok = [Counts(responses_2xx=number) for number in range(10)]
    zones = [WWW._replace(country=code) for code in ("DE", "FR", "Germany")]
    ledger.add(Sample("p1", dict(zip(zones, (ok[1], ok[2], ok[3]), strict=True))))
    found = ledger.batch()
    assert found.counts == {WWW: ok[6], zones[0]: ok[1], zones[1]: ok[2], TOTAL: ok[6]}
    ledger.taken(found)
    assert ledger.batch() is None
    again = Ledger(tmp_path, time)
    again.add(Sample("p1", dict(zip(zones, (ok[1], ok[4], ok[3]), strict=True))))
    assert again.batch().counts == {WWW: ok[8], zones[0]: ok[1], zones[1]: ok[4], TOTAL: ok[8]}
    again.add(Sample("p1", {zones[0]: ok[1], zones[1]: ok[4]}))
    assert again.batch().counts[WWW] == ok[8], "HAProxy has deleted an entry"
    again.taken(again.batch(), stored=False)
    assert (again.batch(), again.lost) == (None, 8)


def test_file_without_countries_goes_on(tmp_path, time, ledger):
    ledger.add(sample(5))
    (path,) = tmp_path.glob("*.json")
    document = json.loads(path.read_text())
    for name in ("seen", "sums"):
        document[name] = [[*row[:2], *row[3:]] for row in document[name]]
    path.write_text(json.dumps(document))
    again = Ledger(tmp_path, time)
    assert again.add(sample(7)) == Counts(responses_2xx=2, sent=2)
    assert again.add(sample(4, process="p2", country="DE")).responses_2xx == 4
    batch = again.batch()
    assert batch.counts[WWW].responses_2xx == 11
    assert batch.counts[WWW._replace(country="DE")].responses_2xx == 4
    assert batch.source == path.stem


def test_counters_that_wrap_or_begin_again(ledger):
    ledger.add(sample(2**32 - 3, sent=100))
    assert ledger.add(sample(4, sent=130)) == Counts(responses_2xx=7, sent=30), "32 bits"
    assert ledger.add(sample(2, sent=90)) == Counts(responses_2xx=2, sent=90), "another entry"
    assert ledger.add(sample(1, sent=900)) == Counts(responses_2xx=1, sent=900), "and another"
    assert ledger.add(Sample("p1", {})) == Counts(), "HAProxy has deleted the entry"
    assert ledger.add(sample(9, sent=990)) == Counts(responses_2xx=9, sent=990)
    assert ledger.add(sample(3, process="p2")) == Counts(responses_2xx=3, sent=3), "restarted"


def test_failed_write_adds_nothing(ledger, monkeypatch):
    ledger.add(sample(5))
    with monkeypatch.context() as patch:
        patch.setattr(files, "replace", lambda *_: (_ for _ in ()).throw(OSError("full")))
        with pytest.raises(OSError, match="full"):
            ledger.add(sample(8))
    assert ledger.batch().counts[WWW].responses_2xx == 5
    ledger.add(sample(9))
    assert ledger.batch().counts[WWW].responses_2xx == 9


def test_after_a_damaged_file_nothing_counts_twice(ledger, tmp_path, time):
    ledger.add(sample(5))
    time.now += HOUR
    ledger.add(sample(8))
    newest = max(tmp_path.glob("*.json"), key=lambda it: it.stat().st_mtime_ns)
    newest.write_text('{"hour": ')
    again = Ledger(tmp_path, time)
    assert again.add(sample(9)) == Counts()
    assert again.add(sample(11)).responses_2xx == 2
    assert not newest.exists()
    assert Ledger(tmp_path, time).add(sample(12)).responses_2xx == 1


def test_oldest_hours_are_dropped_and_counted_as_lost(ledger, time, tmp_path, monkeypatch):
    monkeypatch.setattr(traffic, "MAX_HOURS", 3)
    for number in range(1, 6):
        ledger.add(sample(number * 10))
        time.now += HOUR
    assert (ledger.waiting, ledger.lost) == (3, 20)
    assert ledger.batch().counts[WWW].responses_2xx == 10
    assert len(list(tmp_path.glob("*.json"))) == 3


def test_many_domains_are_several_batches_with_the_total_of_all(ledger):
    domains = [Domain(f"s{number}", "a.example.com", "ZZ") for number in range(MAX_DOMAINS + 5)]
    ledger.add(Sample("p1", {domain: Counts(responses_4xx=1, sent=2) for domain in domains}))
    first = ledger.batch()
    assert len(first.counts) == MAX_DOMAINS + 1
    ledger.taken(first)
    second = ledger.batch()
    assert len(second.counts) == 6
    assert (
        first.counts[TOTAL]
        == second.counts[TOTAL]
        == Counts(responses_4xx=MAX_DOMAINS + 5, sent=2 * (MAX_DOMAINS + 5))
    )
    ledger.taken(second)
    assert ledger.batch() is None


def test_countries_count_as_rows_of_a_batch(ledger):
    codes = [f"{a}{b}" for a in string.ascii_uppercase for b in string.ascii_uppercase][:600]
    for service in ("a", "b"):
        domains = [Domain(service, "a.example.com", code) for code in codes]
        counts = {domain: Counts(1) for domain in domains}
        ledger.add(Sample(service, counts))
    sizes = []
    while batch := ledger.batch():
        sizes.append(len(batch.counts))
        ledger.taken(batch)
    assert sizes == [602, 602]


class Killed(BaseException):
    """The agent is killed."""


class Weather:
    """Kills the agent before and after its steps, and loses answers of the API, at random."""

    def __init__(self, seed, directory, monkeypatch):
        self.chance = random.Random(seed)
        self.calm = True
        self.site = Site(directory, self.step)
        self.site.options.poll_interval = 20.0
        self.site.store.answer = functools.partial(self.answer, self.site.store.answer)
        replace = files.replace

        def write(*arguments):
            self.step()
            replace(*arguments)
            self.step()

        monkeypatch.setattr(files, "replace", write)

    def happens(self, probability):
        return not self.calm and self.chance.random() < probability

    def step(self):
        if self.happens(0.1):
            raise Killed

    def answer(self, answer, *request):
        found = answer(*request)
        self.site.direct.away = self.happens(0.2)
        self.step()
        return found._replace(status=502, document=None) if self.happens(0.2) else found

    def run(self, seconds):
        end = self.site.clock.now + seconds
        self.site.direct.away = False
        while self.site.clock.now < end:
            try:
                self.site.run(end - self.site.clock.now)
            except Killed:
                self.site.clock.now += 1
                self.site.start()


@pytest.mark.parametrize("seed", range(5))
def test_each_response_counts_once_wherever_the_agent_is_killed(tmp_path, monkeypatch, seed):
    weather = Weather(seed, tmp_path, monkeypatch)
    site, expected, by_country = weather.site, 0, collections.Counter()
    site.store.publish(PROGRAM)
    weather.run(15)
    for turn in range(12):
        weather.calm = False
        more = weather.chance.randrange(50)
        expected += more
        zone = WWW._replace(country=weather.chance.choice(["DE", "FR", "ZZ"]))
        by_country[zone.country] += more
        seen = site.plane.counted.get(zone, Counts())
        site.plane.counted[zone] = seen.plus(Counts(responses_2xx=more, sent=more * 100))
        weather.run(weather.chance.randrange(1, 200))
        weather.calm = True
        if turn % 4 == 3:
            weather.run(61)
            site.plane.restart("haproxy")
    weather.run(700)
    counts = site.store.counted(*WWW)
    assert counts == [0, expected, 0, 0, 0, 0, expected * 100]
    assert site.store.counted() == counts
    for country in ("DE", "FR"):
        found = site.store.counted(*WWW._replace(country=country))
        assert found[1] == by_country[country]
