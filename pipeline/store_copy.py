"""A look at a store that another process writes: DuckDB lets nobody else open it, so a copy is opened.

The files are copied as they would be found after a crash at this moment, which DuckDB can open: its main
file changes at a checkpoint alone, and what came after that stands in a log that only grows. A copy in
whose making a checkpoint fell is thrown away. The process that writes is not asked, and does not wait.
"""

from __future__ import annotations

import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from pipeline.duckdb_store import DuckDBStore, StoreBusyError, StoreError

_ATTEMPTS: Final = 20
_PAUSE_SECONDS: Final = 0.1
"""More than the clocks of file systems miss."""


@contextmanager
def open_copy_of(busy: StoreBusyError) -> Iterator[DuckDBStore]:
    """A copy of the store, gone afterwards. Raises `busy` where none can be had, and StoreError."""
    with (
        tempfile.TemporaryDirectory(prefix="aiops-") as folder,
        _opened(Path(busy.path), Path(folder), busy) as store,
    ):
        yield store


def _opened(path: Path, folder: Path, busy: StoreBusyError) -> DuckDBStore:
    for _ in range(_ATTEMPTS):
        try:
            before = _stamp(path)
            if time.time_ns() - before[0] > _PAUSE_SECONDS * 1e9:
                copy = _copy_files(path, folder)
                if _stamp(path) == before:
                    return DuckDBStore(str(copy))
        except FileNotFoundError:
            pass  # the log went away: that is a checkpoint
        except OSError as error:
            raise StoreError(f"{busy} A copy to look at could not be made ({error.strerror}).") from error
        time.sleep(_PAUSE_SECONDS)
    raise busy


def _stamp(path: Path) -> tuple[int, int]:
    stat = path.stat()
    return stat.st_mtime_ns, stat.st_size


def _copy_files(path: Path, folder: Path) -> Path:
    """The main file first: what is added to the log meanwhile is only more of it."""
    for old in folder.iterdir():
        old.unlink()
    for source in (path, *path.parent.glob(f"{path.name}.wal*")):
        shutil.copyfile(source, folder / source.name)
    return folder / path.name
