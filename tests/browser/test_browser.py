"""The page in Chromium, on the real service and a sandbox."""

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import expect

from .conftest import A, B, C
from .interactive import seconds_to_interactive
from .programs import open_service, open_tailscaled, wait_until

PHONE = {"width": 320, "height": 640}
CUT_OFF = """(width) => [...document.querySelectorAll("main *")]
    .filter((each) => each.getBoundingClientRect().right > width)
    .map((each) => each.outerHTML.slice(0, 100))"""
expect.set_options(timeout=20_000)


def row(page, name):
    return page.locator(f"[id='n-{name}']")


def names_of(page):
    return page.locator("#rows h3").all_inner_texts()


def focused(page):
    return page.evaluate("document.activeElement.innerText || document.activeElement.id")


def press(page, key, times=1):
    for _ in range(times):
        page.keyboard.press(key)


def test_trouble_comes_first_and_each_name_says_how_it_is(service, open_page):
    page = open_page()
    page.goto(service.url)
    assert set(names_of(page)[:2]) == {B, C}
    assert names_of(page)[2] == A
    assert page.locator("h1").inner_text().startswith("2 of 3 names have no valid certificate. ")
    assert "ControlError" in row(page, B).inner_text()
    assert "the <b>DNS</b> provider is away" in row(page, B).inner_text()
    assert "What to do" in row(page, C).inner_text()
    assert "in 23 hours" in row(page, A).inner_text() or "in 24 hours" in row(page, A).inner_text()
    assert page.title().startswith("Bad")


def test_a_renewal_is_seen_without_a_reload_and_without_losing_the_place(service, open_page):
    page = open_page()
    page.goto(service.url)
    page.evaluate("window.isSame = true")
    row(page, A).locator("summary").click()
    facts = row(page, A).locator("dl")
    expect(facts).to_be_visible()
    page.locator("#timeline").get_by_text("First certificate: a new certificate").wait_for()
    service.renew(A)
    expect(page.locator("#timeline")).to_contain_text("Renewal: a new certificate")
    expect(facts).to_be_visible()
    assert focused(page).startswith("More")
    assert page.evaluate("window.isSame")


def test_what_is_repaired_becomes_well_and_moves_down(service, tailscaled, open_page):
    page = open_page()
    page.goto(service.url)
    page.evaluate("document.querySelector('[role=status]').isSame = true")
    tailscaled.tell("PUT", "cert-domains", [A, B, C])
    tailscaled.tell("DELETE", "faults")
    service.renew(B)
    expect(page.locator("h1")).to_have_text("All 3 names are well.")
    assert names_of(page) == [A, B, C]
    assert page.title().startswith("Well")
    # A screen reader tells what changes in an element, and passes over one that is put in its place.
    assert page.evaluate("document.querySelector('[role=status]').isSame")
    assert page.locator("[role=status]").first.get_attribute("aria-live") in {None, "polite"}


def test_the_page_of_a_name_is_live_too(service, tailscaled, open_page):
    page = open_page()
    page.goto(f"{service.url}domains/{B}")
    expect(page.locator("h1")).to_have_text(B)
    expect(page.locator("#present")).to_contain_text("ControlError")
    tailscaled.tell("DELETE", "faults")
    service.renew(B)
    expect(page.locator("[role=status]")).to_contain_text("Well: valid until")
    expect(page.locator(".history .cert.now")).to_have_count(1)


def test_all_is_done_with_the_keyboard_alone(service, open_page):
    page = open_page()
    page.goto(service.url)
    press(page, "Tab")
    assert focused(page) == "Skip to the content"
    expect(page.locator(".skip")).to_be_in_viewport()
    press(page, "Enter")
    press(page, "Tab")
    assert focused(page) == "q"
    page.keyboard.type("a.tail")
    expect(page.locator("#rows h3")).to_have_text([A])
    assert focused(page) == "q"
    assert page.url.endswith("?q=a.tail")
    press(page, "Tab")
    assert focused(page).startswith("All")
    press(page, "Tab")  # "Show all"
    press(page, "Tab")
    assert focused(page) == A
    press(page, "Tab")
    press(page, "Enter")
    expect(row(page, A).locator("dl")).to_be_visible()
    press(page, "Shift+Tab")
    press(page, "Enter")
    expect(page.locator("h1")).to_have_text(A)
    press(page, "Tab", 3)
    assert focused(page) == "All names"
    press(page, "Enter")
    expect(page.locator("#rows h3")).to_have_count(3)


def test_what_has_the_focus_can_be_seen(service, open_page):
    page = open_page()
    page.goto(service.url)
    for _ in range(12):
        press(page, "Tab")
        style = page.evaluate("getComputedStyle(document.activeElement).outline")
        assert "3px" in style, focused(page)
        assert "none" not in style, focused(page)


def test_a_filter_is_kept_when_something_changes(service, open_page):
    page = open_page()
    page.goto(service.url)
    page.select_option("#level", "bad")
    expect(page.locator("#rows h3")).to_have_count(2)
    before = page.locator("#timeline").inner_text()
    service.renew(A)
    expect(page.locator("#timeline")).not_to_have_text(before)
    assert set(names_of(page)) == {B, C}


def test_without_javascript_it_shows_all_filters_and_is_loaded_again_by_a_link(service, open_page):
    page = open_page(java_script_enabled=False)
    page.goto(service.url)
    assert page.locator("#rows h3").count() == 3
    page.locator("#q").fill("a.tail")
    page.get_by_role("button", name="Show").click()
    assert page.locator("#rows h3").all_text_contents() == [A]
    with page.expect_navigation() as loaded:
        page.get_by_role("link", name="Load again").click()
    assert loaded.value.request.url == page.url
    assert "q=a.tail" in page.url
    assert page.locator("#rows h3").all_text_contents() == [A]
    page.get_by_text("Show all").click()
    row(page, A).locator("summary").click()
    expect(row(page, A).locator("dl")).to_be_visible()
    page.get_by_role("link", name=A).first.click()
    expect(page.locator("h1")).to_have_text(A)


@pytest.mark.parametrize("path", ["", f"domains/{B}", "domains/nobody.tail1234.ts.net"])
def test_it_fits_a_phone(service, open_page, path):
    is_missing = "nobody" in path
    page = open_page(viewport=PHONE, passes_over="status of 404" if is_missing else None)
    answer = page.goto(service.url + path)
    assert answer.status == (404 if is_missing else 200)
    for summary in page.locator("summary").all():
        summary.click()
    assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
    assert page.evaluate(CUT_OFF, PHONE["width"]) == []


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("path", ["", f"domains/{A}", f"domains/{B}", "?q=nothing"])
def test_axe_finds_nothing_serious(service, open_page, scheme, path):
    page = open_page(color_scheme=scheme, bypass_csp=True)  # axe is a script from elsewhere
    page.goto(service.url + path)
    for summary in page.locator("summary").all():
        summary.click()
    found = Axe().run(page).response["violations"]
    serious = [each for each in found if each["impact"] in {"serious", "critical"}]
    assert [(each["id"], each["nodes"][0]["html"]) for each in serious] == []


def test_when_the_service_is_away_it_says_so_and_comes_back_by_itself(folder, tailscaled, open_page):
    page = open_page(passes_over="net::ERR_")
    with open_service(folder, tailscaled, A, B, C) as service:
        service.wait_until(A, "issued")
        page.goto(service.url)
        page.evaluate("window.isSame = true")
        assert page.locator("#away").is_hidden()
    expect(page.locator("#away")).to_contain_text("The service does not answer since ")
    assert names_of(page)
    with open_service(folder, tailscaled, A, B, C, port=service.port) as again:
        expect(page.locator("#away")).to_be_hidden(timeout=40_000)
        again.wait_until(A, "issued")
        again.renew(A)
        expect(page.locator("#timeline")).to_contain_text("Renewal: a new certificate")
        assert page.evaluate("window.isSame")
        page.goto("about:blank")


def test_with_javascript_there_is_no_link_to_load_it_again(service, open_page):
    page = open_page()
    page.goto(service.url)
    expect(page.get_by_role("link", name="Load again")).to_have_count(0)


def test_it_is_not_loaded_while_nobody_looks(service, open_page):
    page = open_page()
    page.goto(service.url)
    hide(page, hidden=True)
    loads = []
    page.on("request", lambda request: loads.append(request.url))
    service.renew(A)
    page.wait_for_timeout(4000)  # twice the time after which a page that is seen has loaded a change
    assert loads == []
    hide(page, hidden=False)
    expect(page.locator("#timeline")).to_contain_text("Renewal: a new certificate")


def hide(page, *, hidden):
    """Let the page think that its tab is hidden, or seen again."""
    page.evaluate(
        """(hidden) => {
            Object.defineProperty(document, "hidden", {value: hidden, configurable: true});
            document.dispatchEvent(new Event("visibilitychange"));
        }""",
        hidden,
    )


def test_a_thousand_names_can_be_used(folder, open_page):
    names = [f"n{number:03}.tail1234.ts.net" for number in range(1000)]
    page = open_page()
    with open_tailscaled(folder, *names) as tailscaled, open_service(folder, tailscaled, *names) as service:
        wait_until(lambda: states(service) == {"issued"}, "all are issued", seconds=300)
        seconds = [round(seconds_to_interactive(page, service.url), 3) for _ in range(3)]
        print(f"1,000 names: interactive after {seconds} s")
        expect(page.locator("h1")).to_have_text("All 1000 names are well.")
        page.locator("#q").fill("n77")
        expect(page.locator("#rows h3")).to_have_count(10)
        expect(page.locator("#shown")).to_contain_text("10 of 1000 shown")
        page.locator("#q").fill("")
        expect(page.locator("#rows h3")).to_have_count(1000)
        row(page, names[-1]).locator("summary").click()
        page.evaluate("window.isSame = true")
        service.renew(names[0])
        expect(page.locator("#timeline")).to_contain_text("Renewal: a new certificate")
        expect(row(page, names[-1]).locator("dl")).to_be_visible()
        expect(row(page, names[-1])).to_be_in_viewport()
        assert page.evaluate("window.isSame")
        page.goto("about:blank")


def states(service):
    return {each["state"] for each in service.status().values()}
