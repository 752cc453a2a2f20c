"""A newer page: what is marked, focused or open stays where it is, and nothing gets old."""

import attrs
import pytest
from playwright.sync_api import expect
from status_scene import HOUR, MINUTE, NOW, delivery, detail, event, fqdn, name, night, night_events

from tscert_trio import ControlError
from tscert_trio.status.making import make_report
from tscert_trio.status.page import render_domain, render_page

from .scenery import URL, serve

FOCUSED = "document.activeElement.innerText"
KEY_OF_FOCUS = "document.activeElement.closest('[data-key]')?.dataset.key"
MARK = "(row) => getSelection().selectAllChildren(row)"
MARKED = "`${getSelection()}`"
AN_OLDER_BROWSER = "delete AbortSignal.any; delete AbortSignal.timeout;"
URL_IN_ERROR = "see https://example.com/why"
expect.set_options(timeout=20_000)


@attrs.define
class Scene:
    """What the service knows."""

    statistics: object = attrs.field(factory=night)
    at: object = NOW
    events: tuple = attrs.field(factory=night_events)
    detail: object = attrs.field(factory=detail)

    def render(self, path):
        if path == "/":
            return render_page(make_report(self.statistics, self.at), self.events, {})
        return render_domain(self.detail)

    def change(self, label, **changes):
        """Let one name be otherwise."""
        domains = [
            attrs.evolve(each, **changes) if each.domain == fqdn(label) else each
            for each in self.statistics.domains
        ]
        self.statistics = attrs.evolve(self.statistics, domains=tuple(domains))


@pytest.fixture
def scene():
    return Scene()


@pytest.fixture
def page(open_page, scene):
    """The page of all names, on a clock that can be put forward."""
    page = open_page()
    serve(page, scene.render)
    page.clock.install()
    page.goto(URL)
    return page


def row(page, label):
    return page.locator(f"[id='n-{fqdn(label)}']")


def look(page):
    """Let the page think that somebody looks at it again, so that it loads itself."""
    page.evaluate("document.dispatchEvent(new Event('visibilitychange'))")


def look_again(page, scene):
    """Return when the page is as the scene is now."""
    look(page)
    expect(page.locator("#asof time")).to_have_attribute("datetime", scene.at.isoformat())


def test_what_somebody_marks_to_copy_it_stays_for_a_minute_and_is_then_as_new_as_the_page(page, scene):
    page.evaluate(MARK, row(page, "home").element_handle())
    marked = page.evaluate(MARKED)
    assert "in 19 hours" in marked
    scene.at += HOUR
    look_again(page, scene)
    page.clock.fast_forward(31_000)
    scene.at += HOUR
    look_again(page, scene)
    assert page.evaluate(MARKED) == marked
    expect(row(page, "mail")).to_contain_text("in 17 hours")
    page.clock.fast_forward(31_000)
    scene.at += HOUR
    look_again(page, scene)
    expect(row(page, "home")).to_contain_text("in 16 hours")


def test_a_name_that_fails_is_seen_to_fail_also_while_its_row_is_marked(page, scene):
    scene.statistics = attrs.evolve(night(), domains=(name("home", HOUR),), deliveries=())
    scene.at += MINUTE
    look_again(page, scene)
    page.evaluate(MARK, row(page, "home").element_handle())
    scene.at += MINUTE
    scene.change("home", failures=3, last_error=ControlError("the DNS provider is away"))
    look_again(page, scene)
    expect(row(page, "home")).to_contain_text("ControlError")


def test_the_focus_stays_on_its_event_when_there_are_newer_ones(page, scene):
    link = page.locator("#timeline li", has_text="chat").get_by_role("link")
    link.focus()
    key = page.evaluate(KEY_OF_FOCUS)
    scene.at += MINUTE
    scene.events += (event(scene.at, "mail", "renew", "issued"), event(scene.at, "chat", "renew", "issued"))
    look_again(page, scene)
    expect(page.locator("#timeline li")).to_have_count(len(scene.events))
    assert page.evaluate(FOCUSED) == fqdn("chat")
    assert page.evaluate(KEY_OF_FOCUS) == key == scene.events[3].id


def test_the_focus_goes_to_no_other_name_when_its_event_is_no_longer_shown(page, scene):
    page.locator("#timeline a").last.focus()
    scene.at += MINUTE
    scene.events = (*scene.events[1:], event(scene.at, "mail", "renew", "issued"))
    look_again(page, scene)
    expect(page.locator("#timeline li").first).to_contain_text(fqdn("mail"))
    assert page.evaluate("document.activeElement === document.body")


def test_the_focus_stays_where_it_is_in_a_row_that_begins_to_fail(page, scene):
    row(page, "home").locator("summary").focus()
    scene.at += MINUTE
    scene.change("home", failures=3, last_error=ControlError(URL_IN_ERROR))
    look_again(page, scene)
    expect(row(page, "home").get_by_role("link", name="example.com/why")).to_be_visible()
    assert page.evaluate(FOCUSED).startswith("More")
    assert page.evaluate("document.activeElement.closest('.row').id") == f"n-{fqdn('home')}"


def test_the_focus_stays_in_its_row_when_its_link_is_gone(page, scene):
    row(page, "git").get_by_role("link", name="letsencrypt.org").first.focus()
    scene.at += MINUTE
    scene.change("git", failures=0, last_error=None)
    look_again(page, scene)
    expect(row(page, "git").get_by_role("link", name="letsencrypt.org")).to_have_count(0)
    assert page.evaluate("document.activeElement.closest('.row').id") == f"n-{fqdn('git')}"


def test_what_a_hook_wrote_stays_open_for_its_own_target(open_page):
    def deliveries(*outputs):
        shop = name("shop", HOUR)
        failing = [
            delivery(shop, target, is_done=False, failures=1, error="it failed", output=output)
            for target, output in outputs
        ]
        statistics = attrs.evolve(night(), domains=(shop,), deliveries=tuple(failing))
        (report,) = make_report(statistics, NOW, with_output=True).domains
        return report

    scene = Scene()
    scene.detail = attrs.evolve(detail(), domain=deliveries(("nginx", "one"), ("postfix", "two")))
    page = open_page()
    serve(page, scene.render)
    page.goto(f"{URL}domains/{fqdn('shop')}")
    summary = page.locator("[data-key=postfix] summary")
    summary.click()
    scene.at += MINUTE
    changed = deliveries(("apache", "three"), ("nginx", "one"), ("postfix", "four"))
    scene.detail = attrs.evolve(scene.detail, domain=changed, at=scene.at)
    look_again(page, scene)
    expect(page.locator("#targets")).to_contain_text("apache")
    assert page.locator("details[open]").all_inner_texts() == ["What the hook wrote\nfour"]
    assert page.evaluate(KEY_OF_FOCUS) == "postfix"


def test_a_browser_that_cannot_join_abort_signals_is_told_of_changes_and_of_no_trouble(open_page, scene):
    page = open_page()
    page.add_init_script(AN_OLDER_BROWSER)
    serve(page, scene.render)
    page.goto(URL)
    scene.at += HOUR
    look_again(page, scene)
    expect(row(page, "home")).to_contain_text("in 18 hours")
    assert page.locator("#away").is_hidden()


@pytest.fixture
def unanswered(page):
    """The loads from now on that get no answer, all but those with a filter."""
    held = []

    def hold(route):
        held.append(route)

    page.route(URL, hold)
    yield held
    for route in held:
        route.fulfill(body="")


def test_a_load_that_another_one_replaces_is_no_trouble(page, scene, unanswered):
    look(page)
    wait_for(page, unanswered)
    scene.at += HOUR
    page.locator("#q").fill("home")
    expect(row(page, "home")).to_contain_text("in 18 hours")
    assert page.locator("#away").is_hidden()


def test_a_load_that_takes_ten_seconds_is_an_answer_that_does_not_come(page, unanswered):
    look(page)
    wait_for(page, unanswered)
    page.clock.fast_forward(9_000)
    assert page.locator("#away").is_hidden()
    page.clock.fast_forward(1_500)
    expect(page.locator("#away")).to_contain_text("The service does not answer since ")


def wait_for(page, held):
    """Return once a load waits for its answer."""
    while not held:
        page.wait_for_timeout(20)
