"""Detectors by name: the product's, and one's own, as docs/baselines.md shows it."""
# ruff: noqa: E501 - tables read best with a case a line

from __future__ import annotations

import importlib
import re
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from transforms.detect.baselines import registry
from transforms.detect.baselines.book import signal_policy
from transforms.detect.baselines.book_loading import BookError, load_book
from transforms.detect.baselines.interface import Detector, Observation
from transforms.detect.baselines.learned import LearnedDetector, LearnedSettings
from transforms.detect.baselines.registry import (
    NAMESPACE,
    DetectorError,
    apply_settings,
    check_detector,
    make_detector,
)
from transforms.detect.baselines.seasons import Calendar

DOCS = Path(__file__).parent.parent / "docs" / "baselines.md"
EXAMPLE = re.compile(r"<!-- example: (\S+) -->\n```python\n(.*?)```\n\n```yaml\n(.*?)```", re.DOTALL)


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """An empty `aiops_detectors` on the path; what was imported from it is forgotten."""
    (tmp_path / NAMESPACE).mkdir()
    monkeypatch.syspath_prepend(tmp_path)
    importlib.invalidate_caches()
    yield tmp_path / NAMESPACE
    registry._own_class.cache_clear()
    for name in [name for name in sys.modules if name.partition(".")[0] == NAMESPACE]:
        del sys.modules[name]


def labels(detector: Detector, values: list[float]) -> list[str]:
    found = []
    for minute, value in enumerate(values):
        observation = Observation(minute * 60_000_000, value)
        judgement = detector.score_one(observation)
        detector.learn_one(observation, judgement)
        found.append(judgement.label)
    return found


def test_the_example_of_the_docs_works_as_it_is_printed(folder: Path) -> None:
    """Module and file of docs/baselines.md, literally: found, made, judged, encoded and gone on with."""
    example = EXAMPLE.search(DOCS.read_text("utf-8"))
    assert example is not None
    path, code, text = example.groups()
    (folder.parent / path).write_text(code)
    policy = signal_policy(load_book(text), "acme", "worker-1", "queue_depth")
    detector = make_detector(policy.detector, policy.settings, None)
    assert labels(detector, [10, 501, 502, 500, 600]) == [
        "normal", "anomalous", "continuing", "normal", "anomalous",
    ]  # fmt: skip
    resumed = make_detector(policy.detector, policy.settings, detector.encode())
    assert resumed.score_one(Observation(10**12, 600.0)).label == "continuing"
    assert resumed.encode() == detector.encode()
    with pytest.raises(
        BookError, match=r"does not take these settings: it takes one setting, limit, a number"
    ):
        load_book(text.replace("limit: 500", "limits: 500"))


GOOD = """
class Good:
    @classmethod
    def decode(cls, encoded, settings):
        {decode}
    def score_one(self, observation): ...
    def learn_one(self, observation, judgement): ...
    def encode(self): return b""
"""


@pytest.mark.parametrize(
    ("code", "name", "said"),
    [
        ("", "mine.Good", "aiops_detectors.mine has no class Good"),
        ("import os", "mine.os", "aiops_detectors.mine has no class os"),
        ("class Good: pass", "mine.Good", '"mine.Good" has no score_one; a detector has score_one, learn_one, encode, decode'),
        ("import no_such_package", "mine.Good", "aiops_detectors.mine needs no_such_package, which is not installed"),
        ("1 / 0", "mine.Good", "importing aiops_detectors.mine raises ZeroDivisionError"),
        ("def (", "mine.Good", "importing aiops_detectors.mine raises SyntaxError"),
        (GOOD.format(decode="return cls()"), "other.Good", "there is no module aiops_detectors.other; put other.py into a folder"),
        (GOOD.format(decode="return cls()"), "mine.sub.Good", "there is no module aiops_detectors.mine.sub"),
        (GOOD.format(decode="raise ValueError('say more')"), "mine.Good", '"mine.Good" does not take these settings: say more'),
        (GOOD.format(decode="raise OSError('secret')"), "mine.Good", '"mine.Good" cannot be made: decode raises OSError'),
        (GOOD.format(decode="return 3"), "mine.Good", "what decode gives has no score_one"),
    ],
)  # fmt: skip
def test_a_detector_that_cannot_be_used_is_told_with_the_mend(
    folder: Path, code: str, name: str, said: str
) -> None:
    """Whatever the module does, the file is refused with the cause, and without a trace."""
    (folder / "mine.py").write_text(code)
    with pytest.raises(DetectorError) as caught:
        check_detector(name, ())
    assert said in str(caught.value)


@pytest.mark.parametrize(
    "name",
    ["os.system", "os.path.join", "..os.system", "aiops_detectors", "", "mine", "a.b;c", "a.__class__"],
)
def test_nothing_outside_the_package_can_be_named(name: str) -> None:
    """A file cannot make the job import any other module."""
    before = set(sys.modules)
    with pytest.raises(DetectorError):
        check_detector(name, ())
    assert set(sys.modules) == before


def test_learned_goes_on_where_it_was() -> None:
    """Made anew from its bytes it judges as before, with the settings and the calendar given."""
    settings = (("fatigue", 2), ("threshold", 0.2))
    calendar = Calendar(days_off=frozenset())
    detector = make_detector("learned", settings, None, calendar)
    labels(detector, [1.0, 2.0, 3.0])
    resumed = make_detector("learned", settings, detector.encode(), calendar)
    assert isinstance(resumed, LearnedDetector)
    assert resumed.encode() == detector.encode()
    assert (resumed.settings.novelty.threshold, resumed.settings.fatigue) == (0.2, 2.0)
    assert resumed.settings.calendar is calendar
    assert resumed.settings.louder == LearnedSettings().louder


def test_settings_change_only_what_they_name() -> None:
    """Settings of a signal keep what the file does not set, down to structs within."""
    base = LearnedSettings(louder=5.0)
    changed = apply_settings("learned", base, (("adopt_hours", 3), ("learning_count", 7)))
    assert (changed.louder, changed.learning_count, changed.novelty.adopt_hours) == (5.0, 7, 3.0)
    assert changed.novelty.threshold == base.novelty.threshold
    assert apply_settings("learned", base, ()) == base
