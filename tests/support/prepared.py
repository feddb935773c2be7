"""What a new state folder can have from another one without being less new: compiled loops, and MLflow's empty tables.

Each costs a fresh folder half a minute of a core. The first test that needs them makes them as a user's first run does.
"""

import os
import shutil
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

CHECKOUT = Path(__file__).parents[2]
SHARED = CHECKOUT / ".venv" / "tests"  # goes with the environment that it was compiled in


def prepare(home: Path) -> None:
    """Give a state folder that does not exist yet what the tests share; one that cannot be made is left to fail."""
    if home.exists():
        return
    with suppress(OSError):
        (home / "cache").mkdir(parents=True)
        (SHARED / "numba").mkdir(parents=True, exist_ok=True)
        (home / "cache" / "numba").symlink_to(SHARED / "numba")
        shutil.copy(tables(), home / "mlflow.db")


def tables() -> Path:
    """MLflow's database as it is before anything was written into it."""
    made = SHARED / "mlflow.db"
    if not made.exists():
        draft = SHARED / f"state-{os.getpid()}"
        code = "from tasks.home import prepare; prepare(); from tasks import ledger; ledger.client()"
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MLFLOW_")}
        environment = kept | {"COUNTERSIGN_HOME": str(draft)}
        subprocess.run([sys.executable, "-c", code], cwd=CHECKOUT, env=environment, check=True)
        (draft / "mlflow.db").replace(made)
        shutil.rmtree(draft)
    return made
