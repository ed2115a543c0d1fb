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
