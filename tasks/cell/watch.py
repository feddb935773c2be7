"""What Python tells of itself in a model's process: a model that tries what it may not is named, and ended.

The kernel's walls hold without this; this gives the reason, and stands alone where a kernel has no walls. Code that
goes round Python (through ctypes) goes round this too.
"""

import os
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

WRITING = os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND
# Audit events of Python and what they mean, by name or by beginning.
DISK = (
    "os.remove", "os.rename", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod", "os.chown", "os.truncate",
    "os.utime", "os.setxattr", "os.removexattr", "os.chflags", "os.lchmod", "os.lockf", "shutil.", "tempfile.",
    "sqlite3.connect",
)  # fmt: skip
NETWORK = ("socket.", "urllib.", "http.", "ftplib.", "smtplib.", "poplib.", "imaplib.", "telnetlib.", "nntplib.")
PROGRAMS = ("subprocess.", "os.system", "os.exec", "os.posix_spawn", "os.spawn", "os.fork", "pty.", "os.startfile")
SIGNALS = ("os.kill", "os.killpg", "signal.pthread_kill")
PICKLES = ("pickle.find_class",)
MEANING = (
    (DISK, "write to the disk"),
    (NETWORK, "use the network"),
    (PROGRAMS, "start another process"),
    (SIGNALS, "send a signal"),
    (PICKLES, "unpickle code"),
)


def watch(readable: Sequence[Path], end: Callable[[str], None]) -> None:
    """From now on, for good: end the process, with words, when it tries what it may not.

    Reading elsewhere than below `readable` raises PermissionError: libraries look in many places for what may be there.
    """
    roots = [os.path.realpath(path) for path in readable]

    def hook(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, mode, flags = arguments
            if isinstance(path, str | bytes | os.PathLike):
                name = os.fsdecode(path)
                if writes(mode, flags) and name != os.devnull:
                    end(f"tried to write to the disk (open {name})")
                elif not below(name, roots):
                    raise PermissionError(f"it may not read {name}")
        elif meaning := meant(event):
            end(f"tried to {meaning} ({event}{said(arguments)})")

    sys.addaudithook(hook)


def meant(event: str) -> str | None:
    for events, meaning in MEANING:
        if event.startswith(events):
            return meaning
    return None


def said(arguments: tuple[Any, ...]) -> str:
    """The texts among an event's arguments: paths, hosts, names."""
    return "".join(f" {each}" for each in arguments if isinstance(each, str))


def writes(mode: object, flags: object) -> bool:
    if isinstance(mode, str):
        return bool(set(mode) & set("wax+"))
    return isinstance(flags, int) and bool(flags & WRITING)


def below(name: str, roots: Sequence[str]) -> bool:
    path = os.path.realpath(name)
    return any(path == root or path.startswith(root.rstrip("/") + "/") for root in roots)
