"""The page without a browser: what it says, in which order, and that nothing from outside becomes HTML."""

import re
from datetime import timedelta
from html.parser import HTMLParser

import attrs
import html5lib
import pytest
from status_scene import DAY, HOUR, NOW, day, delivery, detail, event, fqdn, name, night, night_events, zone

from tscert_trio import AccessDeniedError, ControlError, UnreachableError
from tscert_trio.schedule import LETS_ENCRYPT, Mode
from tscert_trio.statistics import CertManagerStatistics, DomainState, LimitStatistics
from tscert_trio.status.history import DomainDetail
from tscert_trio.status.making import make_report
from tscert_trio.status.page import render_domain, render_missing, render_page, static_file
from tscert_trio.status.page.markup import link, linked
from tscert_trio.status.report import Level, Source

HOSTILE = """"><script>alert(1)</script><img src=x onerror='alert(2)'> & javascript:alert(3) {{ 7*7 }}"""


@pytest.fixture(autouse=True)
def _zone():
    """A machine in central Europe."""
    with zone("CET-1CEST,M3.5.0,M10.5.0/3"):
        yield


def page(statistics=None, events=(), **query):
    """The page of some statistics."""
    return render_page(make_report(statistics or night(), NOW), events, query).decode()


def statistics_of(*domains, **changes):
    return attrs.evolve(
        CertManagerStatistics(domains=domains, cert_domains=frozenset(), bus_connected=True), **changes
    )


def hostile():
    """Names, targets, scopes and texts that are all HTML."""
    bad = name("x", DAY, failures=1, last_error=ControlError(HOSTILE), limit=HOSTILE, limited_until=NOW + DAY)
    bad = attrs.evolve(bad, domain=HOSTILE)
    limit = LimitStatistics(name=HOSTILE, scope=HOSTILE, used=1, capacity=2, is_exceeded=False)
    sick = delivery(bad, HOSTILE, error=HOSTILE, output=HOSTILE, warnings=(HOSTILE,), served=HOSTILE)
    return statistics_of(bad, deliveries=(sick,), limits=(limit,), trouble=ControlError(HOSTILE))


def hostile_detail():
    report = make_report(hostile(), NOW, with_output=True)
    past = attrs.evolve(detail().certificates[0], issuer=HOSTILE, serial_number=HOSTILE)
    return DomainDetail(
        program="1",
        at=NOW,
        source=Source.SERVICE,
        domain=report.domains[0],
        certificates=(past,),
        events=(hostile_event(), hostile_event("nginx")),
    )


def hostile_event(what=HOSTILE):
    return attrs.evolve(event(NOW, "x", what, HOSTILE, text=HOSTILE), domain=HOSTILE)


ALL = {
    "night": lambda: page(events=night_events()),
    "day": lambda: page(day(3)),
    "filtered": lambda: page(q="nothing", level="bad"),
    "empty": lambda: page(statistics_of()),
    "not told": lambda: page(statistics_of(is_told=False, limits=())),
    "journal": lambda: render_page(make_report(night(), NOW, source=Source.JOURNAL), (), {}).decode(),
    "domain": lambda: render_domain(detail()).decode(),
    "ended": lambda: render_domain(detail("files")).decode(),
    "without certificate": lambda: render_domain(
        attrs.evolve(detail("wiki"), certificates=(), events=())
    ).decode(),
    "missing": lambda: render_missing("nobody.tail1234.ts.net").decode(),
    "hostile": lambda: page(hostile(), (hostile_event(),), q=HOSTILE, level=HOSTILE),
    "hostile but shown": lambda: page(hostile(), (hostile_event(),)),
    "hostile domain": lambda: render_domain(hostile_detail()).decode(),
    "hostile and missing": lambda: render_missing(HOSTILE).decode(),
}


class Elements(HTMLParser):
    """Each start tag with its attributes, and the text in it."""

    def __init__(self, text):
        super().__init__()
        self.found, self.texts = [], []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attributes):
        self.found.append((tag, dict(attributes)))

    def handle_data(self, data):
        self.texts.append(data)

    def all(self, tag):
        return [attributes for found, attributes in self.found if found == tag]


@pytest.fixture(params=ALL)
def html(request):
    """Each page in turn."""
    return ALL[request.param]()


def test_each_page_is_valid_html(html):
    html5lib.HTMLParser(strict=True).parse(html)


def test_no_page_has_a_style_or_script_of_its_own_or_anything_from_elsewhere(html):
    elements = Elements(html)
    for tag, attributes in elements.found:
        assert "style" not in attributes, tag
        assert not [key for key in attributes if key.startswith("on")], tag
        for key in ("src", "href"):
            value = attributes.get(key) or ""
            assert not value.startswith(("data:", "javascript:", "/")), (tag, key)
            if tag in {"script", "link", "img"} and key in attributes:
                assert re.fullmatch(r"\.\.?/static/(page\.css|page\.js|icon\.svg)", value)
    assert not elements.all("style")
    assert not elements.all("img")
    assert len(elements.all("script")) == 1


def test_what_comes_from_outside_is_shown_as_text():
    for html in (page(hostile(), (hostile_event(),)), render_domain(hostile_detail()).decode()):
        assert "<script>alert" not in html
        assert "<img" not in html
        assert HOSTILE in "".join(Elements(html).texts)


def test_each_page_has_one_main_heading_and_no_id_twice(html):
    elements = Elements(html)
    assert len(elements.all("h1")) == len(elements.all("main")) == 1
    ids = [attributes["id"] for _, attributes in elements.found if "id" in attributes]
    assert len(ids) == len(set(ids))


def names_of(html):
    return [
        attributes["id"].removeprefix("n-") for attributes in Elements(html).all("li") if "id" in attributes
    ]


def test_trouble_comes_first_and_the_sentence_says_it():
    html = page()
    assert names_of(html)[:5] == [fqdn(label) for label in ("wiki", "files", "git", "shop", "api")]
    (heading,) = re.findall("<h1>(.*?)</h1>", html)
    assert heading.startswith(
        "2 of 11 names have no valid certificate, 2 more are not well. wiki.tail1234.ts.net: "
    )


@pytest.mark.parametrize("label", ["files", "git", "wiki"])
def test_a_failure_has_its_class_its_text_what_it_means_and_what_to_do(label):
    html = page()
    report = next(each for each in make_report(night(), NOW).domains if each.name == fqdn(label))
    text = "".join(Elements(row(html, label)).texts)
    for part in (report.trouble.kind, report.trouble.text, report.trouble.meaning, report.trouble.remedy):
        assert part in text


def row(html, label):
    """The item of a name."""
    (found,) = re.findall(rf'<li id="n-{re.escape(fqdn(label))}".*?</li>\n', html, re.DOTALL)
    return found


def test_a_delivery_is_shown_with_what_is_seen_served_and_its_failure_says_what_to_do():
    text = "".join(Elements(row(page(), "shop")).texts)
    assert "haproxy: written nginx: seen served" in text
    assert "haproxy: DeliveryError" in text
    assert "tscert-trio renew shop.tail1234.ts.net" in text
    assert "harmless until 2026-04-08 " in text


def test_the_page_of_a_name_shows_its_trouble_as_bad_as_the_page_of_all_and_what_there_is_to_repair():
    shop = name("shop", DAY)
    failing = delivery(shop, "web", error="no such file: x.pem", is_done=False, good_until=None)
    found = statistics_of(shop, deliveries=(failing,), cert_domains=frozenset({shop.domain}))
    report = make_report(found, NOW).domains[0]
    assert report.level is Level.BAD
    html = render_domain(attrs.evolve(detail(), domain=report)).decode()
    assert [each["class"] for each in Elements(html).all("div") if "wrong" in each.get("class", "")] == [
        "wrong bad"
    ]
    (box,) = re.findall('<div class="trouble">.*?</div>', html)
    assert "no such file: x.pem" in box
    assert "Repair what it says" in box


def test_a_remedy_sends_nobody_to_the_output_that_stands_below_it():
    shop = name("shop", DAY)
    failing = delivery(shop, "web", error="exit status 1", output="no such unit", is_done=False)
    found = statistics_of(shop, deliveries=(failing,))
    for with_output in (True, False):
        report = make_report(found, NOW, with_output=with_output)
        own = render_domain(attrs.evolve(detail(), domain=report.domains[0])).decode()
        assert ("(tscert-trio status" in own) is not with_output
        assert "Look at what the hook or the reload wrote" in own
        assert "(tscert-trio status shop.tail1234.ts.net)" in render_page(report, (), {}).decode()


def test_a_row_says_when_it_is_asked_for_next_and_what_limit_it_waits_for():
    text = "".join(Elements(row(page(), "git")).texts)
    assert "next attempt in 30 hours 2026-03-11 " in text
    assert "waits for the limit on certificates for the same name until 2026-03-11 " in text
    assert "2 failures in a row" in text
    assert re.search(r"\d+ attempts left before the certificate ends", text)


def test_a_row_says_when_a_failed_delivery_is_tried_again_if_that_is_sooner():
    text = "".join(Elements(row(page(), "shop")).texts)
    assert re.search(r"next attempt in 41 minutes 2026-03-10 04:53 CET, to deliver it", text)
    shop = name("shop", DAY, next_attempt_at=NOW + DAY / 48)
    failing = delivery(shop, error="no", next_attempt_at=NOW + DAY)
    text = "".join(Elements(row(page(statistics_of(shop, deliveries=(failing,))), "shop")).texts)
    assert "next attempt in 30 minutes" in text
    assert "to deliver it" not in text


@pytest.mark.parametrize("error", [AccessDeniedError("403"), UnreachableError("no such file")])
def test_a_name_waits_for_tailscaled_where_nobody_can_tell_whether_it_is_a_certdomain(error):
    waiting = name("new", None, state=DomainState.WAITING, next_attempt_at=None)
    text = "".join(Elements(row(page(statistics_of(waiting, trouble=error)), "new")).texts)
    assert "it waits for tailscaled" in text
    assert "next attempt once tailscaled can be asked" in text
    text = "".join(Elements(row(page(statistics_of(waiting, trouble=None)), "new")).texts)
    assert "next attempt once it is a CertDomain" in text


@pytest.mark.parametrize("state", [DomainState.ISSUED, DomainState.FAILED, DomainState.LIMITED])
def test_while_a_name_is_looked_at_its_next_attempt_is_now(state):
    looked_at = name("mail", DAY, state=state, next_attempt_at=None)
    assert "next attempt <b>now</b>" in row(page(statistics_of(looked_at)), "mail")


def test_the_bar_of_a_life_says_in_words_what_it_shows():
    (bar,) = [each for each in Elements(row(page(), "home")).all("svg") if each["class"] == "life"]
    assert bar["role"] == "img"
    assert bar["aria-label"] == "Life of the certificate: 24 percent spent, due in 38 days, 68 days left"


def test_the_bar_of_an_ended_life_goes_on_to_the_present():
    (bar,) = [each for each in Elements(row(page(), "files")).all("svg") if "life" in each["class"]]
    assert bar["aria-label"] == "Life of the certificate: over for 5 hours"
    assert 'class="over"' in row(page(), "files")


@pytest.mark.parametrize("kind", [timedelta(), -1 * DAY, 400 * DAY])
def test_a_bar_stays_within_its_place_whatever_the_clock_says(kind):
    html = render_page(make_report(night(), NOW + kind), (), {}).decode()
    shares = [float(each) for each in re.findall(r' (?:x|width)="([\d.-]+)%"', html)]
    assert min(shares) >= 0
    assert max(shares) <= 100


def test_a_guest_is_promised_no_attempt():
    guest = attrs.evolve(name("old", None), mode=Mode.GUEST, state=DomainState.FAILED, next_attempt_at=None)
    text = row(page(statistics_of(guest)), "old")
    assert "never: it is not ordered here" in text
    assert "not ordered here (issue = false)" in text
    assert "Attempts left" not in text
    assert "Attempts left" in row(page(statistics_of(name("new", DAY))), "new")


def test_what_is_left_is_counted_as_people_do_and_nothing_is_left_before_an_end_that_is_past():
    limits = {"limits": LETS_ENCRYPT}
    spent = {"attempts_full_at": NOW + HOUR, "certificates_full_at": NOW + 33.6 * 4 * HOUR}
    text = row(page(statistics_of(name("new", DAY, **limits, **spent))), "new")
    assert "1 attempt for the name in an hour, 1 new certificate a week" in text
    text = row(page(statistics_of(name("new", DAY, **limits))), "new")
    assert "5 attempts for the name in an hour, 5 new certificates a week" in text
    assert "Attempts left" not in row(page(), "files")
    assert "before the certificate ends" not in row(page(), "wiki")


def test_the_end_of_what_was_good_is_no_promise_once_it_is_past():
    shop = name("shop", 1 * DAY)
    failing = delivery(shop, error="no", is_done=False, good_until=NOW - DAY)
    found = attrs.evolve(
        detail(), domain=make_report(statistics_of(shop, deliveries=(failing,)), NOW).domains[0]
    )
    assert "Harmless until" not in render_domain(found).decode()


def test_the_filter_works_by_the_address_alone():
    assert names_of(page(q="SHOP")) == [fqdn("shop")]
    assert names_of(page(level="warning")) == [fqdn(label) for label in ("git", "shop")]
    assert names_of(page(level="bad", q="i")) == [fqdn(label) for label in ("wiki", "files")]
    assert names_of(page(level="bad", q="wi")) == [fqdn("wiki")]
    assert "1 of 11 shown" in page(q="shop")


def test_the_filter_keeps_what_was_asked_for_in_its_form():
    elements = Elements(page(q='a"b', level="bad"))
    (text,) = elements.all("input")
    assert (text["name"], text["value"]) == ("q", 'a"b')
    assert [each["value"] for each in elements.all("option") if "selected" in each] == ["bad"]
    assert [each["method"] for each in elements.all("form")] == ["get"]


def test_a_filter_that_makes_no_sense_is_passed_over():
    assert len(names_of(page(level="<bad>", other="x"))) == 11


def test_without_javascript_the_page_has_a_link_to_load_it_again_and_does_not_do_so_by_itself():
    """It would end what somebody reads or types (WCAG, success criterion 2.2.1)."""
    assert "refresh" not in render_missing("nobody").decode()
    for html in (page(), render_domain(detail()).decode()):
        assert "refresh" not in html
        (inner,) = re.findall("<noscript>(.*?)</noscript>", html)
        assert [each["href"] for each in Elements(inner).all("a")] == [""]
        assert Elements(inner).texts == ["Load again"]


def test_times_are_for_people_in_the_zone_of_the_machine_and_exact_for_programs():
    html = row(page(), "chat")
    assert '<time datetime="2026-03-10T22:12:00+00:00">2026-03-10 23:12 CET</time>' in html
    assert '<time datetime="2026-06-05T03:12:00+00:00">2026-06-05 05:12 CEST</time>' in html


def test_limits_are_shown_as_meters_with_their_tailnet():
    html = page()
    labels = [each.get("aria-label") for each in Elements(html).all("svg")]
    assert "new names in a week, tail1234.ts.net: 7 of 50 left" in labels
    limit = attrs.evolve(night().limits[1], is_exceeded=True, until=NOW + DAY)
    text = "".join(Elements(page(attrs.evolve(night(), limits=(limit,)))).texts)
    assert "289 of 300 left" in html
    assert "the CA says it is reached, the next one may be had at 2026-03-11 " in text


def test_tailscaled_is_shown_with_its_trouble():
    assert "v1.104 or later (capability 148)" in page()
    html = page(attrs.evolve(night(), trouble=ControlError("it is away"), bus_connected=False))
    assert "it is away" in html
    assert "not watched just now" in html


def test_the_newest_events_come_first():
    events = Elements(page(events=night_events()).split('id="timeline"')[1]).texts
    text = "".join(events)
    assert text.index("Delivery to haproxy: failed") < text.index("Renewal: ControlError (4 seconds)")
    assert text.index("Renewal: ControlError (4 seconds)") < text.index("Renewal: a new certificate")


def test_an_event_of_a_name_that_has_left_is_no_link():
    html = page(statistics_of(name("mail", DAY)), (event(NOW, "mail", "look", "found"), *night_events()))
    timeline = html.split('id="timeline"')[1]
    assert [each["href"] for each in Elements(timeline).all("a")] == [f"domains/{fqdn('mail')}"]
    assert timeline.count(fqdn("files")) == 2


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("see https://a.example/x?y=1&z=2.", "https://a.example/x?y=1&z=2"),
        ("(http://a.example)", "http://a.example"),
        ("HTTPS://A.example", "HTTPS://A.example"),
    ],
)
def test_an_address_in_a_text_is_a_link_that_tells_nothing(text, expected):
    html = str(linked(text))
    (found,) = Elements(html).all("a")
    assert found == {"href": expected, "rel": "noreferrer noopener"}
    assert "".join(Elements(html).texts) == text


@pytest.mark.parametrize(
    "text",
    ["javascript:alert(1)", "https://", "http:///x", "https://[::1", "ftp://a.example", "data:text/html,x"],
)
def test_what_is_no_address_of_the_web_is_no_link(text):
    assert not Elements(str(linked(text))).all("a")
    assert link(text, "why") is None


def test_an_explanation_of_the_ca_is_linked_if_it_is_of_the_web():
    for url, count in (("https://ca.example/why", 1), ("javascript:alert(1)", 0)):
        well = name("a", DAY)
        well = attrs.evolve(well, window=attrs.evolve(well.window, explanation_url=url))
        html = row(page(statistics_of(well)), "a")
        assert len([each for each in Elements(html).all("a") if each["href"] == url]) == count


def test_the_page_of_a_name_has_its_history_its_deliveries_and_what_the_hook_wrote():
    html = render_domain(detail()).decode()
    elements = Elements(html)
    assert html.count('class="cert ') == len(detail().certificates)
    assert html.count('class="cert now"') == 1
    assert "unable to load certificate" in html
    assert "the OLD certificate is still served" in html
    (chart,) = [each for each in elements.all("svg") if each.get("class") == "history"]
    assert chart["aria-label"].startswith("7 certificates and ")
    assert len(elements.all("table")) == 2


@pytest.mark.parametrize(("days", "count"), [(1, 1), (6, 60), (90, 7), (1, 300)])
def test_a_chart_of_any_history_stays_small_and_within_its_place(days, count):
    life = timedelta(days=days)
    base = detail()
    past = tuple(
        attrs.evolve(base.certificates[0], not_before=start, not_after=start + life)
        for start in (NOW - n * life * 2 / 3 for n in range(count, 0, -1))
    )
    html = render_domain(attrs.evolve(base, certificates=past)).decode()
    chart = html.split('class="history"')[1].split("</svg>\n", 1)[0].split("</div>")[0]
    shares = [float(each) for each in re.findall(r' (?:x|width)="([\d.]+)%"', chart)]
    assert max(shares) <= 100
    assert 1 <= chart.count('class="date"') <= 10
    assert int(re.search(r'height="(\d+)"', chart)[1]) < 300


def test_what_a_chart_does_not_show_hides_nothing_of_what_it_shows():
    found, issued = event(NOW - HOUR, "shop", "look", "found"), event(NOW - HOUR, "shop", "renew", "issued")
    html = render_domain(attrs.evolve(detail(), events=(found, issued))).decode()
    assert html.count('<g class="event good"><title>attempt renew: issued') == 1
    assert "attempt look" not in html


def test_a_name_that_is_not_kept_leads_back():
    html = render_missing("nobody.tail1234.ts.net").decode()
    assert "nobody.tail1234.ts.net is not kept here" in html
    assert {"href": "../"} in Elements(html).all("a")


@pytest.mark.parametrize(
    ("file", "kind"),
    [
        ("page.css", "text/css; charset=utf-8"),
        ("page.js", "text/javascript; charset=utf-8"),
        ("icon.svg", "image/svg+xml"),
    ],
)
def test_static_files_are_these(file, kind):
    body, content_type = static_file(file)
    assert body
    assert content_type == kind


@pytest.mark.parametrize(
    "file", ["", "page.py", "../__init__.py", "/etc/passwd", "page.css/", "PAGE.CSS", "\0"]
)
def test_no_other_file_is_given(file):
    assert static_file(file) is None


def test_each_level_has_a_shape_and_a_word_of_its_own():
    html = page()
    for level in Level:
        assert f'<symbol id="mark-{level.value}"' in html
    assert len({re.search(f'<symbol id="mark-{level.value}".*', html)[0] for level in Level}) == len(Level)
