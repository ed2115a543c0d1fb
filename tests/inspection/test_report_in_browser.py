"""The report in a real browser: it opens, filters, searches, links and slides; it asks no network, and no text runs."""

from pathlib import Path
from urllib.parse import quote

import pytest
from browser import Browsing, until
from report_runs import HOSTILE, Page, hostile, made
from scripted import MODEL, alpha_rule

from trim_pomdp.inspection.report import write_report
from trim_pomdp.inspection.runs import read_run
from trim_pomdp.runtime.attempt import Caps

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path]:
    place = tmp_path_factory.mktemp("report-runs")
    first = made(place / "one", n=260, caps=Caps(max_strong_tokens=15), faults=0.01)
    return first, made(place / "two", alpha_rule(0.3), first=5, n=40)


@pytest.fixture(scope="module")
def written(folders: tuple[Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    path = tmp_path_factory.mktemp("report") / "report.html"
    write_report(folders, path, model=MODEL, budgets=(0.05, 0.6))
    return path


@pytest.fixture(scope="module")
def attacked(tmp_path_factory: pytest.TempPathFactory) -> Path:
    place = tmp_path_factory.mktemp("attacked")
    folder, _ = hostile(place / "run")
    write_report([folder, made(place / "tame", n=3)], place / "report.html", title=HOSTILE[0])
    return place / "report.html"


def opened(browsing: Browsing, path: Path, link: str = "", **options: object):
    """The page, once its list can be used; whatever it asks for beside itself is refused, and remembered."""
    page = browsing.page(**options)
    page.asked = []

    def refuse(route) -> None:
        if route.request.url.split("#")[0] == path.as_uri():
            route.continue_()
        else:
            page.asked.append(route.request.url)
            route.abort()

    page.route("**/*", refuse)
    page.on("dialog", lambda dialog: (page.asked.append(f"dialog {dialog.message}"), dialog.dismiss()))
    page.goto(path.as_uri() + link)
    page.wait_for_selector("body[data-tp-usable]", state="attached")
    return page


def test_it_opens_and_asks_nobody(browsing: Browsing, written: Path) -> None:
    for scheme in ("light", "dark"):
        for width in (1280, 390):
            page = opened(browsing, written, scheme=scheme, width=width)
            page.wait_for_selector(".tp-chart svg")
            assert page.locator("h1").first.text_content() == "Report of 2 runs"
            assert page.evaluate("document.documentElement.scrollWidth <= innerWidth")
            assert page.locator(".tp-chart svg").count() == 1 + 2 + 4  # outcome; steps and two calibrations a run
            assert page.asked == []
            page.context.close()
    browsing.pages.clear()
    assert browsing.errors == []


def test_it_says_the_numbers_of_the_run(browsing: Browsing, written: Path, folders: tuple[Path, Path]) -> None:
    page = opened(browsing, written)
    summary = read_run(folders[0]).summary
    lead = page.locator(".tp-lead").first.text_content()
    assert f"measured {summary.accuracy:.3f}" in " ".join(lead.split())
    assert f"{summary.budget:.3f}" in lead
    assert f"{summary.failed} of 260 problems failed" in lead


def test_filters_and_search(browsing: Browsing, written: Path, folders: tuple[Path, Path]) -> None:
    page = opened(browsing, written)
    rows = page.locator("tr.tp-problem")
    assert rows.count() == 200
    page.click("#tp-more")
    assert rows.count() == 260
    run = read_run(folders[0])
    for name in ("failed", "capped", "missed errors"):
        wanted = [item.terminal.problem for item in run.where(name).solutions]
        assert wanted
        page.click(f"#tp-filters button:has-text('{name} {len(wanted)}')")
        assert page.locator("#tp-told").text_content() == f"{len(wanted)} of 260 problems"
        assert [text.strip() for text in page.locator("tr.tp-problem a").all_text_contents()] == wanted[:200]
    page.click("#tp-filters button:has-text('all 260')")
    page.fill("#tp-search", "dummy-25 7")
    until(lambda: rows.count() == 11, "the search")  # every answer has a 7 or the prompt has: dummy-25, dummy-250 …
    page.fill("#tp-search", "no such words")
    until(lambda: rows.count() == 0, "the search")
    page.fill("#tp-search", "")
    page.click("#tp-heads button:has-text('strong tokens')")
    tokens = [int(text) for text in page.locator("td.tp-col-strong").all_text_contents()]
    assert tokens == sorted(tokens, reverse=True)
    page.click("#tp-runs button:has-text('two')")
    assert page.locator("#tp-told").text_content() == "40 problems"
    assert browsing.errors == []


def test_links_open_their_problem(browsing: Browsing, written: Path, folders: tuple[Path, Path]) -> None:
    page = opened(browsing, written, "#dummy-17")
    page.wait_for_selector(".tp-inspector .tp-step")
    assert page.locator(".tp-problem").last.text_content() == "dummy-17"
    assert not page.locator("#tp-overview").is_visible()
    seen = read_run(folders[0]).inspect("dummy-17")
    assert page.locator(".tp-inspector .tp-step").count() == len(seen.steps)
    page.click("#tp-versions a:has-text('two')")
    until(lambda: page.url.endswith("#problem=dummy-17&run=2"), "the other run")
    other = read_run(folders[1]).inspect("dummy-17")
    until(lambda: page.locator(".tp-inspector .tp-step").count() == len(other.steps), "its solution")
    page.keyboard.press("Escape")
    until(lambda: page.locator("#tp-overview").is_visible(), "the list")
    page.go_back()
    until(lambda: page.locator("#tp-solution").is_visible(), "the solution again")
    page.click("#tp-after")
    until(lambda: page.url.endswith("#problem=dummy-18&run=2"), "the next problem")
    page.goto(written.as_uri() + "#no-such-problem")
    until(lambda: page.locator("#tp-overview").is_visible(), "the list")
    assert browsing.errors == []


FOCUSED = "document.activeElement.textContent"


def test_keys_lead_through_a_solution_and_back(browsing: Browsing, written: Path) -> None:
    page = opened(browsing, written)
    page.click("#tp-runs button:has-text('two')")
    page.locator("tr.tp-problem a:text-is('dummy-17')").click()
    page.wait_for_selector(".tp-inspector .tp-step")
    page.keyboard.press("ArrowDown")  # nothing was clicked before
    until(lambda: "Step 2" in page.locator(".tp-inspector h3").first.text_content(), "the second step")
    assert page.evaluate("scrollY") == 0
    page.keyboard.press("Escape")
    until(lambda: page.evaluate(FOCUSED) == "dummy-17", "the focus on the row that was left")
    assert page.locator("#tp-told").text_content() == "40 problems"
    # A link to another run than the list shows leads back to the list of that run.
    page.goto(written.as_uri() + "#problem=dummy-3")
    page.wait_for_selector(".tp-inspector .tp-step")
    page.keyboard.press("Escape")
    until(lambda: page.locator("#tp-told").text_content() == "260 problems", "the list of the other run")
    until(lambda: page.evaluate(FOCUSED) == "dummy-3", "its row")


def test_what_was_pressed_keeps_the_focus(browsing: Browsing, written: Path) -> None:
    page = opened(browsing, written)
    for place, text in (("#tp-filters", "missed errors"), ("#tp-heads", "steps"), ("#tp-runs", "two")):
        button = page.locator(f"{place} button:has-text('{text}')").first
        button.focus()
        page.keyboard.press("Enter")
        assert text in page.evaluate(FOCUSED)
    assert page.locator("#tp-runs button[aria-pressed=true]").all_text_contents() == [
        page.locator("#tp-runs button").nth(1).text_content()
    ]
    assert page.locator("#tp-heads th[aria-sort=descending]").text_content() == "steps ↓"
    assert page.locator("#tp-filters button[aria-pressed=true]").text_content() == "all 40"
    titles = [button.get_attribute("title") for button in page.locator("#tp-filters button").all()]
    assert all(titles[1:])


def test_links_that_lead_nowhere_and_old_ones(browsing: Browsing, written: Path) -> None:
    page = opened(browsing, written, "#problem=nope%20%3Cb%3E")
    assert page.locator("#tp-missing").text_content() == "This report has no problem “nope <b>”."
    page.goto(written.as_uri() + "#dummy-17&run=2")
    page.wait_for_selector(".tp-inspector .tp-step")
    page.goto(written.as_uri() + "#nope")
    until(lambda: page.locator("#tp-missing").is_visible(), "what is missing")
    page.goto(written.as_uri() + "#tp-cost")
    until(lambda: not page.locator("#tp-missing").is_visible(), "a section")
    assert page.locator("#tp-overview").is_visible()


def test_a_problem_may_be_called_as_a_section(browsing: Browsing, tmp_path: Path) -> None:
    folder, _ = hostile(tmp_path / "run")
    write_report([folder], tmp_path / "r.html")
    page = opened(browsing, tmp_path / "r.html")
    page.click("nav a:text-is('Cost')")
    assert page.locator("#tp-overview").is_visible()
    page.locator("tr.tp-problem a:text-is('tp-cost')").click()
    page.wait_for_selector(".tp-inspector .tp-step")
    page.keyboard.press("Escape")
    until(lambda: page.locator("#tp-overview").is_visible(), "the list")


def test_what_is_left_before_it_was_read_is_not_drawn(browsing: Browsing, written: Path) -> None:
    page = browsing.page()
    page.add_init_script(
        "const read = Response.prototype.text;"
        "Response.prototype.text = function () {"
        "  return new Promise((done) => { window.release = () => { read.call(this).then(done); }; });"
        "};"
    )
    page.goto(written.as_uri() + "#problem=dummy-17")
    until(lambda: page.evaluate("Boolean(window.release)"), "the first chunk")
    page.keyboard.press("Escape")
    until(lambda: page.locator("#tp-overview").is_visible(), "the list")
    page.evaluate("release()")
    page.evaluate("new Promise((done) => setTimeout(done, 200))")
    assert page.locator("#tp-drawing").evaluate("(place) => place.childElementCount") == 0


def test_paper_is_white_and_holds_every_step(browsing: Browsing, written: Path, folders: tuple[Path, Path]) -> None:
    longest = max(read_run(folders[0]).solutions, key=lambda item: item.terminal.steps)
    page = opened(browsing, written, f"#problem={longest.terminal.problem}", scheme="dark")
    page.wait_for_selector(".tp-inspector .tp-step")
    page.emulate_media(media="print", color_scheme="dark")
    look = "(e) => [getComputedStyle(e).backgroundColor, getComputedStyle(e).color, e.scrollHeight - e.clientHeight]"
    paper, ink, _ = page.locator(".tp-inspector").evaluate(look)
    assert (paper, ink) == ("rgb(255, 255, 255)", "rgb(27, 31, 36)")
    assert page.locator("body").evaluate(look)[0] == "rgb(255, 255, 255)"
    assert page.locator(".tp-steps").evaluate(look)[2] <= 0
    assert page.locator(".tp-step").last.is_visible()
    body = page.locator(".tp-steps").bounding_box()
    last = page.locator(".tp-step").last.bounding_box()
    assert last["y"] + last["height"] <= body["y"] + body["height"] + 2


def test_the_slider_shows_what_other_policies_would_do(
    browsing: Browsing, written: Path, folders: tuple[Path, Path]
) -> None:
    shown = Page(written.read_text(encoding="utf-8"))
    policies = shown.data["runs"][0]["policies"]
    run = read_run(folders[0])
    cheap, dear = (index for index, item in enumerate(policies) if item["label"] in ("0.05", "0.6"))
    name = next(
        item.terminal.problem for item in run.solutions if item.terminal.regenerations == 1 and item.terminal.steps > 3
    )
    page = opened(browsing, written, f"#problem={name}")
    page.wait_for_selector(".tp-inspector .tp-step")

    def decided() -> list[str]:
        texts = page.locator(".tp-inspector .tp-step .tp-decision").all_text_contents()
        return ["regenerate" if "regenerate" in text.split("(")[0] else "keep" for text in texts]

    def wanted(index: int) -> list[str]:
        detail = shown.details[shown.data["ids"].index(name)][0]
        own = detail["states"][detail["own"]]["steps"]
        steps = detail["states"][index]["steps"]
        return [{**before, **step}["action"] for before, step in zip(own, steps, strict=False)]

    recorded = [step.action for step in run.inspect(name).steps]
    assert decided() == recorded
    slider = page.locator(".tp-inspector input[type=range]")
    assert slider.get_attribute("max") == str(len(policies) - 1)
    seen = []
    for index in (dear, cheap):
        slider.fill(str(index))
        until(lambda index=index: decided() == wanted(index), "the other policy's decisions")
        assert page.locator(".tp-budget").text_content() == policies[index]["label"]
        seen.append(decided())
    assert seen[0] != seen[1]
    page.click(".tp-reset")
    until(lambda: decided() == recorded, "the recorded decisions")
    page.locator(".tp-steps").focus()
    page.keyboard.press("ArrowDown")
    until(lambda: "Step 2" in page.locator(".tp-inspector h3").first.text_content(), "the second step")
    assert page.locator(".tp-curve svg").is_visible()
    assert browsing.errors == []


def test_light_and_dark(browsing: Browsing, written: Path) -> None:
    page = opened(browsing, written)
    paper = "getComputedStyle(document.body).backgroundColor"
    before = page.evaluate(paper)
    page.click("#tp-theme")
    after = page.evaluate(paper)
    assert before != after
    page.reload()
    page.wait_for_selector("body[data-tp-usable]", state="attached")
    assert page.evaluate(paper) == after
    page.click("#tp-theme")
    assert page.evaluate(paper) == before


def test_attacks_stay_text(browsing: Browsing, attacked: Path) -> None:
    data = Page(attacked.read_text(encoding="utf-8")).data
    page = opened(browsing, attacked)
    page.wait_for_selector(".tp-chart svg")
    count = "(names) => document.querySelectorAll(names).length"
    scripts = page.evaluate(count, "script")
    for index, name in enumerate(data["ids"]):
        if data["rows"][0][index] is None:
            continue
        page.goto(f"{attacked.as_uri()}#problem={quote(name, safe='')}")
        until(lambda name=name: page.locator(".tp-inspector .tp-problem").text_content() == (name or "solution"), name)
        assert page.locator(".tp-inspector .tp-step").count() > 0
        assert page.evaluate(count, "img, iframe, object, embed, [onerror], [onmouseover], [href^=javascript]") == 0
        assert page.evaluate(count, "script") == scripts
    assert page.asked == []
    page.goto(f"{attacked.as_uri()}#tp-problems")
    until(lambda: page.locator("#tp-overview").is_visible(), "the list")
    links = page.locator("tr.tp-problem a")
    assert links.count() == len([row for row in data["rows"][0] if row])
    assert all(link.get_attribute("href").startswith("#") for link in links.all())
    links.nth(0).click()
    until(lambda: page.locator("#tp-solution").is_visible(), "the first attack")
    assert page.title().startswith(data["ids"][0].split("\u2028")[0][:10])
    assert browsing.errors == []
    assert page.asked == []
