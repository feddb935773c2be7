"""The walls round a model's process, put up by the kernel: what it gives up for good, before it runs the model.

Linux only, no privilege needed, nothing installed: Landlock (files, TCP), a seccomp filter (sockets, programs, other
processes), resource limits, and no capabilities. What a kernel lacks is left out, and `put_up` says what there is.
"""

import ctypes
import os
import platform
import resource
import signal
import struct
import sys
from collections.abc import Iterable
from pathlib import Path

GIB = 1 << 30
# What a panel of 500 names over ten years takes with 158 features, three times over.
MEMORY_BYTES = 12 * GIB
# Files that it holds open before it starts go on being written (its last words); none may grow beyond this.
FILE_BYTES = 1 << 20
OPEN_FILES = 512

SYSTEM = (
    "/usr/lib", "/usr/lib64", "/usr/local/lib", "/usr/local/lib64", "/lib", "/lib64", "/nix/store",
    "/usr/share/zoneinfo", "/etc/ld.so.cache", "/etc/localtime", "/proc/self", "/proc/cpuinfo", "/proc/meminfo",
    "/sys/devices/system", "/dev/null", "/dev/zero", "/dev/random", "/dev/urandom",
)  # fmt: skip

# linux/prctl.h, linux/landlock.h, linux/seccomp.h, linux/filter.h, linux/capability.h
PR_SET_PDEATHSIG, PR_SET_SECCOMP, PR_SET_NO_NEW_PRIVS = 1, 22, 38
CREATE_RULESET, ADD_RULE, RESTRICT_SELF = 444, 445, 446
ABI_ONLY = 1
PATH_BENEATH = 1
READ_FILE, READ_DIR, WRITE_FILE = 1 << 2, 1 << 3, 1 << 1
FILE_RIGHTS = {1: 13, 2: 14, 3: 15, 5: 16}  # from this version on: so many rights on files are known
TCP, SCOPES = 0b11, 0b11
SECCOMP_MODE_FILTER = 2
LOAD, EQUAL, AT_LEAST, ANY_BIT, RETURN = 0x20, 0x15, 0x35, 0x45, 0x06
ALLOW, KILL, REFUSE = 0x7FFF0000, 0x80000000, 0x00050000
CLONE_THREAD = 0x00010000
X32 = 0x40000000
EPERM, ENOSYS = 1, 38
CAPABILITY_VERSION = 0x20080522
NUMBER, ARCHITECTURE, ARGUMENT = 0, 4, 16  # offsets in struct seccomp_data

# Audit number and the column of the table below, by machine.
MACHINES = {"x86_64": (0xC000003E, 0), "aarch64": (0xC00000B7, 1)}
Numbers = dict[str, tuple[int | None, int | None]]
REFUSED: Numbers = {
    # the network
    "socket": (41, 198), "socketpair": (53, 199), "io_uring_setup": (425, 425),
    # other programs and processes
    "execve": (59, 221), "execveat": (322, 281), "fork": (57, None), "vfork": (58, None), "ptrace": (101, 117),
    "process_vm_readv": (310, 270), "process_vm_writev": (311, 271), "pidfd_getfd": (438, 438),
    "pidfd_send_signal": (424, 424), "tkill": (200, 130), "rt_sigqueueinfo": (129, 138),
    "rt_tgsigqueueinfo": (297, 240), "setpriority": (141, 140), "sched_setscheduler": (144, 119),
    "sched_setparam": (142, 118), "sched_setattr": (314, 274), "ioprio_set": (251, 30),
    # what Landlock leaves open about files
    "chmod": (90, None), "fchmod": (91, 52), "fchmodat": (268, 53), "fchmodat2": (452, 452), "chown": (92, None),
    "lchown": (94, None), "fchown": (93, 55), "fchownat": (260, 54), "utime": (132, None), "utimes": (235, None),
    "futimesat": (261, None), "utimensat": (280, 88), "truncate": (76, 45), "setxattr": (188, 5),
    "lsetxattr": (189, 6), "fsetxattr": (190, 7), "removexattr": (197, 14), "lremovexattr": (198, 15),
    "fremovexattr": (199, 16), "setxattrat": (463, 463), "removexattrat": (466, 466), "open_by_handle_at": (304, 265),
    # what outlives a process, and doors to more of the kernel
    "shmget": (29, 194), "msgget": (68, 186), "semget": (64, 190), "mq_open": (240, 180), "add_key": (248, 217),
    "request_key": (249, 218), "keyctl": (250, 219), "unshare": (272, 97), "setns": (308, 268), "bpf": (321, 280),
    "perf_event_open": (298, 241), "userfaultfd": (323, 282),
}  # fmt: skip
CLONE, CLONE3 = (56, 220), (435, 435)
KILLS = ((62, 129), (234, 131))  # kill, tgkill: a process may end itself
PRLIMIT = (302, 261)

libc = ctypes.CDLL(None, use_errno=True)


def put_up(readable: Iterable[Path]) -> list[str]:
    """Give up all but computing and reading below `readable` and the system's libraries; call it with one thread only.

    Returns what is in force, in words; what this kernel does not have is missing from it.
    """
    limit()
    if sys.platform != "linux":
        return ["resource limits"]
    die_with_parent()
    drop_capabilities()
    libc.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    return ["resource limits", *landlock(readable), *seccomp()]


def limit() -> None:
    """Memory, written files, open files and core dumps; and if the machine runs out of memory, this goes first."""
    for kind, most in (
        (resource.RLIMIT_AS, MEMORY_BYTES),
        (resource.RLIMIT_FSIZE, FILE_BYTES),
        (resource.RLIMIT_NOFILE, OPEN_FILES),
        (resource.RLIMIT_CORE, 0),
    ):
        hard = resource.getrlimit(kind)[1]
        most = most if hard == resource.RLIM_INFINITY else min(most, hard)
        resource.setrlimit(kind, (most, most))
    if (score := Path("/proc/self/oom_score_adj")).exists():
        score.write_text("1000")


def die_with_parent() -> None:
    parent = os.getppid()
    libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
    if os.getppid() != parent:
        os._exit(1)  # it went before it could be asked


def drop_capabilities() -> None:
    """Root is then a user like others: it can't raise its own limits."""
    header, none = struct.pack("Ii", CAPABILITY_VERSION, 0), bytes(24)
    if libc.capset(header, none):
        raise OSError(ctypes.get_errno(), "capset")


def landlock(readable: Iterable[Path]) -> list[str]:
    """Reading below these paths, writing to /dev/null only, no program started, no TCP; from Linux 5.13 on."""
    version = libc.syscall(CREATE_RULESET, None, 0, ABI_ONLY)
    if version < 1:
        return []
    files = (1 << max(count for since, count in FILE_RIGHTS.items() if since <= version)) - 1
    fields = (files, TCP, SCOPES)[: 1 + (version >= 4) + (version >= 6)]
    attributes = struct.pack(f"{len(fields)}Q", *fields)
    ruleset = libc.syscall(CREATE_RULESET, attributes, len(attributes), 0)
    for path in [*map(Path, SYSTEM), *readable]:
        if path.exists():
            allow(ruleset, path, READ_FILE | (READ_DIR if path.is_dir() else 0))
    allow(ruleset, Path(os.devnull), WRITE_FILE)
    if libc.syscall(RESTRICT_SELF, ruleset, 0):
        raise OSError(ctypes.get_errno(), "landlock_restrict_self")
    os.close(ruleset)
    return [f"Landlock {version}: files" + (", TCP" if version >= 4 else "") + (", signals" if version >= 6 else "")]


def allow(ruleset: int, path: Path, rights: int) -> None:
    descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
    rule = struct.pack("=Qi", rights, descriptor)
    if libc.syscall(ADD_RULE, ruleset, PATH_BENEATH, rule, 0):
        raise OSError(ctypes.get_errno(), f"landlock_add_rule {path}")
    os.close(descriptor)


def seccomp() -> list[str]:
    """System calls refused to all threads; they fail as if not permitted. Known for two machines."""
    if platform.machine() not in MACHINES or sys.maxsize < 2**32:
        return []
    program = b"".join(struct.pack("HBBI", *line) for line in lines(*MACHINES[platform.machine()]))
    content = ctypes.create_string_buffer(program, len(program))
    whole = struct.pack("HP", len(program) // 8, ctypes.addressof(content))
    if libc.prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, whole, 0, 0):
        return []  # a kernel without filters
    return ["seccomp: sockets, programs, processes, attributes of files"]


Line = tuple[int, int, int, int]  # code, lines to skip if true, lines to skip if false, operand


def lines(architecture: int, column: int) -> list[Line]:
    """The filter as BPF: another architecture's calls end the process, as their numbers mean other things."""
    refuse: Line = (RETURN, 0, 0, REFUSE | EPERM)
    allowed: Line = (RETURN, 0, 0, ALLOW)
    program: list[Line] = [
        (LOAD, 0, 0, ARCHITECTURE),
        (EQUAL, 1, 0, architecture),
        (RETURN, 0, 0, KILL),
        (LOAD, 0, 0, NUMBER),
        (AT_LEAST, 0, 1, X32),
        refuse,
    ]
    for numbers in REFUSED.values():
        if (number := numbers[column]) is not None:
            program += [(EQUAL, 0, 1, number), refuse]
    # Its flags are out of a filter's sight; told that there is no such call, the C library falls back to `clone`.
    program += [(EQUAL, 0, 1, CLONE3[column]), (RETURN, 0, 0, REFUSE | ENOSYS)]
    program += [(EQUAL, 0, 4, CLONE[column]), (LOAD, 0, 0, ARGUMENT), (ANY_BIT, 1, 0, CLONE_THREAD), refuse, allowed]
    for kill in KILLS:
        program += [(EQUAL, 0, 4, kill[column]), (LOAD, 0, 0, ARGUMENT), (EQUAL, 1, 0, os.getpid()), refuse, allowed]
    limits, low = PRLIMIT[column], ARGUMENT + 2 * 8  # limits may be read, not set: its third argument is null
    asked: list[Line] = [(LOAD, 0, 0, low), (EQUAL, 0, 2, 0), (LOAD, 0, 0, low + 4), (EQUAL, 1, 0, 0), refuse, allowed]
    return [*program, (EQUAL, 0, len(asked), limits), *asked, allowed]
