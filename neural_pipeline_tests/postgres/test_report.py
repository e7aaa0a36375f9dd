"""Reports of a real database: every view is told of, numbers are those of the period, files are put in one step."""

import math
import os
import re
import stat
from datetime import timedelta
from html.parser import HTMLParser
from pathlib import Path

import pytest
from sqlalchemy import Connection, Engine, create_engine, text

from neural_pipeline.metrics.catalogue import VIEWS
from neural_pipeline.metrics.frames import numbers_of
from neural_pipeline.metrics.report.gathering import OF_ALL_DAYS, Contents, Figure, capture_p95, gather
from neural_pipeline.metrics.report.telling import NOTHING_ENDED, NOTHING_NOW, SHOWN_ROWS, headlines
from neural_pipeline.metrics.report.wording import NULL
from neural_pipeline.metrics.report.writing import Written, write_report
from neural_pipeline.settings import Settings
from neural_pipeline.store.rollups import refresh
from neural_pipeline_tests.metric_log import read
from neural_pipeline_tests.report_world import HOSTILE, NOW, WEEK, before, days_ago, ended, log, two_weeks

ENTITIES = "select * from entities_by_category"
BY_DAY = [view for view in VIEWS if view.by_day]


@pytest.fixture
def settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, engine: Engine) -> Settings:
    monkeypatch.setenv("NEURAL_HOME", str(tmp_path / "home"))
    return Settings.load()


@pytest.fixture
def weeks(engine: Engine, workspace: str) -> Engine:
    with engine.begin() as connection:
        two_weeks(connection)
    return engine


def write(engine: Engine, settings: Settings) -> Written:
    return write_report(engine, settings, WEEK, now=NOW)


class Page(HTMLParser):
    """What a browser makes of a page, as far as tests ask."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.links: list[str] = []
        self.articles: list[str] = []
        self.text = ""
        self.feed(path.read_text(encoding="utf-8"))

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = dict(attrs)
        self.tags.append(tag)
        self.ids += [id_] if (id_ := found.get("id")) else []
        self.links += [href] if tag == "a" and (href := found.get("href")) else []
        self.articles += [id_] if tag == "article" and id_ else []
        assert not [name for name in found if name.startswith("on")]

    def handle_data(self, data: str) -> None:
        self.text += data


def figure(contents: Contents, name: str) -> Figure:
    return next(one for section in contents.sections for one in section.figures if one.number.name == name)


def test_every_view_is_in_the_page_and_in_the_markdown(weeks: Engine, settings: Settings) -> None:
    written = write(weeks, settings)
    assert Page(written.html).articles == [view.name for view in _by_area()]
    headings = [line for line in written.markdown.read_text(encoding="utf-8").splitlines() if line.startswith("### ")]
    assert headings == [f"### {view.name.replace('_', ' ').capitalize()}" for view in _by_area()]


def _by_area() -> list[object]:
    areas = list(dict.fromkeys(type(VIEWS[0].area)))
    return [view for area in areas for view in VIEWS if view.area is area]


def test_the_files_are_named_for_their_days_and_are_for_nobody_else(weeks: Engine, settings: Settings) -> None:
    written = write(weeks, settings)
    last = WEEK.until - timedelta(days=1)
    name = f"neural-report-{WEEK.since}-to-{last}"
    folder = settings.home / "reports"
    assert (written.html, written.markdown) == (folder / f"{name}.html", folder / f"{name}.md")
    assert {stat.S_IMODE(path.stat().st_mode) for path in (written.html, written.markdown)} == {0o600}
    assert stat.S_IMODE(folder.stat().st_mode) == 0o700


def test_a_report_takes_the_place_of_an_earlier_one_and_leaves_nothing_else(weeks: Engine, settings: Settings) -> None:
    first = write(weeks, settings)
    with first.html.open(encoding="utf-8") as reader:
        again = write(weeks, settings)
        assert reader.read().endswith("</html>")
    assert again.html.read_text(encoding="utf-8").endswith("</html>")
    assert sorted(settings.home.joinpath("reports").iterdir()) == sorted([again.html, again.markdown])


def test_reports_older_than_metrics_are_kept_are_removed_and_nothing_else(
    engine: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NEURAL_KEEP_METRIC_DAYS", "30")
    folder = settings.home / "reports"
    folder.mkdir(parents=True)
    old = ("neural-report-2025-01-01-to-2025-01-07.html", ".neural-report-2025-01-01-to-2025-01-07.md-x", "notes.txt")
    kept = ("neural-report-2026-01-01-to-2026-01-07.html", ".neural-report-2026-01-01-to-2026-01-07.md-x")
    for name in (*old, *kept):
        (folder / name).touch()
        age = 31 if name in old else 29
        os.utime(folder / name, times=(days_ago(age).timestamp(),) * 2)
    written = write(engine, Settings.load())
    expected = {"notes.txt", *kept, written.html.name, written.markdown.name}
    assert {path.name for path in folder.iterdir()} == expected


def test_a_report_adds_up_no_more_metrics_than_it_has_time_for(
    weeks: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(refresh.__kwdefaults__, "slice_", 5)
    written = write(weeks, settings)
    with weeks.begin() as connection:
        assert connection.execute(text("select sum(metrics) from metric_days")).scalar_one() == 15
    assert figure(written.contents, "executions_ended").value == 7 * 8


def test_a_report_is_written_though_nothing_can_be_added_up(weeks: Engine, settings: Settings) -> None:
    hasty = create_engine(weeks.url, connect_args={"options": "-c lock_timeout=100"})
    with weeks.begin() as connection:
        connection.execute(text("select from rollup_progress for update"))
        assert Page(write(hasty, settings).html).articles
    hasty.dispose()


@pytest.mark.parametrize(("keep_days", "is_kept"), [(13, True), (12, False)])
def test_days_that_retention_has_removed_are_compared_with_nothing(
    weeks: Engine, settings: Settings, monkeypatch: pytest.MonkeyPatch, keep_days: int, is_kept: bool
) -> None:
    monkeypatch.setenv("NEURAL_KEEP_METRIC_DAYS", str(keep_days))
    written = write(weeks, Settings.load())
    by_day = [section for section in written.contents.sections if section.view.by_day]
    assert any(one.before is not None for section in by_day for one in section.figures) is is_kept
    assert ("are not kept to compare with" in Page(written.html).text) is not is_kept


def test_equal_data_give_an_equal_report(weeks: Engine, settings: Settings) -> None:
    with weeks.begin() as connection:
        # Ages go on; all else stands still.
        connection.execute(
            text("update lightfast_workspace_actor_profiles set last_active_at = now() + interval '1 h'")
        )
    first = write(weeks, settings).html.read_bytes()
    assert write(weeks, settings).html.read_bytes() == first


def test_numbers_are_those_of_the_view_and_are_compared_with_the_days_before(weeks: Engine) -> None:
    contents = gather(weeks, WEEK, now=NOW)
    with weeks.begin() as connection:
        for section in contents.sections:
            if section.view.by_day and section.view.name not in OF_ALL_DAYS:
                found = {one.number.name: one.value for one in section.figures if one.value is not None}
                assert found == numbers_of(connection, section.view, WEEK)
                earlier = {one.number.name: one.before for one in section.figures if one.before is not None}
                assert earlier == numbers_of(connection, section.view, before(WEEK))
    executions = figure(contents, "executions_ended")
    assert (executions.value, executions.before) == (7 * 8, 7 * 4)


@pytest.mark.parametrize("rolled_up", [True, False])
def test_a_percentile_of_several_days_is_that_of_all_their_durations(
    engine: Engine, workspace: str, rolled_up: bool
) -> None:
    durations = [10] * 60 + [200] * 35 + [3000] * 5
    with engine.begin() as connection:
        # By days, the slowest would have a p95 of 3,000, and the mean of both would be 1,600.
        log(connection, *(ended(ms, queue_ms=2 * ms) for ms in durations[:50]), at=days_ago(1))
        log(connection, *(ended(ms, queue_ms=2 * ms) for ms in durations[50:]), at=days_ago(2))
        log(connection, *(ended(9000, outcome="failed") for _ in range(100)), at=days_ago(2))
        log(connection, *(ended(9000) for _ in range(100)), at=days_ago(9))
    if rolled_up:
        refresh(engine)
    rank = sorted(durations)[math.ceil(0.95 * len(durations)) - 1]
    contents = gather(engine, WEEK, now=NOW)
    assert figure(contents, "capture_run_p95_of_period_ms").value == pytest.approx(rank, rel=0.01)
    assert figure(contents, "capture_queue_p95_of_period_ms").value == pytest.approx(2 * rank, rel=0.01)
    assert figure(contents, "capture_run_p95_of_period_ms").before == pytest.approx(9000, rel=0.01)


def test_a_number_of_the_catalogue_says_in_a_report_what_it_says_elsewhere(weeks: Engine) -> None:
    with weeks.begin() as connection:
        log(connection, ended(9000), at=days_ago(1))
        elsewhere = {name: value for view in VIEWS for name, value in numbers_of(connection, view, WEEK).items()}
    contents = gather(weeks, WEEK, now=NOW)
    run = {name: value for name, value in elsewhere.items() if name.startswith("capture_")}
    assert {name: figure(contents, name).value for name in run} == run
    assert figure(contents, "capture_run_p95_ms").value != figure(contents, "capture_run_p95_of_period_ms").value


def test_there_is_no_percentile_of_nothing(scratch: Connection) -> None:
    assert capture_p95(scratch, WEEK) == {}


def test_an_empty_database_has_a_report_that_says_so(engine: Engine, settings: Settings) -> None:
    written = write(engine, settings)
    page, markdown = Page(written.html), written.markdown.read_text(encoding="utf-8")
    silent = [section.view for section in written.contents.sections if not section.rows]
    assert {view.name for view in BY_DAY} <= {view.name for view in silent}
    for shown in (page.text, markdown):
        assert shown.count(NOTHING_ENDED) == len(BY_DAY)
        assert shown.count(NOTHING_NOW) == len(silent) - len(BY_DAY)
    assert "svg" not in page.tags
    told = {one.label: one.value for one in headlines(written.contents)}
    assert (told["Executions"], told["Success rate"], told["Capture run time, p95 (all days)"]) == ("0", NULL, NULL)


def test_every_link_leads_to_a_place_on_the_page(weeks: Engine, settings: Settings) -> None:
    page = Page(write(weeks, settings).html)
    assert {link[1:] for link in page.links} <= set(page.ids)
    assert {link[0] for link in page.links} == {"#"}
    assert {f"rows-{view.name}" for view in VIEWS} <= set(page.ids)
    assert {f"#number-{number.name}" for view in VIEWS for number in view.numbers} <= set(page.links)
    assert len(page.ids) == len(set(page.ids))


def test_the_way_to_the_rows_behind_is_shown_for_the_period(weeks: Engine, settings: Settings) -> None:
    written = write(weeks, settings)
    for shown in (Page(written.html).text, written.markdown.read_text(encoding="utf-8")):
        assert "{since}" not in shown
        assert all(section.rows_behind in shown for section in written.contents.sections)
        figures = [one for section in written.contents.sections for one in section.figures]
        assert all(one.rows_behind in shown for one in figures if one.rows_behind)


def test_hostile_text_is_text_in_both_files(engine: Engine, workspace: str, settings: Settings) -> None:
    with engine.begin() as connection:
        two_weeks(connection, named=HOSTILE)
    written = write(engine, settings)
    page = Page(written.html)
    assert not {"script", "img", "iframe", "object", "embed"} & set(page.tags)
    assert page.text.count("<script>document.title='owned'</script>\"><img src=") > 2
    markdown = written.markdown.read_text(encoding="utf-8")
    assert r"\<script\>document.title='owned'\</script\>" in markdown
    told = [line for line in markdown.splitlines() if not line.startswith("    ")]
    assert not [line for line in told if re.search(r"(?<!\\)[<\[]|\u202e|https:", line)]
    tables = [line.replace(r"\|", "") for line in markdown.splitlines() if line.startswith("| ")]
    bars = [{line.count("|") for line in tables if ("script" in line) is is_hostile} for is_hostile in (True, False)]
    assert bars[0] <= bars[1]


def test_a_long_view_is_cut_and_says_so(engine: Engine, workspace: str, settings: Settings) -> None:
    sql = """
    insert into lightfast_workspace_neural_entities (workspace_id, category, key)
    select 'ws_test', 'category ' || n, 'k' from generate_series(1, :categories) n
    """
    with engine.begin() as connection:
        connection.execute(text(sql), {"categories": SHOWN_ROWS + 1})
    written = write(engine, settings)
    for shown in (Page(written.html).text, written.markdown.read_text(encoding="utf-8")):
        assert shown.count(f"The first {SHOWN_ROWS} rows are shown; there are more.") == 1
        assert shown.count(f"{ENTITIES} order by entities desc, category") == 1
    assert "#table-entities_by_category" in Page(written.html).links


def test_the_way_to_a_whole_table_leads_to_all_its_rows_in_the_period(weeks: Engine) -> None:
    contents = gather(weeks, WEEK, now=NOW)
    with weeks.begin() as connection:
        found = {section.view.name: read(connection, section.whole) for section in contents.sections}
    assert {name: len(rows) for name, rows in found.items()} == {
        section.view.name: len(section.rows) for section in contents.sections
    }
    assert {len(found["job_statistics"]), len(found["cluster_join_rate"])} == {14, 7}
