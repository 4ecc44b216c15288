"""Reading the files that an operator names: local, or gs:// objects."""

from __future__ import annotations

from apache_beam.io.filesystem import BeamIOError
from apache_beam.io.filesystems import FileSystems


class FileUnreadableError(OSError):
    """The file cannot be read; the message says the mend."""


def read_operator_file(path: str, what: str, option: str, otherwise: str, max_bytes: int) -> str:
    """Text of the file, of which nothing is read past one byte more than `max_bytes`.

    `what` the file is, the `option` that names it, and what leaving the option out means (`otherwise`)
    are for the message. Raises FileUnreadableError.
    """
    try:
        with FileSystems.open(path) as file:
            content: bytes = file.read(max_bytes + 1)
    except (OSError, BeamIOError, ValueError) as error:
        raise FileUnreadableError(
            f"The {what} {path} cannot be read ({type(error).__name__}): "
            f"check the path and the permissions, or leave {option} out for {otherwise}."
        ) from error
    # Bytes that are no UTF-8 become U+FFFD: they harm at most the entry that they stand in.
    return content.decode("utf-8", "replace")
