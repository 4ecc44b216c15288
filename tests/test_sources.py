"""Files as people have them: compressed, broken off, printed over many lines, in other encodings."""

from __future__ import annotations

import bz2
import gzip
import io
import json
from pathlib import Path

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from pipeline import log_files
from pipeline.log_files import EntryReader, InputError
from pipeline.sources import READ_PROGRESS, match_files, open_file

LIMIT = 1_000
LINES = [
    json.dumps({"textPayload": f'line {n} "quoted" {{[\\', "n": [n, {"a": []}]}).encode() for n in range(500)
]
TEXT = b"\n".join(LINES) + b"\n"

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)
OBJECTS = st.lists(st.dictionaries(st.text(), VALUES, max_size=4), max_size=6)


def read(content: bytes, limit: int = LIMIT) -> tuple[list[bytes], str]:
    reader = EntryReader(io.BufferedReader(io.BytesIO(content)), limit)
    return [entry for batch in reader.batches() for entry in batch], reader.damage


class Pieces(io.RawIOBase):
    """A stream that gives one byte after the other, as slow pipes do."""

    def __init__(self, content: bytes) -> None:
        self._content = io.BytesIO(content)

    def read(self, size: int = -1) -> bytes:
        return self._content.read(1)


class Endless(io.RawIOBase):
    """`head`, then `size` bytes of `filler`, made as they are read."""

    def __init__(self, head: bytes, filler: bytes, size: int) -> None:
        self._head, self._filler, self._left = head, filler, size

    def read(self, size: int = -1) -> bytes:
        if self._head:
            head, self._head = self._head, b""
            return head
        size = min(size, self._left)
        self._left -= size
        return self._filler * (size // len(self._filler))


@pytest.mark.parametrize(
    "pack",
    [bytes, gzip.compress, bz2.compress, zstandard.compress],
    ids=["plain", "gzip", "bzip2", "zstd"],
)
def test_a_file_is_unpacked_by_its_content_whatever_its_name(pack: object) -> None:
    """Every compression gives the same lines, and packed files can be put one after the other."""
    packed = pack(TEXT)  # type: ignore[operator]
    assert read(packed) == (LINES, "")
    assert read(packed + packed) == (LINES + LINES, "")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, zstandard.compress])
def test_a_compressed_file_that_breaks_off_is_reported(pack: object) -> None:
    """A missing end is said, never taken for the end of the file."""
    _, damage = read(pack(TEXT)[:-1])  # type: ignore[operator]
    assert damage


def test_what_comes_before_the_damage_is_read() -> None:
    """A gzip file that was still being written gives the lines that are there."""
    lines = [b'{"n": "%064x"}' % (n * 7**80 % 2**256) for n in range(20_000)]
    packed = gzip.compress(b"\n".join(lines))
    found, damage = read(packed[: len(packed) // 2])
    assert damage
    assert len(found) > 5_000
    assert found[:-1] == lines[: len(found) - 1]


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b"", []),
        (b"\n\r\n  \n\t\n", []),
        (gzip.compress(b"", mtime=0), []),
        (TEXT.replace(b"\n", b"\r\n"), LINES),
        (b"\xef\xbb\xbf" + TEXT, LINES),
        (TEXT.decode().encode("utf-16"), LINES),
        (b"\xfe\xff" + TEXT.decode().encode("utf-16-be"), LINES),
        (b"\xff\xfe" + TEXT.decode().encode("utf-16-le")[:-5], [*LINES[:-1], LINES[-1][:-2] + "�".encode()]),
        (TEXT.rstrip(b"\n"), LINES),
        (b'{"a": "\x00"}\n', [b'{"a": "\x00"}']),
        (
            b"[2026-01-12] a text log\n[2026-01-12] goes on\n",
            [b"[2026-01-12] a text log", b"[2026-01-12] goes on"],
        ),
        (b'{"cut": \n{"whole": 1}\n', [b'{"cut": ', b'{"whole": 1}']),
    ],
)
def test_lines_are_read_in_every_common_dress(content: bytes, expected: list[bytes]) -> None:
    """Line ends, byte order marks, UTF-16 and blank lines leave the entries as they are."""
    found, damage = read(content)
    assert not damage
    assert found == expected


@given(OBJECTS.filter(bool), st.sampled_from([None, 1, 2]), st.booleans())
def test_printed_json_gives_each_object(
    objects: list[dict[str, object]], indent: int | None, array: bool
) -> None:
    """An array, or objects over several lines, in any layout and cut at any byte, gives every object once."""
    content = (
        json.dumps(objects, indent=indent) if array else "\n".join(json.dumps(o, indent=2) for o in objects)
    )
    if not array and objects[0] == {}:
        content = "{\n}\n" + content[2:]
    for stream in (io.BytesIO(content.encode()), Pieces(content.encode())):
        entries = [
            entry
            for batch in log_files.split_objects(iter(lambda s=stream: s.read(1 << 16), b""), 1 << 20)
            for entry in batch
        ]
        assert [json.loads(entry) for entry in entries] == objects


def test_an_array_as_gcloud_prints_it_is_read() -> None:
    """The output of gcloud logging read --format json needs no jq, and two of them may follow each other."""
    objects = [json.loads(line) for line in LINES]
    printed = json.dumps(objects, indent=2).encode()
    assert [json.loads(entry) for entry in read(printed + b"\n" + printed)[0]] == objects * 2


ANSWERS = st.lists(st.tuples(OBJECTS, st.booleans()), min_size=1, max_size=3)


@given(ANSWERS, st.sampled_from([None, 2]))
def test_answers_of_the_api_give_what_is_in_their_list(
    answers: list[tuple[list[dict[str, object]], bool]], indent: int | None
) -> None:
    """Pages after each other, in any layout, cut at any byte; what stands around the list is no entry."""
    pages = []
    for objects, is_list_first in answers:
        around = {"nextPageToken": "a]}\\", "executionErrors": [{"code": [3]}]}
        wrapped = {"timeSeries": objects}
        pages.append(
            json.dumps({**wrapped, **around} if is_list_first else {**around, **wrapped}, indent=indent)
        )
    content = "\n".join(pages).encode()
    expected = [found for objects, _ in answers for found in objects]
    for stream in (io.BytesIO(content), Pieces(content)):
        blocks = iter(lambda s=stream: s.read(1 << 16), b"")
        found = [
            json.loads(entry)
            for batch in log_files.split_objects(blocks, 1 << 20, b"timeSeries")
            for entry in batch
        ]
        assert found == expected


def test_an_answer_larger_than_an_entry_may_be_is_read() -> None:
    """The limit is that of one series, not that of a page with all of them."""
    objects = [{"number": number, "points": [{"timeSeries": [number]}]} for number in range(50_000)]
    content = json.dumps({"timeSeries": objects, "unit": "1"}).encode()
    assert len(content) > 1 << 20
    reader = EntryReader(io.BufferedReader(io.BytesIO(content)), LIMIT, "timeSeries")  # type: ignore[arg-type]
    entries = [entry for batch in reader.batches() for entry in batch]
    assert [json.loads(entry) for entry in entries] == objects


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (b'{"timeSeries": [{"a": 1}, 7, {"b": "cut', [b'{"a": 1}', b"7", b'{"b": "cut']),
        (b'{"timeSeries": [{"a": 1}], "next', [b'{"a": 1}']),
        (b'{"timeSeries": []}', []),
        (b'{"timeSeries": [{"a": 1}]}\nstray', [b'{"a": 1}', b"stray"]),
        (b'{"timeSeries": {"a": 1}}', [b'{"timeSeries": {"a": 1}}']),
        (b'{"points": [{"timeSeries": [1]}]}', [b'{"points": [{"timeSeries": [1]}]}']),
    ],
)
def test_an_answer_that_is_cut_or_odd_loses_no_entry(content: bytes, expected: list[bytes]) -> None:
    """What is cut or stands between the series is handed on, for Parse to refuse."""
    reader = EntryReader(io.BufferedReader(io.BytesIO(content)), LIMIT, "timeSeries")  # type: ignore[arg-type]
    assert [entry for batch in reader.batches() for entry in batch] == expected


def test_what_is_no_object_in_an_array_stays_an_entry() -> None:
    """Strays between the objects and a cut end are handed on, for Parse to count as dead letters."""
    assert read(b'[{"a": 1}, 7, {"b": 2}, {"c": "cut')[0] == [b'{"a": 1}', b"7", b'{"b": 2}', b'{"c": "cut']


@pytest.mark.parametrize("head", [b'{"a":"', b'[{"a":"', b'[{"a":"\\', b"[{", b'[{} , "'])
@pytest.mark.parametrize("filler", [b"x", b"\\n", b'\\"', b"[", b","])
def test_an_endless_entry_is_cut(head: bytes, filler: bytes) -> None:
    """No entry is longer than the limit and one byte, however it is shaped."""
    reader = EntryReader(Endless(head, filler, 2 << 20), LIMIT)  # type: ignore[arg-type]
    sizes = [len(entry) for batch in reader.batches() for entry in batch]
    assert sizes
    assert max(sizes) <= LIMIT + 1


def test_batches_stay_small(monkeypatch: pytest.MonkeyPatch) -> None:
    """A batch has no more than its number of entries, and all entries come out in order."""
    monkeypatch.setattr(log_files, "ENTRIES_PER_BATCH", 64)
    batches = list(EntryReader(io.BytesIO(TEXT), LIMIT).batches())
    assert max(map(len, batches)) == 64
    assert sum(batches, []) == LINES  # noqa: RUF017


@pytest.mark.parametrize(
    ("content", "name"),
    [
        (b"PK\x03\x04rest", "zip"),
        (b"\xfd7zXZ\x00", "xz"),
        (b"PAR1", "Parquet"),
        (b"Obj\x01", "Avro"),
        (gzip.compress(b"x" * 257 + b"ustar", mtime=0), "tar"),
    ],
)
def test_archives_are_refused_by_name(content: bytes, name: str) -> None:
    """What cannot hold lines is named, rather than made thousands of dead letters."""
    with pytest.raises(InputError, match=name):
        read(content)


def test_a_file_counts_once_however_it_is_named(tmp_path: Path) -> None:
    """Globs, links and repetitions that lead to one file give it once."""
    path = tmp_path / "a.json"
    path.write_bytes(TEXT)
    (tmp_path / "link.json").symlink_to(path)
    assert len(match_files([str(path), str(tmp_path / "*.json"), f"{tmp_path}/./a.json", "-", "-"])) == 2


def test_patterns_that_name_no_file_are_refused(tmp_path: Path) -> None:
    """Missing files, empty globs and folders are errors that name the pattern; a glob passes over folders."""
    (tmp_path / "folder").mkdir()
    for pattern, cause in [("nope", "no such file"), ("*.gz", "no such file"), ("folder", "is a folder")]:
        with pytest.raises(InputError, match=cause) as raised:
            match_files([str(tmp_path / pattern)])
        assert pattern in str(raised.value)
    (tmp_path / "a").write_bytes(TEXT)
    assert match_files([f"{tmp_path}/*"]) == [str(tmp_path / "a")]


def test_a_file_that_cannot_be_opened_is_an_input_error(tmp_path: Path) -> None:
    """The cause is the system's; no traceback of the file system is needed to see it."""
    with pytest.raises(InputError, match="No such file"), open_file(str(tmp_path / "gone")):
        pass


def test_progress_counts_entries() -> None:
    """Progress adds up lines and bytes."""
    lines, size = READ_PROGRESS.lines, READ_PROGRESS.size
    READ_PROGRESS.add(2, 30)
    assert (READ_PROGRESS.lines - lines, READ_PROGRESS.size - size) == (2, 30)
