"""Progress is printed, unless somebody in the process listens."""

from typing import Any

import pytest

from tasks.progress import heard_by, step


def test_who_listens_hears_it_and_nobody_else(capsys: pytest.CaptureFixture[str]) -> None:
    heard: list[dict[str, Any]] = []
    with heard_by(heard.append):
        step("fitting", 1, 3)
    assert heard == [{"step": "fitting", "done": 1, "total": 3}]
    assert capsys.readouterr().out == ""
    step("fitting", 2, 3)
    assert capsys.readouterr().out == "fitting (2/3)\n"
    assert len(heard) == 1
