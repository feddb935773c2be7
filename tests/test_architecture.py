"""The architecture is a test: rooms, empty packages, and files that must stand alone."""

import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).parents[1]


def test_import_contracts_hold() -> None:
    command = [sys.executable, "-c", "from importlinter.cli import lint_imports_command; lint_imports_command()"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout + result.stderr


def test_packages_import_nothing() -> None:
    for room in ("flows", "tasks"):
        for package in (ROOT / room).rglob("__init__.py"):
            assert package.read_text() == "", package


def test_the_command_line_starts_without_the_slow_libraries() -> None:
    code = "import sys, flows.cli; print([m for m in ('prefect', 'mlflow', 'pandas', 'sklearn') if m in sys.modules])"
    result = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert result.stdout.strip() == "[]"


def test_the_lock_names_no_address() -> None:
    assert "://" not in (ROOT / "requirements.lock").read_text()
