"""An alert's examples can be read in `rlhf show` and in the alerts view, whatever a model wrote."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from recorded import HOSTILE, PROMPT, append_events, write_record
from rlhf_console.tui.drawing.alerts import alert_page
from rlhf_console.tui.drawing.cells import Row
from rlhf_sdk.events import Alert, Example, decode_event, encode_line

LONG = "she said that she would call me back in the evening and i still wait for it"
ALERT = Alert(
    severity="warning",
    code="one_phrase",
    message="share of responses that have the most common four words in common: 0.9",
    figures={"figure": 0.9, "threshold": 0.5},
    examples=[Example(PROMPT, HOSTILE), Example(PROMPT, LONG), Example(PROMPT, "")],
)


def texts(rows: list[Row]) -> list[str]:
    return ["".join(cell for cell, _ in row).rstrip() for row in rows]


def test_examples_survive_the_way_through_the_journal() -> None:
    assert decode_event(encode_line(ALERT)) == ALERT
    old = b'{"kind":"alert","severity":"info","code":"c","message":"m","schema":1}'
    assert decode_event(old) == Alert(severity="info", code="c", message="m"), "as older runs have it"


def test_the_alerts_view_has_prompt_and_response() -> None:
    lines = texts(alert_page(ALERT, 60))
    assert all(len(line) <= 60 for line in lines)
    prompts = [line for line in lines if line.startswith("prompt ")]
    assert len(prompts) == 3 and prompts[0].startswith("prompt    SUBREDDIT: r/advice TITLE: my sister")
    whole = " ".join(" ".join(lines).split())
    assert LONG in whole and "(empty)" in whole
    assert "\x1b" not in whole and "\u202e" not in whole and "[bold]not markup[/bold]" in whole


def test_show_has_them_too(tmp_path: Path) -> None:
    directory = write_record(tmp_path, "hacked")
    append_events(directory, [ALERT])
    command = [sys.executable, "-m", "rlhf_console", "show", "hacked", "--runs", str(tmp_path)]
    environment = os.environ | {"NO_COLOR": "1", "COLUMNS": "100"}
    shown = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60, check=True).stdout
    assert shown.count("  prompt     SUBREDDIT") == 3
    assert f"  response   {LONG}" in shown and "one_phrase after step 0, for example" in shown
    assert "\x1b" not in shown and "\u202e" not in shown
