"""Access: the declaration made real by owners, groups and modes, and stages that start as their role's user.

Folders belong to root or to the one role that writes them, and hand their group on to what is made in them (setgid).
A table's folder opens to its group only. In what all roles add to (evidence), the sticky bit keeps each role's files
its own; that holds only where no role owns the folder itself, so folders that a role made there are taken from it.
"""

import errno
import os
import re
import stat
import sys
from collections.abc import Iterator, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

from tasks import accounts, logins, places
from tasks.accounts import Accounts
from tasks.domain import names
from tasks.domain.errors import UsageError
from tasks.domain.rights import ROLES, rows
from tasks.home import CHECKOUT, ROLE_FOLDERS, UMASK, home, keys_folder

ROOT = 0
OPEN_TO_GROUP = 0o2750
ADD_ONLY = 0o3775  # all writers add, the sticky bit keeps what is another's, everybody who gets here reads
PASS_THROUGH = 0o750
FILE = 0o640
PRIVATE = 0o600
STEPS = {"promote": names.DECIDE}  # flows that are not called like the step they sign
DATABASE = "mlflow.db"


class Entry(NamedTuple):
    """A folder that must be there, and to whom it belongs."""

    path: Path
    user: int
    group: int
    mode: int


# --- what belongs to whom -----------------------------------------------------------------------------------


def table_folders() -> dict[str, str]:
    """The declaration's word for a table → its folder below the problem's."""
    from tasks import lake

    return {table.rpartition("/")[2]: table for table in lake.TABLES}


def common(who: Accounts) -> Iterator[Entry]:
    """Folders that are there once; parents first."""
    top, evidence = home(), who.groups["evidence"]
    yield Entry(top, ROOT, who.shared, PASS_THROUGH)
    yield Entry(keys_folder(), ROOT, who.shared, PASS_THROUGH)
    yield Entry(top / "register", ROOT, who.shared, PASS_THROUGH)
    yield Entry(top / "logs", ROOT, who.shared, PASS_THROUGH)
    yield Entry(top / "prefect", ROOT, ROOT, 0o700)
    yield Entry(top / "artifacts", ROOT, who.shared, PASS_THROUGH)
    yield Entry(top / "evidence", ROOT, evidence, 0o755)
    yield Entry(top / "evidence" / "layouts", ROOT, evidence, 0o755)
    yield Entry(top / "locks", ROOT, evidence, 0o3770)
    # Whoever opens the database after a killed writer must be able to delete the journal it left: no sticky bit.
    yield Entry(top / "mlflow", ROOT, who.groups["mlflow"], 0o2770)
    yield Entry(top / ROLE_FOLDERS, ROOT, who.shared, PASS_THROUGH)
    for role in ROLES:
        yield Entry(top / ROLE_FOLDERS / role, who.users[role], who.own[role], 0o700)
    if not places.is_url(places.lake()):
        yield Entry(Path(places.lake()), ROOT, who.shared, PASS_THROUGH)


def of_problem(who: Accounts, problem: str) -> Iterator[Entry]:
    """Folders of a problem; parents first."""
    yield Entry(home() / "evidence" / problem, ROOT, who.groups["evidence"], ADD_ONLY)
    yield Entry(home() / "artifacts" / problem, ROOT, who.shared, PASS_THROUGH)
    yield from stage_folders(who, problem)
    if not places.is_url(places.lake()):
        tables = list(lake_folders(who, problem))
        for parent in sorted({entry.path.parent for entry in tables}):
            yield Entry(parent, ROOT, who.shared, PASS_THROUGH)
        yield from tables


def stage_folders(who: Accounts, problem: str) -> Iterator[Entry]:
    for stage, role in names.SIGNERS.items():
        yield Entry(home() / "artifacts" / problem / stage, who.users[role], who.shared, OPEN_TO_GROUP)


def lake_folders(who: Accounts, problem: str) -> Iterator[Entry]:
    folders = table_folders()
    for name, row in rows(who.access.tables).items():
        path = Path(places.table(problem, folders[name]))
        yield Entry(path, who.users[row.writers[0]], who.groups[name], OPEN_TO_GROUP)


def problems() -> list[str]:
    """The problems that have left anything in the state folder."""
    folders = [path for room in ("evidence", "artifacts", "lake") for path in (home() / room).glob("*/")]
    return sorted({path.name for path in folders if is_problem(path.name)} - {"layouts"})


def is_problem(name: str) -> bool:
    return re.fullmatch(r"[a-z][a-z0-9_]{0,62}", name) is not None


# --- making it so -------------------------------------------------------------------------------------------


def apply(who: Accounts, *wanted: str, whole: bool = False) -> None:
    """Make keys and folders, and give everything its owner, group and mode; safe to call at any time.

    Args:
        wanted: problems whose folders are made; folders of other problems are left as they are.
        whole: also everything that lies in the problems' folders already, from before users were separated. Call
            that while nothing runs.

    Raises:
        UsageError: the caller is not root, or the state is from before users were separated.
    """
    require_root()
    from tasks import evidence

    for entry in common(who):
        enforce(entry)
    share_database(who, whole)
    evidence.establish()
    give_keys(who)
    for problem in wanted:
        for entry in of_problem(who, problem):
            enforce(entry)
        if whole:
            give_contents(who, problem)
        take_folders(who, problem)


def require_root() -> None:
    if os.geteuid() != ROOT:
        raise UsageError(
            f"{accounts.declaration()}: names a user for each role, so this must be started by root; "
            "start it with sudo, or set every user and group there to null"
        )


def enforce(entry: Entry) -> None:
    entry.path.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(entry.path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        give(descriptor, entry.user, entry.group, entry.mode)
    finally:
        os.close(descriptor)


def give(descriptor: int, user: int, group: int, mode: int) -> None:
    os.fchown(descriptor, user, group)
    os.fchmod(descriptor, mode)


def give_file(path: str | Path, user: int, group: int, mode: int, folder: int | None = None) -> None:
    """Give a plain file away. Root must not be led elsewhere by a link that a role put in its place."""
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK, dir_fd=folder)
    except OSError as fault:
        if fault.errno == errno.ELOOP:
            return
        raise
    try:
        found = os.fstat(descriptor)
        if stat.S_ISREG(found.st_mode) and found.st_nlink == 1:
            give(descriptor, user, group, mode)
    finally:
        os.close(descriptor)


def share_database(who: Accounts, whole: bool) -> None:
    """MLflow's SQLite database moves into a folder where all stages may write; a link stays in its place, so that its
    address stays too. SQLite keeps its journal beside the file, not beside the link."""
    link, database = home() / DATABASE, home() / "mlflow" / DATABASE
    if link.exists() and not link.is_symlink():
        if not whole:
            raise UsageError(
                f"{home()}: was filled before users were separated; "
                "run `countersign access apply` once, while nothing else runs"
            )
        link.rename(database)
    if not database.exists():
        database.touch()
    give_file(database, ROOT, who.groups["mlflow"], 0o660)
    with suppress(FileExistsError):
        link.symlink_to(Path("mlflow") / DATABASE)


def give_keys(who: Accounts) -> None:
    """Each private key and each role's credentials for the lake and MLflow can be read by that role's user only."""
    folder = keys_folder()
    for role in (names.OWNER, *ROLES):
        user, group = (ROOT, ROOT) if role == names.OWNER else (who.users[role], who.own[role])
        for name in (f"{role}.pem", f"{role}.lake.json", logins.role_path(role).name):
            if (folder / name).exists():
                give_file(folder / name, user, group, PRIVATE)
        if (folder / f"{role}.pub").exists():
            give_file(folder / f"{role}.pub", ROOT, who.shared, FILE)
    for path in logins.private_paths():
        give_file(path, ROOT, ROOT, PRIVATE)


def take_folders(who: Accounts, problem: str) -> None:
    """Folders that roles made among the evidence become root's: their owner could delete what others put in."""
    for _, _, _, descriptor in os.fwalk(home() / "evidence" / problem):
        give(descriptor, ROOT, who.groups["evidence"], ADD_ONLY)


def give_contents(who: Accounts, problem: str) -> None:
    """What was there before users were separated."""
    tables = [] if places.is_url(places.lake()) else list(lake_folders(who, problem))
    for entry in (*tables, *stage_folders(who, problem)):
        for _, _, files, folder in os.fwalk(entry.path):
            give(folder, entry.user, entry.group, entry.mode)
            for name in files:
                give_file(name, entry.user, entry.group, FILE, folder)
    for _, _, files, folder in os.fwalk(home() / "evidence" / problem):
        for name in files:
            role = names.SIGNERS.get(name.partition(".")[0], names.STEWARD if name == "current" else None)
            give_file(name, ROOT if role is None else who.users[role], who.groups["evidence"], 0o644, folder)


# --- stages as their role's user ----------------------------------------------------------------------------


class Start(NamedTuple):
    """How a flow's process is to be started: its environment, and what `Popen` is told besides."""

    environment: dict[str, str]
    options: dict[str, Any]


def start(flow: str, problem: str, environment: Mapping[str, str]) -> Start:
    """How to start a flow: as the user of the role that signs it where users are separated, else as the caller.

    Raises:
        UsageError: users are separated and the caller is not root, or a role's user cannot reach what it needs.
    """
    role = names.SIGNERS.get(STEPS.get(flow, flow))
    own = dict(environment) | ({places.ROLE_VARIABLE: role} if role else {})
    if role and (keys_folder() / f"{role}.lake.json").exists():
        # Whoever has credentials of its own must not find somebody else's in its environment.
        own = {name: value for name, value in own.items() if not name.startswith(places.CLOUDS)}
    if role and logins.at_server(own) and logins.role_path(role).exists():
        own = logins.as_role(own, role)
    who = accounts.load()
    if who is None or (role and os.geteuid() == who.users[role] != ROOT):  # nobody to become but who one is
        return Start(own, {})
    apply(who, *([problem] if brings(flow, problem) else []))
    if role is None:
        return Start(own, {})
    require_reach(who, role)
    folder = home() / ROLE_FOLDERS / role
    own |= {"HOME": str(folder), "USER": role, "LOGNAME": role, "XDG_CACHE_HOME": str(folder / "cache")}
    identity = {"user": who.users[role], "group": who.own[role], "extra_groups": who.memberships(role)}
    return Start(own, identity | {"umask": UMASK})


def brings(flow: str, problem: str) -> bool:
    """Whether a flow may be the first of its problem; a mistyped model must not leave folders behind."""
    known = (home() / "evidence" / problem).is_dir()
    return is_problem(problem) and (known or flow in ("retrain", names.COLLECT))


def settle(problem: str) -> None:
    """After a stage: take over the folders that its role made among the evidence."""
    who = accounts.load()
    if who is not None and os.geteuid() == ROOT and is_problem(problem):
        take_folders(who, problem)


def require_reach(who: Accounts, role: str) -> None:
    """Raises UsageError if the role's user can't enter a folder on the way to what every stage needs."""
    # A copied interpreter whose own library is out of reach may quietly run with another one's.
    interpreter = [Path(os.path.realpath(sys.executable)).parent, Path(sys.base_prefix)]
    needed = [home(), CHECKOUT, Path(sys.prefix), *interpreter]
    needed += [] if places.is_url(places.lake()) else [Path(places.lake())]
    groups = {who.own[role], *who.memberships(role)}
    for path in needed:
        for folder in (path, *path.parents):
            if not may_enter(folder.stat(), who.users[role], groups):
                raise UsageError(
                    f"{folder}: the {role}'s user ({who.users[role]}) cannot enter it and needs {path}; "
                    f"open it (chmod o+x {folder}) or move what lies below"
                )


def may_enter(folder: os.stat_result, user: int, groups: set[int]) -> bool:
    if user in (ROOT, folder.st_uid):
        return user == ROOT or bool(folder.st_mode & stat.S_IXUSR)
    return bool(folder.st_mode & (stat.S_IXGRP if folder.st_gid in groups else stat.S_IXOTH))
