"""The Observatory Data Archive in a directory: blocks out, SBIs and status in (adapters layer).

Layout of the ODA's own filesystem back end (`contracts/scheduling-block.md`):
`<directory>/<entity>/<id>/<version>.json`, the greatest version being current; a plain folder of
block files is read too. The status of an SBI, which that layout has no place for, is kept beside it
as `<directory>/sbi_status_history/<sbi_id>/<n>.json`, in the shape of the ODA's status records.
"""

from __future__ import annotations

import errno
import json
import os
import re
import secrets
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ska_oso_activity.adapters.pdm import MAX_DEPTH, metadata_version
from ska_oso_activity.adapters.script_source import (
    FileTooLarge,
    NotARegularFile,
    OutsideRoots,
    Roots,
)
from ska_oso_activity.application.ports import FetchedBlock, SchedulingBlockInstance
from ska_oso_activity.domain import strict_json
from ska_oso_activity.domain.errors import (
    OdaUnavailable,
    SchedulingBlockInvalid,
    SchedulingBlockNotFound,
)
from ska_oso_activity.domain.scheduling_block import BLOCK_LIMIT, SBD_ID, BlockReference
from ska_oso_activity.domain.times import utc_now

SBI_INTERFACE = "https://schema.skao.int/ska-oso-pdm-sbi/0.1"
WRITTEN_BY = "ska-oso-activity"
FIRST_AFTER_CREATED = 2
"""Number of the status in an SBI's history with which the SBI itself is synced."""
LAST_STATUSES = frozenset({"Observed", "Failed"})
"""Those that must not be lost, as nothing follows them."""
_VERSION_FILE = re.compile(r"\.?([1-9][0-9]{0,8})\.json\Z")


@dataclass(frozen=True)
class _Indexed:
    """What a file of a plain folder held when it was last read.

    Attributes:
        stamp: time of change, size and inode; while they stay, so does the content.
        readable: a block with an id; of any other file the name stands for the id, so that asking
            for it tells what is wrong with it.
    """

    stamp: tuple[int, int, int]
    sbd_id: str
    readable: bool = False
    version: int = 1
    telescope: Any = None


class FilesystemOda:
    """Implements `ports.Archive` on a directory that is the site's, or a plain folder of blocks."""

    def __init__(self, directory: Path, block_roots: Sequence[Path] = ()) -> None:
        """An archive in `directory`.

        Args:
            block_roots: directories beneath which `file://` references may name blocks.

        Raises:
            ValueError: a block root is not an absolute path.
        """
        self._directory = directory.absolute()
        self._archive = Roots([self._directory])
        self._files = Roots(block_roots)
        self._index: dict[str, _Indexed] = {}
        self._index_lock = threading.Lock()
        self._last_written: dict[str, tuple[int, str]] = {}
        """Number and status by SBI, of those that we wrote and that have not come to their end."""

    def allows(self, reference: BlockReference) -> bool:
        """Whether a reference may be followed: a file must lie beneath the block roots."""
        return reference.path is None or self.allows_file(reference.path)

    def allows_file(self, path: str) -> bool:
        """Whether a block may be read from the file at `path`."""
        return self._files.covers(path)

    def fetch(self, reference: BlockReference) -> FetchedBlock:
        """The text of a block, as its bytes decode; see `ports.Archive`."""
        if reference.path is not None:
            return FetchedBlock(self._read(self._files, Path(reference.path), reference), None)
        if reference.sbd_id is None:
            raise SchedulingBlockNotFound(f"{reference} names no block of the archive")
        path, version = self._find(reference.sbd_id, reference)
        return FetchedBlock(self._read(self._archive, path, reference), version)

    def create_sbi(self, instance: SchedulingBlockInstance) -> str:
        """Mint an id that was never used, and write version 1 and status Created.

        They are there for every reader when this returns, and on disk, whatever happens to the
        machine, with the next status: `main` waits for this, and need not wait for the disk.
        """
        with _writing("the Scheduling Block Instance"):
            sbi_id, directory = self._new_sbi()
            try:
                _write(directory, 1, _sbi(sbi_id, instance), durable=False)
                history = self._history(sbi_id)
                _make_directory(history)
                _write(history, 1, _status(sbi_id, "Created", "Created"), durable=False)
                self._last_written[sbi_id] = 1, "Created"
            except BaseException:
                # Nothing says that this one exists, so nothing of it may stay.
                _remove(directory, self._history(sbi_id))
                raise
        return sbi_id

    def update_sbi_status(self, sbi_id: str, status: str) -> None:
        """Append a status to the SBI's history; see `ports.Archive`."""
        if not SBD_ID.match(sbi_id):
            raise OdaUnavailable(f"{sbi_id!r:.150} is not the id of an SBI")
        with _writing(f"status {status} of {sbi_id}"):
            self._append_status(sbi_id, status)

    def check(self) -> None:
        """Raise OdaUnavailable if the directory cannot be read and written."""
        self._listing(self._directory)
        if not os.access(self._directory, os.W_OK | os.X_OK):
            raise OdaUnavailable("the archive's directory may not be written")

    # --- Reading

    def _find(self, sbd_id: str, reference: BlockReference) -> tuple[Path, int]:
        """The file and version of a block: the version asked for, or the greatest."""
        names = self._listing(self._directory)
        found = self._versions(sbd_id) if "sbd" in names else {}
        if not found:
            found = self._versions_in_folder(sbd_id, names)
        if not found:
            raise SchedulingBlockNotFound(f"the archive has no Scheduling Block {sbd_id}")
        version = max(found) if reference.version is None else reference.version
        if version not in found:
            known = ", ".join(map(str, sorted(found)[-10:]))
            raise SchedulingBlockNotFound(
                f"the archive has no version {version} of Scheduling Block {sbd_id}: it has {known}"
            )
        return found[version], version

    def _versions(self, sbd_id: str) -> dict[int, Path]:
        directory = self._directory / "sbd" / sbd_id
        try:
            names = self._listing(directory)
        except OdaUnavailable as error:
            if isinstance(error.__cause__, (FileNotFoundError, NotADirectoryError)):
                return {}
            raise
        return {
            int(match[1]): directory / name
            for name in names
            if not name.startswith(".") and (match := _VERSION_FILE.match(name))
        }

    def _versions_in_folder(self, sbd_id: str, names: list[str]) -> dict[int, Path]:
        """The same for a plain folder, whose files are known by what they hold."""
        with self._index_lock:
            self._refresh_index([name for name in names if name.endswith(".json")])
            hits = [(name, it) for name, it in sorted(self._index.items()) if it.sbd_id == sbd_id]
        if any(indexed.readable for _, indexed in hits):
            hits = [(name, indexed) for name, indexed in hits if indexed.readable]
        found: dict[int, Path] = {}
        telescopes: dict[int, Any] = {}
        for name, indexed in hits:
            # Two files of one version: the last by name is meant, as with releases in the name;
            # but no guess is made about which telescope to move.
            telescope = telescopes.setdefault(indexed.version, indexed.telescope)
            if telescope != indexed.telescope:
                raise SchedulingBlockInvalid(
                    f"the archive has Scheduling Block {sbd_id} version {indexed.version} twice, "
                    "for different telescopes: one of them must go"
                )
            found[indexed.version] = self._directory / name
        return found

    def _refresh_index(self, names: list[str]) -> None:
        """Read the files that are new or changed since the last time, and forget those gone."""
        index: dict[str, _Indexed] = {}
        for name in names:
            path = self._directory / name
            try:
                found = path.stat()
            except OSError:
                continue
            stamp = (found.st_mtime_ns, found.st_size, found.st_ino)
            known = self._index.get(name)
            index[name] = known if known and known.stamp == stamp else self._indexed(path, stamp)
        self._index = index

    def _indexed(self, path: Path, stamp: tuple[int, int, int]) -> _Indexed:
        """What one file holds."""
        try:
            text = self._archive.read(path, BLOCK_LIMIT).decode("utf-8")
            document = strict_json.loads(text, limit=BLOCK_LIMIT, max_depth=MAX_DEPTH)
        except (OSError, OutsideRoots, ValueError):
            return _Indexed(stamp, path.stem)
        if not isinstance(document, dict) or not isinstance(document.get("sbd_id"), str):
            return _Indexed(stamp, path.stem)
        return _Indexed(
            stamp,
            document["sbd_id"],
            readable=True,
            version=metadata_version(document) or 1,
            telescope=document.get("telescope"),
        )

    def _listing(self, directory: Path) -> list[str]:
        try:
            return [entry.name for entry in directory.iterdir()]
        except OSError as error:
            raise OdaUnavailable(f"the archive cannot be read: {error.strerror}") from error

    def _read(self, roots: Roots, path: Path, reference: BlockReference) -> str:
        """A file's text; its bytes come back when it is encoded again."""
        try:
            return roots.read(path, BLOCK_LIMIT).decode("utf-8")
        except (OutsideRoots, FileNotFoundError, NotADirectoryError) as error:
            # The same text for both: it tells nobody what lies outside.
            raise SchedulingBlockNotFound(f"there is no Scheduling Block {reference}") from error
        except NotARegularFile as error:
            raise SchedulingBlockInvalid(f"{reference} is not a regular file") from error
        except FileTooLarge as error:
            raise SchedulingBlockInvalid(
                f"Scheduling Block {reference} is larger than {BLOCK_LIMIT} bytes"
            ) from error
        except UnicodeError as error:
            raise SchedulingBlockInvalid(
                f"Scheduling Block {reference} is not UTF-8 text"
            ) from error
        except OSError as error:
            raise OdaUnavailable(
                f"Scheduling Block {reference} cannot be read: {error.strerror}"
            ) from error

    # --- Writing

    def _new_sbi(self) -> tuple[str, Path]:
        """An id that nobody has, and its directory, whose creation settles that."""
        while True:
            day = utc_now()[:10].replace("-", "")
            sbi_id = f"sbi-local-{day}-{secrets.randbelow(10**15):015d}"
            directory = self._directory / "sbi" / sbi_id
            with suppress(FileExistsError):
                _make_directory(directory)
                return sbi_id, directory

    def _history(self, sbi_id: str) -> Path:
        return self._directory / "sbi_status_history" / sbi_id

    def _append_status(self, sbi_id: str, status: str) -> None:
        directory = self._history(sbi_id)
        last = self._last_written.pop(sbi_id, None)
        while True:
            number, previous = last or self._look_up_last(directory, status)
            record = _status(sbi_id, status, previous)
            with suppress(FileExistsError):  # somebody else's; look again
                _write(directory, number + 1, record, durable=status in LAST_STATUSES)
                break
            last = None
        if status not in LAST_STATUSES:
            self._last_written[sbi_id] = number + 1, status
        if number + 1 == FIRST_AFTER_CREATED:
            self._sync_sbi(sbi_id)

    def _sync_sbi(self, sbi_id: str) -> None:
        directory = self._directory / "sbi" / sbi_id
        with suppress(FileNotFoundError):  # the site's to move
            for path in (directory / "1.json", directory, directory.parent):
                _sync(path)

    def _look_up_last(self, directory: Path, status: str) -> tuple[int, str]:
        """Number of the last status in a history, and the last that can be read, else `status`."""
        with suppress(FileExistsError):
            _make_directory(directory)
        matches = map(_VERSION_FILE.match, os.listdir(directory))  # noqa: PTH208
        number = max((int(match[1]) for match in matches if match), default=0)
        for earlier in range(number, 0, -1):
            with suppress(OSError, ValueError, KeyError, TypeError):
                record = json.loads((directory / f"{earlier}.json").read_bytes())
                return number, str(record["current_status"])
        return number, status


def _sbi(sbi_id: str, instance: SchedulingBlockInstance) -> dict[str, Any]:
    """An SBI as PDM has it; `eb_ref` is the script's to add."""
    now = utc_now()
    return {
        "interface": SBI_INTERFACE,
        "sbi_id": sbi_id,
        "metadata": {"version": 1, **_written(now)},
        "telescope": instance.telescope,
        "sbd_ref": instance.sbd_id,
        "sbd_version": instance.sbd_version,
        "subarray_id": instance.subarray_id,
        "activities": [
            {
                "activity_ref": instance.activity_name,
                "executed_at": instance.executed_at,
                "runtime_args": [
                    {"function_name": name, "function_args": given.to_json()}
                    for name, given in instance.runtime_args.items()
                ],
            }
        ],
    }


def _status(sbi_id: str, status: str, previous: str) -> dict[str, Any]:
    """One record of a status history; the first one's previous status is its own."""
    return {
        "current_status": status,
        "sbi_ref": sbi_id,
        "sbi_version": 1,
        "metadata": _written(utc_now()),
        "previous_status": previous,
    }


def _written(now: str) -> dict[str, str]:
    return {
        "created_by": WRITTEN_BY,
        "created_on": now,
        "last_modified_by": WRITTEN_BY,
        "last_modified_on": now,
    }


@contextmanager
def _writing(what: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise OdaUnavailable(
            f"the archive did not take {what}: {error.strerror or type(error).__name__}"
        ) from error


def _write(directory: Path, number: int, record: dict[str, Any], *, durable: bool) -> None:
    """Write a numbered file that appears whole or not at all.

    Whoever creates the hidden file holds the number; seeing then no finished one, it is theirs
    alone.

    Args:
        durable: it is on disk when this returns.

    Raises:
        FileExistsError: somebody writes, or wrote, that number.
        OSError: it could not be written; nothing is left.
    """
    temporary, path = f"{directory}/.{number}.json", f"{directory}/{number}.json"
    text = json.dumps(record, indent=2).encode("ascii")
    with open(temporary, "xb", buffering=0) as file:  # noqa: PTH123
        try:
            if os.path.exists(path):  # noqa: PTH110
                raise FileExistsError(path)  # noqa: TRY301 - the hidden file goes either way
            written = file.write(text)
            if written != len(text):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))  # noqa: TRY301 - likewise
            if durable:
                os.fsync(file.fileno())
            os.rename(temporary, path)  # noqa: PTH104
        except BaseException:
            os.unlink(temporary)  # noqa: PTH108
            raise
    if durable:
        _sync(directory)


def _make_directory(directory: Path) -> None:
    """Make a directory, and the one it lies in if need be.

    Raises:
        FileExistsError: it is there.
    """
    try:
        directory.mkdir()
    except FileNotFoundError:
        directory.parent.mkdir(exist_ok=True)
        directory.mkdir()


def _sync(path: Path) -> None:
    """Bring a file's content, or a directory's names, to the disk."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(*directories: Path) -> None:
    for directory in directories:
        with suppress(OSError):
            for path in directory.iterdir():
                path.unlink()
            directory.rmdir()
