"""Shapes: what is masked in a line, and that nothing else matters."""

from __future__ import annotations

import re
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from transforms.elements import LogEntry
from transforms.patterns import shapes
from transforms.patterns.mask import mask_line
from transforms.patterns.shapes import MAX_SHAPE_CHARACTERS, ShapeMiner

MASKED = [
    ("cart 17 has 3 items", "cart <*> has <*> items"),
    ("balance -4.50 after +12", "balance <*> after <*>"),
    ("took 35ms, then 1.2 s", "took <*>, then <*> s"),
    ("freed 12.5 MB of 2 GiB", "freed <*> of <*>"),
    ("freed 900 B of 2 GiB", "freed <*> of <*>"),
    ("peer 10.1.2.3:8443 gone", "peer <*> gone"),
    ("order 6f1c2a9e-0b7d-4e21-9c55-abcdefabcdef paid", "order <*> paid"),
    ("etag 9fa3bc0011de", "etag <*>"),
    ("pointer 0x7ffeeabc is bad", "pointer <*> is bad"),
    ("reading /srv/data/day.csv: gone", "reading <*>: gone"),
    ("open C:\\Temp\\day.txt failed", "open <*> failed"),
    ("GET https://shop.example/cart?id=4&x=y done", "GET <*> done"),
    ("user=maria age=41 ok=true", "user=maria age=<*> ok=true"),
    ("worker-12 joined pool_3", "worker-<*> joined pool_<*>"),
    ('said "retry in 30" twice', 'said "retry in <*>" twice'),
    ("ids 4, 8, 15, 16", "ids <*>"),
    ("ids 4, 8", "ids <*>"),
    ("lost task_9 task_10 task_11", "lost task_<*>"),
    ("mail to <email:v1:0123abcd45> failed", "mail to <email> failed"),
    ("mail to <email:v12:ffffabcd45> failed", "mail to <email> failed"),
    ("password=<password:v1:0000000000>;", "password=<password>;"),
    ("  spaced \t out  ", "spaced out"),
    ("words alone stay", "words alone stay"),
    ("key eyJhbGci0iJ9.eyJzdWIi0iIx.Mjk0N2Zh used", "key <*> used"),
    ("", ""),
]


@pytest.mark.parametrize(("line", "masked"), MASKED)
def test_variable_parts_of_a_line_are_masked(line, masked):
    """Numbers, ids, addresses, paths, quantities and lists become wildcards; words stay."""
    assert ShapeMiner().shape(line)[1] == mask_line(line) == masked


@given(st.text(), st.data())
def test_other_digits_make_the_same_shape(line, data):
    """Replacing each digit by another one does not change the shape."""
    other = re.sub("[0-9]", lambda _: data.draw(st.sampled_from("0123456789")), line)
    assert ShapeMiner().shape(line) == ShapeMiner().shape(other)


@given(st.lists(st.text(alphabet="ab0:/<>-= \n.xé\ud800", max_size=30)))
def test_memos_do_not_change_a_shape(lines):
    """A miner that has seen other lines finds what a fresh one finds."""
    miner = ShapeMiner()
    assert [miner.shape(line) for line in lines + lines] == [
        ShapeMiner().shape(line) for line in lines + lines
    ]


def test_memos_stay_within_their_bounds(monkeypatch):
    """However many different lines come, the memos hold a fixed number of them, and shapes stay right."""
    for name in ("_MEMO_LINES", "_MEMO_TOKENS", "_MEMO_MASKED"):
        monkeypatch.setattr(shapes, name, 8)
    miner = ShapeMiner()
    for first in "abcdefgh":
        for second in "abcdefgh":
            assert miner.shape(f"{first}x {second}y 7")[1] == f"{first}x {second}y <*>"
            assert miner.shape(f"{first}x {second}y 7 " + "z" * 300)[1].startswith(
                f"{first}x {second}y <*> z"
            )
    assert max(map(len, (miner._lines, miner._tokens, miner._masked))) <= 8


@given(st.text(max_size=50), st.integers(1_000, 9_000))
def test_shapes_are_bounded(text, length):
    """A shape's id has 16 hexadecimal digits and its text at most 1,000 characters."""
    shape_id, shape = ShapeMiner().shape((text + "é ") * length)
    assert re.fullmatch("[0-9a-f]{16}", shape_id)
    assert len(shape) <= MAX_SHAPE_CHARACTERS


@pytest.mark.parametrize(
    "hostile",
    ["a", "a0", "0-", "a:/", "<*>", "<*> ", "0, ", "/", "=a+", "<a:v0:", "aaaa-", "A://", "0x", "a\\"],
)
def test_masking_takes_linear_time(hostile):
    """No line makes a regular expression backtrack: 100,000 characters take well under a second."""
    started = time.process_time()
    mask_line((hostile * 100_000)[:100_000])
    assert time.process_time() - started < 1.0


def entry(message: str = "", **fields) -> LogEntry:
    return LogEntry("shop", "cart", 0, 200, message, **fields)


def test_a_stack_trace_is_its_first_line_and_exception():
    """Frames do not tell shapes apart; the exception's type does, once."""
    miner = ShapeMiner()
    trace = "Failed order 7\n  at pay (pay.py:1)\n  at run"
    assert miner.entry_shape(entry(trace, exception="BrokenPipe"))[1] == "Failed order <*> BrokenPipe"
    assert miner.entry_shape(entry(trace, exception="Timeout"))[1] == "Failed order <*> Timeout"
    named = miner.entry_shape(entry("Timeout: pay 7\n  at pay", exception="Timeout"))
    assert named == miner.entry_shape(entry("Timeout: pay 8\n  at ship", exception="Timeout"))
    assert named[1] == "Timeout: pay <*>"


def test_a_request_without_a_message_is_its_route_and_status_class():
    """Requests of one route and one class of status share a shape."""
    miner = ShapeMiner()
    first = miner.entry_shape(entry(endpoint="GET /cart/{id}", http_status=503, is_request=True))
    assert first == miner.entry_shape(entry(endpoint="GET /cart/{id}", http_status=500, is_request=True))
    assert first[1] == "GET /cart/{id} 5xx"
    assert miner.entry_shape(entry(method_name="v1.Carts.Delete"))[1] == "v1.Carts.Delete"
    assert miner.entry_shape(entry())[1] == ""


def test_mining_fills_both_fields():
    """Every entry gets the id and the text of its shape."""
    entries = [entry("paid 5"), entry("paid 6"), entry("sent")]
    ShapeMiner().mine(entries)
    assert [e.shape for e in entries] == ["paid <*>", "paid <*>", "sent"]
    assert entries[0].shape_id == entries[1].shape_id != entries[2].shape_id
