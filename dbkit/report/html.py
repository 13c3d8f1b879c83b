"""One self-contained page: no script, no request to anywhere; charts are drawn as SVG by the template."""

from __future__ import annotations

from importlib.resources import files

import jinja2

from dbkit.model import Report, Severity
from dbkit.rules import REGISTRY


def render(report: Report) -> str:
    """The report as HTML; everything that comes from outside is escaped by the template engine."""
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    source = (files("dbkit.report") / "templates" / "report.html.j2").read_text(encoding="utf-8")
    titles = {f.rule: REGISTRY[f.rule].title if f.rule in REGISTRY else "" for f in report.findings}
    return environment.from_string(source).render(
        report=report,
        counts={s.value: report.count(s) for s in Severity},
        titles=titles,
        kinds=[(type(e).__name__, e) for e in report.exhibits],
    )
