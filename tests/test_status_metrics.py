"""What Prometheus is told: what Prometheus's own parsers read of it."""

import re
from pathlib import Path

import pytest
from hypothesis import given, strategies as st
from prometheus_client.openmetrics.parser import text_string_to_metric_families as parse_open
from prometheus_client.parser import text_string_to_metric_families as parse_text
from statuses import DAY, HOUR, LIFE, NOW, A, B, cert, delivery, domain, statistics

from tscert_trio import ControlError, DomainState, LimitStatistics, UnreachableError
from tscert_trio.delivery_record import DeliveryState
from tscert_trio.schedule import Mode
from tscert_trio.statistics import REQUEST_SECONDS, RequestStatistics, SourceStatistics
from tscert_trio.status.exposition import negotiate
from tscert_trio.status.metrics import METRICS, render_metrics

OPEN = "application/openmetrics-text"
PARSERS = {"": parse_text, OPEN: parse_open}
PROMETHEUS_2 = (
    "application/openmetrics-text;version=1.0.0;q=0.5,application/openmetrics-text;version=0.0.1;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)
PROMETHEUS_3 = (
    "application/openmetrics-text;version=1.0.0;escaping=allow-utf-8;q=0.6,"
    "application/openmetrics-text;version=0.0.1;q=0.5,text/plain;version=1.0.0;escaping=allow-utf-8;q=0.4,"
    "text/plain;version=0.0.4;q=0.3,*/*;q=0.2"
)


@pytest.fixture(params=PARSERS)
def read(request):
    """A function that returns all samples as Prometheus reads them, in one of the formats."""

    def read(statistics, now=NOW):
        return samples(statistics, request.param, now)

    return read


def samples(statistics, accept="", now=NOW):
    body, _ = render_metrics(statistics, now, accept)
    found = {}
    for family in PARSERS[accept](body.decode()):
        for sample in family.samples:
            key = sample.name, *sorted(sample.labels.items())
            assert key not in found
            found[key] = sample.value
    return found


def values_of(found, name):
    """Return the samples of a metric by the values of their labels."""
    return {
        tuple(value for _, value in labels): number
        for (each, *labels), number in found.items()
        if each == name
    }


def test_what_is_known_of_a_name_is_told(read):
    leaf = cert(left=60 * DAY)
    found = read(statistics(domain(leaf=leaf, failures=3)))
    assert {name: number for (name, *labels), number in found.items() if ("domain", A) in labels} == {
        "tscert_certificate_expiry_timestamp_seconds": (NOW + 60 * DAY).timestamp(),
        "tscert_certificate_not_before_timestamp_seconds": (NOW - 30 * DAY).timestamp(),
        "tscert_certificate_renewal_due_timestamp_seconds": (NOW + 30 * DAY).timestamp(),
        "tscert_certificate_ready": 1,
        "tscert_domain_last_attempt_timestamp_seconds": (NOW - HOUR).timestamp(),
        "tscert_domain_last_success_timestamp_seconds": (NOW - HOUR).timestamp(),
        "tscert_domain_next_attempt_timestamp_seconds": (NOW + 3 * HOUR).timestamp(),
        "tscert_domain_consecutive_failures": 3,
        "tscert_domain_runway_attempts": domain(leaf=leaf, failures=3).runway(NOW),
        "tscert_domain_state": 1,
    }


def test_what_is_not_known_is_left_out(read):
    nothing = domain(state=DomainState.WAITING, last_attempt_at=None, next_attempt_at=None)
    found = read(statistics(nothing, is_told=False, cert_domains=None))
    assert {name for name, *labels in found if ("domain", A) in labels} == {
        "tscert_certificate_ready",
        "tscert_domain_consecutive_failures",
        "tscert_domain_runway_attempts",
        "tscert_domain_state",
    }
    assert found["tscert_certificate_ready", ("domain", A)] == 0
    assert not values_of(found, "tscert_domains_wanted")
    assert not values_of(found, "tscert_tailscaled_capability")
    assert all(number == number for number in found.values()), "a number is NaN"  # noqa: PLR0124


@pytest.mark.parametrize(
    ("left", "ready"), [(0 * DAY, 1), (-0.001 * HOUR, 0), (LIFE, 1), (LIFE + 0.001 * HOUR, 0)]
)
def test_a_certificate_is_ready_from_its_first_moment_to_its_last(read, left, ready):
    assert read(statistics(domain(leaf=cert(left=left))))["tscert_certificate_ready", ("domain", A)] == ready


@pytest.mark.parametrize("mode", [Mode.READER, Mode.GUEST])
def test_where_nothing_is_ordered_there_is_no_runway_to_run_out_of(read, mode):
    found = read(statistics(domain(leaf=cert(), mode=mode), domain(B, leaf=cert())))
    assert set(values_of(found, "tscert_domain_runway_attempts")) == {(B,)}


def test_how_many_names_may_have_certificates_is_told_once_it_is_known(read):
    for names, told in ((None, []), (frozenset(), [0]), (frozenset({A, B}), [2])):
        found = read(statistics(cert_domains=names))
        assert [number for (name, *_), number in found.items() if name == "tscert_cert_domains"] == told


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"cert_domains": None}, []),
        ({"cert_domains": None, "trouble": UnreachableError("no")}, [0]),
        ({"cert_domains": frozenset()}, [1]),
        ({"trouble": UnreachableError("no")}, [0]),
    ],
)
def test_tailscaled_is_neither_up_nor_down_before_it_was_asked(read, fields, told):
    found = read(statistics(**fields))
    assert [number for (name, *_), number in found.items() if name == "tscert_tailscaled_up"] == told


@pytest.mark.parametrize("state", DomainState)
def test_only_the_present_state_is_told(read, state):
    found = read(statistics(domain(state=state)))
    assert values_of(found, "tscert_domain_state") == {(A, state.value): 1}


def test_a_failure_is_told_by_its_class_where_there_is_one(read):
    found = read(statistics(domain(error=ControlError("SetDNS: no")), domain(B)))
    assert {key[1:]: number for key, number in found.items() if key[0] == "tscert_domain_error"} == {
        (("class", "ControlError"), ("domain", A)): 1
    }


def test_nothing_of_what_went_wrong_is_in_the_text_but_the_class():
    troubled = statistics(
        domain(error=ControlError("SECRET")),
        deliveries=(delivery(error="SECRET", output="SECRET", warnings=("SECRET",)),),
        trouble=UnreachableError("SECRET"),
    )
    assert b"SECRET" not in render_metrics(troubled, NOW, "")[0]


def test_attempts_are_counted_by_request_and_outcome(read):
    outcomes = {("look", "found"): 7, ("renew", "ControlError"): 2, ("renew", "issued"): 1}
    found = read(statistics(outcomes=outcomes))
    assert {
        (dict(labels)["request"], dict(labels)["outcome"]): number
        for (name, *labels), number in found.items()
        if name == "tscert_attempts_total"
    } == outcomes


def test_deliveries_are_told_by_target_and_state_and_each_by_itself(read):
    found = read(
        statistics(
            deliveries=(
                delivery(A),
                delivery(B, state=DeliveryState.WRITTEN, error="exit status 1", failures=4),
                delivery(
                    A, target="db", goal=DeliveryState.WRITTEN, state=DeliveryState.WRITTEN, is_done=True
                ),
            )
        )
    )
    assert values_of(found, "tscert_delivery_done") == {(A, "web"): 1, (B, "web"): 0, (A, "db"): 1}
    assert values_of(found, "tscert_delivery_failures") == {(A, "web"): 0, (B, "web"): 4, (A, "db"): 0}
    counts = {
        (state, target): count for (state, target), count in values_of(found, "tscert_deliveries").items()
    }
    assert {key for key, count in counts.items() if count} == {
        ("seen served", "web"), ("written", "web"), ("written", "db"),
    }  # fmt: skip
    assert len(counts) == 2 * len(DeliveryState)


def test_of_a_limit_nothing_is_left_where_the_ca_says_so(read):
    limits = [
        LimitStatistics(name="orders", scope="this machine", used=100, capacity=300, is_exceeded=False),
        LimitStatistics(name="names", scope="tail1", used=20, capacity=50, is_exceeded=True, until=NOW),
    ]
    found = read(statistics(limits=tuple(limits)))
    machine, tailnet = ("orders", "this machine"), ("names", "tail1")
    assert values_of(found, "tscert_ca_limit_used") == {machine: 100, tailnet: 20}
    assert values_of(found, "tscert_ca_limit_capacity") == {machine: 300, tailnet: 50}
    assert values_of(found, "tscert_ca_limit_left") == {machine: 200, tailnet: 0}
    assert values_of(found, "tscert_ca_limit_exceeded") == {machine: 0, tailnet: 1}


def test_a_source_is_neither_up_nor_down_before_it_was_read(read):
    sources = [
        SourceStatistics(name="read", is_known=True, trouble=None),
        SourceStatistics(name="lost", is_known=True, trouble="no such file"),
        SourceStatistics(name="missing", is_known=False, trouble="no such file"),
        SourceStatistics(name="asked", is_known=False, trouble=None),
    ]
    found = read(statistics(sources=tuple(sources)))
    assert values_of(found, "tscert_source_up") == {("read",): 1, ("lost",): 0, ("missing",): 0}
    assert not values_of(found, "tscert_domains_wanted")
    assert read(statistics(sources=tuple(sources[:2])))["tscert_domains_wanted",] == 0


@pytest.mark.parametrize("is_well", [True, False])
def test_tailscaled_is_up_where_it_tells_its_certdomains(read, is_well):
    trouble = None if is_well else UnreachableError("no such socket")
    found = read(statistics(trouble=trouble, bus_connected=is_well, capability=148))
    assert found["tscert_tailscaled_up",] == found["tscert_ipn_bus_connected",] == is_well
    assert found["tscert_tailscaled_capability",] == 148
    assert found["tscert_clock_timestamp_seconds",] == NOW.timestamp()
    assert found["tscert_domains_wanted",] == 0
    ((_, *labels),) = [key for key in found if key[0] == "tscert_build_info"]
    assert [name for name, _ in labels] == ["attrs", "python", "trio", "version"]


def test_requests_are_a_histogram_that_adds_up(read):
    buckets = tuple(range(len(REQUEST_SECONDS)))
    cert_requests = RequestStatistics(endpoint="cert", count=20, seconds=123.25, buckets=buckets)
    found = read(statistics(requests=(cert_requests,)))
    name = "tscert_localapi_request_duration_seconds"
    counts = [
        (float(dict(labels)["le"]), number)
        for (each, *labels), number in found.items()
        if each == f"{name}_bucket"
    ]
    assert counts == [*zip(REQUEST_SECONDS, buckets, strict=True), (float("inf"), 20)]
    assert found[f"{name}_count", ("endpoint", "cert")] == 20
    assert found[f"{name}_sum", ("endpoint", "cert")] == 123.25


@pytest.mark.parametrize("accept", PARSERS)
@given(text=st.text(st.characters(codec="utf-8", exclude_characters="\r")))
def test_no_value_of_a_label_gets_out_of_its_quotes(accept, text):
    """Targets are named by people."""
    found = samples(statistics(deliveries=(delivery(target=text),)), accept)
    assert found["tscert_delivery_done", ("domain", A), ("target", text)] == 1


@pytest.mark.parametrize(
    "text", ['"', "\\", "\n", '\\"', "\\n", '"} 1\nevil 1', '{a="b"}', "é\N{SNOWMAN}", "a\r"]
)
def test_hostile_values_are_escaped(text):
    for accept in PARSERS:
        body, _ = render_metrics(statistics(domain(text)), NOW, accept)
        escaped = text.replace("\\", r"\\").replace("\n", r"\n").replace('"', r"\"")
        assert f'tscert_certificate_ready{{domain="{escaped}"}} 0\n' in body.decode()


@pytest.mark.parametrize("accept", PARSERS)
@given(
    left=st.timedeltas(-LIFE, 10 * LIFE),
    times=st.lists(st.datetimes(NOW.replace(year=2000, tzinfo=None)), min_size=3, max_size=3),
    failures=st.integers(0, 10**6),
    seconds=st.floats(0, 1e12),
    count=st.integers(0, 2**53),
)
def test_the_parsers_give_the_numbers_back(accept, left, times, failures, seconds, count):
    times = [at.replace(tzinfo=NOW.tzinfo) for at in times]
    leaf = cert(left=left)
    fields = dict(zip(("last_attempt_at", "last_success_at", "next_attempt_at"), times, strict=True))
    request = RequestStatistics(
        endpoint="e", count=count, seconds=seconds, buckets=(count,) * len(REQUEST_SECONDS)
    )
    one = domain(leaf=leaf, failures=failures, **fields)
    found = samples(statistics(one, requests=(request,), outcomes={("look", "found"): count}), accept)
    told = [
        found[f"tscert_{name}_timestamp_seconds", ("domain", A)]
        for name in (
            "domain_last_attempt", "domain_last_success", "domain_next_attempt", "certificate_expiry",
            "certificate_not_before", "certificate_renewal_due",
        )
    ]  # fmt: skip
    expected = [at.timestamp() for at in (*times, leaf.not_after, leaf.not_before, one.due_at)]
    assert told == pytest.approx(expected, abs=0.001)
    assert found["tscert_domain_consecutive_failures", ("domain", A)] == failures
    assert found["tscert_domain_runway_attempts", ("domain", A)] == one.runway(NOW)
    assert found["tscert_localapi_request_duration_seconds_sum", ("endpoint", "e")] == seconds
    assert found["tscert_localapi_request_duration_seconds_count", ("endpoint", "e")] == count
    assert found["tscert_attempts_total", ("outcome", "found"), ("request", "look")] == count


@pytest.mark.parametrize(("trouble", "value"), [(None, 1), ("the journal cannot be written", 0)])
def test_whether_the_journal_can_be_written_is_told(read, trouble, value):
    assert read(statistics(journal_trouble=trouble))["tscert_journal_writable",] == value


@pytest.mark.parametrize("accept", PARSERS)
def test_all_that_is_told_is_in_the_table(accept):
    full = statistics(
        domain(leaf=cert(), error=ControlError("no"), last_success_at=NOW),
        deliveries=(delivery(),),
        limits=(LimitStatistics(name="n", scope="s", used=1, capacity=2, is_exceeded=False),),
        requests=(RequestStatistics(endpoint="e", count=0, seconds=0, buckets=(0,) * len(REQUEST_SECONDS)),),
        outcomes={("look", "found"): 1},
        sources=(SourceStatistics(name="s", is_known=True, trouble=None),),
        capability=148,
    )
    body = render_metrics(full, NOW, accept)[0].decode()
    told = {}
    for family in PARSERS[accept](body):
        names = {sample.name.removesuffix("_bucket") for sample in family.samples}
        (name,) = {each for each in names if not each.endswith(("_count", "_sum"))}
        labels = {key for sample in family.samples for key in sample.labels} - {"le"}
        told[name] = family.documentation, labels
    assert told == {metric.name: (metric.help, set(metric.labels)) for metric in METRICS}
    assert len(METRICS) == len({metric.name for metric in METRICS})


def test_a_text_for_openmetrics_ends_where_it_says():
    everything = statistics(domain(leaf=cert()))
    old, old_type = render_metrics(everything, NOW, "text/plain")
    new, new_type = render_metrics(everything, NOW, OPEN)
    assert (old_type, new_type) == (
        "text/plain; version=0.0.4; charset=utf-8",
        "application/openmetrics-text; version=1.0.0; charset=utf-8",
    )
    assert new.endswith(b"\n# EOF\n")
    assert b"# EOF" not in old
    assert b"# TYPE tscert_build info\n" in new
    assert b"# TYPE tscert_build_info gauge\n" in old


@pytest.mark.parametrize(
    ("accept", "is_open"),
    [
        (OPEN, True),
        (PROMETHEUS_2, True),
        (PROMETHEUS_3, True),
        (OPEN.upper(), True),
        (f"{OPEN} ; version=1.0.0 ; q=1", True),
        (f'{OPEN};version="1.0.0"', True),
        (f"text/plain, {OPEN}", True),
        (f"{OPEN};q=0.1", True),
        (f"{OPEN};q=0.5,*/*;q=0.1", True),
        (f"{OPEN};q=0.5,text/plain;q=0.2,*/*;q=0.9", True),  # the more specific one counts
        (f"{OPEN};q=0.5,text/plain;version=1.0.0;q=0.9", True),  # which nobody here speaks
        (f"{OPEN};q=0.5,text/plain;q=0.6", False),
        (f"{OPEN};q=0.5,*/*", False),
        (f"{OPEN};q=0", False),
        (f"{OPEN};q=0.000", False),
        (f"{OPEN};version=0.0.1", False),
        (f"{OPEN};version=2.0.0", False),
        (f"{OPEN};q=nan", False),
        (f"{OPEN};q=2", False),
        (f"{OPEN};q=-1", False),
        (f"{OPEN};q=", False),
        (f"{OPEN};q=\N{ARABIC-INDIC DIGIT ONE}", False),
        (f"{OPEN}x", False),
        ("text/plain", False),
        ("*/*", False),
        ("", False),
        (",;,=;q", False),
        (";q=1" * 1000, False),
        ("\x00\xff", False),
    ],
)  # fmt: skip
def test_openmetrics_is_for_those_who_want_it(accept, is_open):
    assert negotiate(accept) is is_open


@given(st.text())
def test_no_rubbish_in_the_header_is_too_much(accept):
    assert isinstance(negotiate(accept), bool)


RULES = (Path(__file__).parents[1] / "packaging/prometheus/tscert-trio.rules.yaml").read_text()


def test_alert_rules_read_metrics_and_labels_that_there_are():
    known = {metric.name: set(metric.labels) for metric in METRICS}
    rules = RULES.split("      - alert: ")[1:]
    assert rules
    for rule in rules:
        used = set(re.findall(r"tscert_\w+", rule))
        assert used
        assert used <= known.keys(), rule
        shown = set(re.findall(r"\$labels\.(\w+)", rule)) - {"instance"}
        assert shown <= set.union(*(known[name] for name in used)), rule


def test_each_alert_says_how_bad_it_is_and_what_to_do():
    for rule in RULES.split("      - alert: ")[1:]:
        for key in ("expr", "for", "severity", "summary", "description"):
            assert len(re.findall(rf"^ +{key}: ", rule, re.MULTILINE)) == 1, (key, rule)
        assert re.search(r"tscert-trio (status|doctor|renew)|systemctl|timedatectl", rule), rule
