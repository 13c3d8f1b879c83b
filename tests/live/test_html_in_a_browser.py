"""The HTML report opened in headless Chromium: it shows what it should and asks nobody for anything."""

import shutil
import subprocess

from dbkit.report import render
from tests.fixtures.parts import missing
from tests.unit.test_report import HOSTILE, sample

FLAGS = (
    "--headless --no-sandbox --disable-gpu --disable-quic --no-first-run --disable-background-networking "
    "--disable-component-update --disable-sync --enable-logging=stderr --v=0"
).split()


def test_the_page_opens_and_shows_its_findings(tmp_path):
    browser = shutil.which("chromium")
    if browser is None:
        missing("chromium", "chromium is not installed")
    page = tmp_path / "report.html"
    page.write_text(render(sample(), "html"), encoding="utf-8")
    done = subprocess.run(
        [browser, *FLAGS, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", page.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert "pg.index-invalid" in done.stdout
    assert HOSTILE.split("\n")[0].replace("<", "&lt;").replace(">", "&gt;") in done.stdout
    assert "<script" not in done.stdout
    assert ":CONSOLE" not in done.stderr, done.stderr
