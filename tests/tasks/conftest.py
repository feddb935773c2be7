from pathlib import Path

import pytest

from tasks import home


@pytest.fixture
def state(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A state folder of its own, with keys and layouts."""
    from tasks import evidence

    monkeypatch.setenv(home.HOME_VARIABLE, str(tmp_path / "state"))
    evidence.establish()
    return home.home()
