"""The state folder: where everything the system writes lives, who holds it, and how a file gets there whole."""

import fcntl
import hashlib
import json
import os
import stat
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from functools import cache
from pathlib import Path
from typing import Any

from tasks.domain.errors import UsageError

CHECKOUT = Path(__file__).resolve().parent.parent
HOME_VARIABLE = "COUNTERSIGN_HOME"
KEYS_VARIABLE = "COUNTERSIGN_KEYS"
PREFECT_DATABASE = "PREFECT_SERVER_DATABASE_CONNECTION_URL"
MLFLOW_PAGES = "COUNTERSIGN_MLFLOW_PAGES"  # where MLflow's pages are served, if they are
RETRAIN_ID = "COUNTERSIGN_RETRAIN_ID"  # of the retrain that a stage is part of
BUNDLE, RUNS = "bundle.json", "runs"  # of a state folder that is a bundle: what it is, and the files of its runs
ROLE_FOLDERS = "roles"  # where users are separated: a folder for each role's own caches and settings
UMASK = 0o027  # there, what a role makes is nobody's but its own and its group's


def home() -> Path:
    return Path(os.environ.get(HOME_VARIABLE, CHECKOUT / "mlruns")).resolve()


def keys_folder() -> Path:
    """Where this machine's keys and logins lie: in the state folder, unless that is shared with machines that must not
    have them."""
    return Path(os.environ.get(KEYS_VARIABLE) or home() / "keys").resolve()


def logs_folder() -> Path:
    """Where this process may write what it logs."""
    return (role_folder(home()) or home()) / "logs"


def is_bundle() -> bool:
    """Whether the state folder is a version's evidence that was carried away from where it was made."""
    return (home() / BUNDLE).exists()


def prepare() -> Path:
    """Make the state folder and point every dependency into it, telemetry off. Call before importing them.

    Raises:
        UsageError: the folder can't be written.
    """
    folder = home()
    own = role_folder(folder)
    if own is None:
        require_writable(folder)
    else:
        os.umask(UMASK)
    caches = own or folder
    fixed = {
        HOME_VARIABLE: str(folder),
        "PREFECT_HOME": str(caches / "prefect"),
        "PREFECT_SERVER_ANALYTICS_ENABLED": "false",
        "PREFECT_LOGGING_LEVEL": os.environ.get("PREFECT_LOGGING_LEVEL", "INFO"),
        "DO_NOT_TRACK": "true",
        "MLFLOW_DISABLE_TELEMETRY": "true",
        "MLFLOW_ENABLE_ARTIFACTS_PROGRESS_BAR": "false",
        # With a server it would print a run's address between a command's own lines.
        "MLFLOW_SUPPRESS_PRINTING_URL_TO_STDOUT": "true",
        "MLFLOW_TRACKING_URI": tracking_uri(folder),
        # Work is done by CPU-bound LightGBM and numpy; two threads are the smallest machine aimed at.
        "OMP_NUM_THREADS": os.environ.get("OMP_NUM_THREADS", "2"),
        # Without it PyTorch refuses to repeat itself to the byte on a GPU.
        "CUBLAS_WORKSPACE_CONFIG": ":4096:8",
        # Threads that spin while they wait make LightGBM 50 times slower where another process wants the core.
        "OMP_WAIT_POLICY": "PASSIVE",
        # A stage uses the memory of its arrays again; given back to the system after each, it costs a quarter of the
        # time to get it anew (glibc; nothing to others).
        "MALLOC_MMAP_THRESHOLD_": str(16 << 20),
        "MALLOC_TRIM_THRESHOLD_": str(64 << 20),
        "NUMBA_CACHE_DIR": str(caches / "cache" / "numba"),
        "MPLBACKEND": "Agg",
        "MPLCONFIGDIR": str(caches / "cache" / "matplotlib"),
    }
    if (prefect := databases().get("prefect")) and PREFECT_DATABASE not in os.environ:
        fixed[PREFECT_DATABASE] = prefect
    os.environ.update(fixed)
    return folder


def role_folder(folder: Path) -> Path | None:
    """The folder of the role whose user this process runs as; None where users are not separated, and for root."""
    if os.geteuid() == 0:
        return None
    try:
        return next((each for each in (folder / ROLE_FOLDERS).iterdir() if each.stat().st_uid == os.geteuid()), None)
    except OSError:
        return None


def require_writable(folder: Path) -> None:
    try:
        folder.mkdir(parents=True, exist_ok=True)
        probe = folder / f".writable-{os.getpid()}"
        probe.touch()
        probe.unlink()
    except OSError as fault:
        raise UsageError(
            f"state folder {folder}: cannot be written ({fault.strerror}); set {HOME_VARIABLE} to a folder that can"
        ) from None


def tracking_uri(folder: Path) -> str:
    return os.environ.get("MLFLOW_TRACKING_URI") or records(folder)


def records(folder: Path) -> str:
    """The database of MLflow's records that belongs to a state folder, wherever the environment leads."""
    return databases().get("mlflow") or f"sqlite:///{folder / 'mlflow.db'}"


def databases_file() -> Path:
    return keys_folder() / "databases.json"


def databases() -> dict[str, str]:
    """URLs of the databases that keep MLflow's and Prefect's records; empty where these are files.

    Raises:
        UsageError: there are some, but this user may not know them.
    """
    path = databases_file()
    try:
        return dict(json.loads(path.read_bytes())) if path.exists() else {}
    except (OSError, ValueError):
        raise UsageError(f"{path}: cannot be read; name the database by MLFLOW_TRACKING_URI instead") from None


def write_whole(path: Path, content: bytes, mode: int = 0o644) -> None:
    """Write a file so that a crash leaves either the old content or the new, never a part."""
    make_folder(path.parent)
    draft = path.with_name(f".{path.name}.{os.getpid()}")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, mode)
    with os.fdopen(descriptor, "wb") as file:
        if is_shared(path.parent):
            os.fchmod(descriptor, mode & path.parent.stat().st_mode)
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    draft.replace(path)


def make_folder(path: Path) -> None:
    """Make a folder. Below a shared one it is shared in the same way, whatever the process's umask."""
    if path.is_dir():
        return
    make_folder(path.parent)
    try:
        path.mkdir()
    except FileExistsError:
        return  # another process was first, and shares it too
    if is_shared(path.parent):
        with suppress(PermissionError):  # root took it over meanwhile, and shared it
            path.chmod(stat.S_IMODE(path.parent.stat().st_mode))


def is_shared(folder: Path) -> bool:
    """Whether a folder hands its group on to what is made in it: so are those that several roles use."""
    return bool(folder.stat().st_mode & stat.S_ISGID)


def as_json(content: Any) -> bytes:
    """Canonical JSON: equal content, equal bytes."""
    return (json.dumps(content, sort_keys=True, indent=1, ensure_ascii=False) + "\n").encode()


def sha256(content: bytes) -> str:
    return hashlib.sha256(content).hexdigest()


def folder_digests(folder: Path, prefix: str = "") -> dict[str, str]:
    """SHA-256 of every file below a folder by its relative name."""
    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {prefix + path.relative_to(folder).as_posix(): sha256(path.read_bytes()) for path in files}


def digests_apart(signed: dict[str, str], held: dict[str, str]) -> list[str]:
    """What a set of files differs in from what was signed, in words."""
    return [
        f"file {name}: {'missing' if name not in held else 'not signed' if name not in signed else 'altered'}"
        for name in sorted(signed.keys() | held.keys())
        if signed.get(name) != held.get(name)
    ]


@contextmanager
def exclusive(name: str, wait: bool = False) -> Iterator[int]:
    """Hold a named lock while the block runs; yields its descriptor so that child processes can share it.

    The operating system frees it when the last holder ends, however it ends.

    Raises:
        UsageError: somebody else holds it, and it is not to be waited for.
    """
    path = home() / "locks" / f"{name}.lock"
    make_folder(path.parent)
    descriptor = open_lock(path)
    try:
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        except BlockingIOError:
            raise UsageError(f"{name}: another run holds this problem; wait until it has ended") from None
        yield descriptor
    finally:
        os.close(descriptor)


def open_lock(path: Path) -> int:
    """Locking needs no right to write, and what another role's user made can only be read; so it is only read."""
    try:
        return os.open(path, os.O_RDONLY)
    except FileNotFoundError:
        return os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)


@cache
def code_sha256() -> str:
    """Digest of the source that produces evidence, so that a changed line is a changed candidate."""
    content = {
        room + "/" + name: digest
        for room in ("flows", "tasks")
        for name, digest in folder_digests(CHECKOUT / room).items()
        if name.endswith(".py")
    }
    return sha256(as_json(content))


@cache
def lock_sha256() -> str:
    return sha256((CHECKOUT / "requirements.lock").read_bytes())


@cache
def git_commit() -> str:
    """The checkout's commit, `-dirty` where tracked files differ from it, or "none" outside git."""
    # Git refuses a checkout of another user, such as the operator's, unless told that it is meant.
    trusted = ["-c", f"safe.directory={CHECKOUT}"]
    command = ["git", *trusted, "-C", str(CHECKOUT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        found = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError:
        return "none"
    return found.stdout.strip() or "none"
