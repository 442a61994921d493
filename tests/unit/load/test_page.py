"""The report of a load as a page: whole in itself, with a table behind each chart."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from html.parser import HTMLParser
from typing import Any

import pytest

from runtime.load.charts import Chart, Line
from runtime.load.page import page_of
from runtime.load.report import report_of
from runtime.load.running import Measured
from runtime.load.sampling import Credits, Sample
from runtime.load.settings import LoadSettings
from runtime.load.tally import Outcome, Tally
from runtime.load.verdict import Calls, Verdict

VOID = {"meta", "line", "polyline", "polygon"}


def tally(ended: int) -> Tally:
    found = Tally()
    for number in range(ended):
        found.start(1)
        if number % 4:
            found.end(Outcome("model", 9), 10 + number)
        else:
            found.end(Outcome("fallback", 0, frozenset({"cap_reached"})), 10 + number)
    return found


def measured(**changes: Any) -> Measured:
    found: dict[str, Any] = {
        "settings": LoadSettings(rate=10, seconds=3, run_id="unit"),
        "began_at": datetime(2026, 5, 1, tzinfo=UTC),
        "elapsed_s": 3.2,
        "interrupted": False,
        "interval_s": 1,
        "intervals": {0: tally(8), 2: tally(12)},
        "samples": [
            Sample(at_s, Credits(100, 90 - at_s, 5, 5), at_s / 10, 1_000_000, {"load": at_s / 5})
            for at_s in range(4)
        ],
        "unstarted": 0,
        "top_ups": 0,
        "calls": Calls(20, 15, 15),
        "outcomes": {"answered": 15, "status_500": 5},
        "verdict": Verdict(entries=30),
        **changes,
    }
    return Measured(**found)


class Shape(HTMLParser):
    """Checks that elements are closed, and collects their names and attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.names: list[str] = []
        self.attributes: set[str] = set()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.names.append(tag)
        self.attributes |= {name for name, _ in attrs}

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_fetches_nothing_and_has_no_script() -> None:
    page = page_of(report_of(measured(), "in process"))
    shape = Shape()
    shape.feed(page)
    assert shape.open == []
    assert not {"script", "link", "img", "iframe", "object", "base"} & set(shape.names)
    assert not {name for name in shape.attributes if name.startswith("on")}
    assert not re.search(r"url\(|@import|https?:|src=|href=", page)
    assert "default-src 'none'" in page
    assert "prefers-color-scheme: dark" in page
    assert shape.names.count("figure") == shape.names.count("details") == 6


def test_the_page_tells_totals_verdict_and_what_changed_over_time() -> None:
    report = report_of(measured(), "in process")
    page = page_of(report)
    assert "Every promise was kept" in page
    assert report["executions"]["ended"] == 20
    assert report["executions"]["per_second"] == 6.2
    assert [one["ended"] for one in report["intervals"]] == [8, 0, 12]
    assert report["reasons"] == {"cap_reached": 5}
    assert report["cpu_ms_per_execution"] == {"Redis": 15.0, "load": 30.0}
    assert [one["cores"]["Redis"] for one in report["samples"]] == [0.1, 0.1, 0.1]


def test_a_broken_promise_and_hostile_text_are_shown_as_text() -> None:
    verdict = Verdict(leaks=2, details=["<script>alert(1)</script>"])
    broken = measured(verdict=verdict, problems=["process 1 ended <b>"])
    page = page_of(report_of(broken, "at http&colon;//<i>"))
    assert "Not every promise was kept" in page
    assert "<script" not in page
    assert "&lt;script&gt;" in page
    assert not broken.holds


def test_a_load_that_measured_nothing_has_a_page_too() -> None:
    empty = measured(intervals={}, samples=[], elapsed_s=0.0, interrupted=True)
    page = page_of(report_of(empty, "in process"))
    assert "Nothing to show." in page
    assert "ended early" in page


@pytest.mark.parametrize("logarithmic", [False, True])
def test_every_point_of_a_chart_is_drawn_within_it_and_is_in_its_table(logarithmic: bool) -> None:
    values = [0.0, 3.0, None, 7.25, 99.0, None]
    chart = Chart(
        "Some", "ms", "", [0, 1, 2, 3, 4, 5], [Line("one", values)], str, logarithmic=logarithmic
    )
    html = chart.html()
    points = re.findall(r'points="([^"]+)"', html)
    assert len(points) == 2, "a gap parts the line"
    for x, y in (point.split(",") for line in points for point in line.split()):
        assert 0 <= float(x) <= 1_000
        assert 0 <= float(y) <= 300
    assert re.findall(r"<td>([^<]*)</td>", html) == ["0.0", "3.0", "", "7.25", "99.0", ""]


def test_stacked_areas_stand_on_each_other() -> None:
    lines = [Line("a", [1.0, 1.0]), Line("b", [3.0, 3.0])]
    html = Chart("Sum", "", "", [0, 1], lines, str, stacked=True).html()
    upper, lower = re.findall(r'<polygon class="(c\d)" points="([^"]+)"', html)
    assert (upper[0], lower[0]) == ("c1", "c0"), "the upper one is drawn first"
    assert "0.0,0.0" in upper[1], "their sum, 4, is the top of the scale"
