"""Where delivered files lie: local paths and any URL that fsspec knows, with no secret ever shown."""

import os
import re
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import Any, Final, NamedTuple

from tasks.domain.errors import DataRefused, UsageError
from tasks.sources.delivery import one_line, suffix_of

USER: Final = re.compile(r"//[^/@\s]*@")
GLOB: Final = re.compile(r"[*?\[]")
QUERY: Final = re.compile(r"(://[^\s?]*)\?[^\s'\")]*")
BLOCK: Final = 1 << 22


class Place(NamedTuple):
    """One file: `shown` is for people, `path` is the file system's own name, `suffix` its ending in small letters."""

    files: Any
    path: str
    shown: str
    suffix: str

    @property
    def stem(self) -> str:
        return PurePosixPath(self.shown).stem


def redact(text: str) -> str:
    """Text without the users, passwords and tokens that URLs in it may hold, and without line breaks."""
    return QUERY.sub(r"\1?***", USER.sub("//***@", " ".join(text.split())))


def find(location: str, kinds: tuple[str, ...]) -> list[Place]:
    """The files at a location (a file, a folder with all below it, or a glob), in the order of their names.

    In folders and globs, names that start with a dot or an underscore are passed over, as writers of data leave
    marks and drafts under such names. Any other file must be of one of `kinds`, so that nothing is lost silently.

    Raises:
        UsageError: nothing there, no permission, an unknown kind, or a URL that no installed package can open.
    """
    shown = redact(location)
    if "\0" in location:
        raise UsageError(f"{shown!r}: is no path; it holds a null character")
    try:
        files, path = file_system(location)
        paths, root = listed(files, path, location)
    except FileNotFoundError:
        paths, root = [], None
    except Exception as fault:
        # Any file system may be behind a URL, each with faults of its own classes.
        raise UsageError(f"{shown}: cannot be read ({reason(fault)}); give an existing file or folder") from fault
    many = root is not None
    if root is None:
        places = [Place(files, path, shown, suffix_of(location)) for path in paths]
    else:
        places = below(files, paths, root, fixed_folder(shown) if root != path.rstrip("/") + "/" else shown)
    if not places:
        said = f"holds no file that ends in {' or '.join(kinds)}" if many else "cannot be read (no such file or folder)"
        raise UsageError(f"{shown}: {said}; give an existing {kinds[0]} file, a folder or a glob")
    for place in places:
        if place.suffix not in kinds:
            raise UsageError(
                f"{place.shown}: kind {place.suffix or 'without ending'} is unknown; give {listing(kinds)}"
                + (", or a glob that leaves this file out" if many else "")
            )
    return places


def listing(kinds: tuple[str, ...]) -> str:
    return kinds[0] if len(kinds) == 1 else f"{', '.join(kinds[:-1])} or {kinds[-1]}"


def file_system(location: str) -> tuple[Any, str]:
    """The fsspec file system of a location and the path inside it."""
    from fsspec.core import url_to_fs

    try:
        return url_to_fs(location)  # type: ignore[no-any-return]
    except ImportError:
        if location.startswith("s3://"):
            return object_store(), location.removeprefix("s3://")
        raise


def object_store() -> Any:
    """S3 through pyarrow, so that it needs no further package; configured by the usual AWS_ variables."""
    from fsspec.implementations.arrow import ArrowFSWrapper
    from pyarrow.fs import S3FileSystem

    endpoint = os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL")
    scheme, _, host = endpoint.rpartition("://") if endpoint else ("", "", "")
    region = os.environ.get("AWS_REGION") or os.environ.get("AWS_DEFAULT_REGION")
    return ArrowFSWrapper(S3FileSystem(endpoint_override=host or None, scheme=scheme or None, region=region))


def listed(files: Any, path: str, location: str) -> tuple[list[str], str | None]:
    """Paths of the files at a path, and the folder that they are below where the path stands for many."""
    if location.startswith(("http://", "https://")) or files.isfile(path):
        return [path], None
    if files.isdir(path):
        return files.find(path), path.rstrip("/") + "/"
    if GLOB.search(path):
        return [name for name in files.glob(path) if files.isfile(name)], fixed_folder(path)
    return [], None


def fixed_folder(glob: str) -> str:
    """The part of a glob before the first folder that has a wildcard, with the slash at its end."""
    head = GLOB.split(glob, maxsplit=1)[0]
    return head[: head.rfind("/") + 1]


def below(files: Any, paths: list[str], root: str, shown: str) -> list[Place]:
    """Files below a folder, each named as people would who call the folder `shown`; hidden ones left out."""
    start = shown if not shown or shown.endswith("/") else shown + "/"
    inside = {path.removeprefix(root): path for path in sorted(paths)}
    return [
        Place(files, path, redact(start + name), suffix_of(name))
        for name, path in inside.items()
        if not any(piece.startswith((".", "_")) for piece in name.split("/"))
    ]


@contextmanager
def local(place: Place) -> Iterator[Path]:
    """The file on this machine while the block runs: itself where it is local, or else a copy that goes afterwards.

    Raises:
        UsageError: it can't be read.
        DataRefused: it changed while it was read.
    """
    if "file" in as_names(place.files.protocol):
        path = Path(place.path)
        before = state(path, place.shown)
        yield path
        if state(path, place.shown) != before:
            raise DataRefused(f"{place.shown}: changed while it was read; deliver it again when it is complete")
        return
    with tempfile.TemporaryDirectory(prefix="delivery-") as folder:
        copy = Path(folder) / f"copy{place.suffix}"
        try:
            with place.files.open(place.path, "rb") as remote, copy.open("wb") as file:
                shutil.copyfileobj(remote, file, BLOCK)
        except Exception as fault:
            raise UsageError(f"{place.shown}: cannot be read ({reason(fault)}); give an existing file") from fault
        yield copy


def as_names(protocol: str | tuple[str, ...]) -> tuple[str, ...]:
    return (protocol,) if isinstance(protocol, str) else protocol


def state(path: Path, shown: str) -> tuple[int, int]:
    try:
        with path.open("rb"):
            found = path.stat()
    except OSError as fault:
        raise UsageError(f"{shown}: cannot be read ({reason(fault)}); give an existing file") from None
    return found.st_size, found.st_mtime_ns


def reason(fault: BaseException) -> str:
    """Why something can't be read, without secrets; of a fault of the operating system only its plain words."""
    if isinstance(fault, OSError) and fault.strerror:
        return fault.strerror
    return redact(one_line(fault))
