"""Reports in a real Chromium: nothing is asked for, all can be read, light, dark, on a phone and empty."""

import re
import shutil
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Browser, Page, sync_playwright
from sqlalchemy import Engine, create_engine

from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.report.charts import CHARTS
from neural_pipeline.metrics.report.writing import write_report
from neural_pipeline.postgres.databases import create_database, drop_database
from neural_pipeline.postgres.server import server_url
from neural_pipeline.settings import Settings
from neural_pipeline_tests.building import workspaces
from neural_pipeline_tests.report_world import HOSTILE, NOW, WEEK, two_weeks

pytestmark = [pytest.mark.browser, pytest.mark.timeout(600)]

FLAGS = [
    "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
    "--disable-component-update", "--disable-sync",
]  # fmt: skip
DESKTOP, PHONE, SMALL_PHONE = (1280, 900), (390, 844), (360, 740)
READABLE = 4.5
"""The contrast of text that WCAG 2 asks for at level AA."""


@dataclass
class Opened:
    """A page that is open, with what it asked for beside itself and what it complained about."""

    page: Page
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("there is no chromium: `apt-get install chromium`, or put one with that name on the path")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, headless=True, args=FLAGS)
        yield browser
        browser.close()


@pytest.fixture(scope="module")
def reports(server: Path, template: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Path]]:
    """The pages of a full, an empty and a hostile database."""
    admin, made = server_url(server, "postgres"), {}
    with pytest.MonkeyPatch.context() as patched:
        for name in ("full", "empty", "hostile"):
            create_database(admin, f"report_{name}", template=template)
            engine = create_engine(server_url(server, f"report_{name}"))
            patched.setenv("NEURAL_HOME", str(tmp_path_factory.mktemp(name)))
            patched.setenv("DATABASE_URL", server_url(server, f"report_{name}").render_as_string(hide_password=False))
            made[name] = _written(engine, name)
            engine.dispose()
        yield made
    for name in made:
        drop_database(admin, f"report_{name}")


def _written(engine: Engine, name: str) -> Path:
    if name != "empty":
        with engine.begin() as connection:
            workspaces(connection, "ws_test")
            two_weeks(connection, named=HOSTILE if name == "hostile" else "a plain name")
    return write_report(engine, Settings.load(), WEEK, now=NOW).html


@pytest.fixture
def show(browser: Browser, reports: dict[str, Path], tmp_path: Path) -> Iterator[Any]:
    """Open a report; a screenshot of it is kept with the test's files."""
    contexts = []

    def opened(name: str, *, scheme: Any = "light", size: tuple[int, int] = DESKTOP) -> Opened:
        context = browser.new_context(color_scheme=scheme, viewport={"width": size[0], "height": size[1]}, offline=True)
        contexts.append(context)
        shown = Opened(context.new_page())
        shown.page.on("request", lambda request: shown.requests.append(request.url))
        shown.page.on("console", lambda message: shown.complaints.append(message.text))
        shown.page.on("pageerror", lambda error: shown.complaints.append(str(error)))
        shown.page.goto(reports[name].as_uri())
        shown.page.screenshot(path=tmp_path / f"{name}-{scheme}-{size[0]}.png", full_page=True)
        return shown

    yield opened
    for context in contexts:
        context.close()


@pytest.mark.parametrize("name", ["full", "empty", "hostile"])
def test_a_page_asks_for_nothing_and_complains_about_nothing(show: Any, reports: dict[str, Path], name: str) -> None:
    shown = show(name)
    asked = [url for url in shown.requests if not url.startswith("data:")]
    assert (asked, shown.complaints) == ([reports[name].as_uri()], [])


def test_nothing_could_be_asked_for_even_by_what_somebody_smuggled_in(show: Any, tmp_path: Path) -> None:
    page = show("full").page
    page.evaluate("document.body.insertAdjacentHTML('beforeend', '<img id=smuggled src=https://evil.example/x.png>')")
    blocked = page.evaluate(
        """() => new Promise((done) => {
            document.addEventListener('securitypolicyviolation', (event) => done(event.blockedURI));
            document.body.insertAdjacentHTML('beforeend', '<img src="https://evil.example/y.png">');
            setTimeout(() => done(null), 5000);
        })"""
    )
    assert blocked is not None
    assert "evil.example" in blocked


CONTRASTS = """
() => {
  const channel = (value) => { const c = value / 255; return c <= 0.04045 ? c / 12.92 : ((c + 0.055) / 1.055) ** 2.4; };
  const parsed = (colour) => (colour.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => 0.2126 * channel(r) + 0.7152 * channel(g) + 0.0722 * channel(b);
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const [r, g, b, alpha = 1] = parsed(getComputedStyle(at).backgroundColor);
      if (alpha === 1) return [r, g, b];
    }
    return matchMedia('(prefers-color-scheme: dark)').matches ? [0, 0, 0] : [255, 255, 255];
  };
  document.querySelectorAll('details').forEach((one) => { one.open = true; });
  const found = {};
  for (const element of document.querySelectorAll('body *')) {
    const own = [...element.childNodes].some((node) => node.nodeType === 3 && node.textContent.trim());
    if (!own || element.closest('title')) continue;
    const inChart = element.namespaceURI.endsWith('svg');
    const style = getComputedStyle(element);
    const light = [luminance(parsed(inChart ? style.fill : style.color)), luminance(ground(element))];
    const ratio = (Math.max(...light) + 0.05) / (Math.min(...light) + 0.05);
    const name = `${element.tagName.toLowerCase()}.${element.getAttribute('class') || ''}`;
    found[name] = Math.min(found[name] || 99, ratio);
  }
  return found;
}
"""


@pytest.mark.parametrize("name", ["full", "empty"])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_all_text_stands_out_from_its_ground(show: Any, name: str, scheme: str) -> None:
    found = show(name, scheme=scheme).page.evaluate(CONTRASTS)
    assert {"h1.", "span.value", "span.label", "span.change", "summary."} <= set(found)
    assert name == "empty" or {"th.", "bdi.", "text."} <= set(found)
    assert {element: ratio for element, ratio in found.items() if ratio < READABLE} == {}


def test_light_and_dark_are_not_the_same(show: Any) -> None:
    ground = "getComputedStyle(document.body).backgroundColor"
    assert show("full").page.evaluate(ground) != show("full", scheme="dark").page.evaluate(ground)


@pytest.mark.parametrize("name", ["full", "empty", "hostile"])
@pytest.mark.parametrize("size", [PHONE, SMALL_PHONE])
def test_on_a_phone_only_tables_scroll_sideways_and_each_in_its_own_box(
    show: Any, name: str, size: tuple[int, int]
) -> None:
    page = show(name, size=size).page
    page.evaluate("document.querySelectorAll('details').forEach((one) => { one.open = true; })")
    assert page.evaluate("document.documentElement.scrollWidth") == size[0]
    wide = page.evaluate("[...document.querySelectorAll('.box')].filter((b) => b.scrollWidth > b.clientWidth).length")
    assert wide > 0
    outside = "[...document.querySelectorAll('table')].filter((one) => !one.closest('.box')).length"
    assert page.evaluate(outside) == 0
    page.evaluate("document.querySelectorAll('.box').forEach((box) => { box.scrollLeft = 9999; })")
    moved = "[...document.querySelectorAll('.box')].filter((box) => box.scrollLeft > 0).length"
    assert page.evaluate(moved) == wide
    assert page.evaluate("window.scrollX") == 0


def test_the_text_of_charts_can_be_read_on_a_phone(show: Any) -> None:
    page = show("full", size=SMALL_PHONE).page
    heights = page.evaluate(
        "[...document.querySelectorAll('svg text')].map((one) => one.getBoundingClientRect().height)"
    )
    assert min(heights) >= 10
    inside = """
    [...document.querySelectorAll('svg')].flatMap((svg) => {
      const frame = svg.getBoundingClientRect();
      return [...svg.querySelectorAll('text')].filter((text) => {
        const box = text.getBoundingClientRect();
        return box.left < frame.left - 2 || box.right > frame.right + 2;
      }).map((text) => text.textContent);
    })
    """
    assert page.evaluate(inside) == []


def test_a_full_report_has_its_charts_and_each_says_what_it_shows(show: Any) -> None:
    page = show("full").page
    charts = page.get_by_role("img")
    assert charts.count() == len(CHARTS)
    assert page.get_by_role("img", name="Executions per day, by outcome").is_visible()
    empty = "[...document.querySelectorAll('svg')].filter((svg) => !svg.querySelector('path[style*=series]')).length"
    assert page.evaluate(empty) == 0


def test_an_empty_report_says_so_in_every_section(show: Any) -> None:
    page = show("empty").page
    told = page.locator("article").filter(has_text=re.compile(r"Nothing ended in this period\.|nothing at present"))
    with_rows = page.locator("article").filter(has=page.locator("tbody tr"))
    assert told.count() + with_rows.count() == len(VIEWS)
    assert page.locator(".nothing").first.is_visible()
    assert page.locator("svg").count() == 0


def test_a_number_leads_to_the_rows_behind_it_which_open(show: Any) -> None:
    page = show("full").page
    links = page.locator("main a[href^='#']")
    targets = {link.get_attribute("href") for link in links.all()}
    assert {f"#number-{number.name}" for view in VIEWS for number in view.numbers} <= targets
    for target in sorted(filter(None, targets)):
        assert page.locator(f"details {target}").count() == 1
    page.locator(".figures a[href='#number-executions_failed']").click()
    assert page.locator("details:has(#rows-job_statistics)").get_attribute("open") is not None
    assert page.locator("#number-executions_failed pre").is_visible()
    assert "in ('failed')" in page.locator("#number-executions_failed pre").inner_text()


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_hostile_text_is_shown_as_text(show: Any, scheme: str) -> None:
    page = show("hostile", scheme=scheme).page
    assert page.title().startswith("neural_pipeline report")
    assert page.evaluate("document.querySelectorAll('script, img, iframe, object, embed').length") == 0
    label = page.locator("#cluster_activity td").filter(has_text="<script>document.title='owned'</script>")
    assert label.count() == 1
    assert "\u05e9\u05dc\u05d5\u05dd" in label.inner_text()
    assert "\u202e" not in page.content()
    cut = label.evaluate("(cell) => cell.scrollWidth > cell.clientWidth && getComputedStyle(cell).textOverflow")
    assert cut == "ellipsis"
    heights = page.locator("#cluster_activity tbody tr, #job_statistics tbody tr").evaluate_all(
        "(rows) => rows.map((row) => Math.round(row.getBoundingClientRect().height))"
    )
    assert max(heights) - min(heights) <= 1
