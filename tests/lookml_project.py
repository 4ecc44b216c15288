"""The LookML project in `looker/` as Looker would read it: manifest, models, and what they include."""

from __future__ import annotations

from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any, Final

import pytest
import yaml
from lookml_explores import Explore
from lookml_views import Item, LookmlError, View, check_parameters

lkml: Any = pytest.importorskip("lkml", reason="lkml is not installed: `make setup`")

ROOT: Final = Path(__file__).resolve().parent.parent / "looker"


@lru_cache
def _parse(text: str) -> Item:
    found: Item = lkml.load(text)
    return found


@lru_cache
def _parse_dashboards(text: str) -> list[Item]:
    found: list[Item] = yaml.safe_load(text)
    return found


@dataclass
class Model:
    """A model file with what it includes."""

    name: str
    item: Item
    views: dict[str, View]
    explores: dict[str, Explore]
    dashboards: dict[str, Item]


class Project:
    """All of a folder of LookML. Raises LookmlError, or what the parser raises."""

    def __init__(self, root: Path = ROOT) -> None:
        self.root = root
        self.manifest = _parse((root / "manifest.lkml").read_text(encoding="utf-8"))
        check_parameters("manifest", self.manifest)
        for constant in self.manifest["constants"]:
            check_parameters("constant", constant)
        self.constants = {constant["name"]: constant["value"] for constant in self.manifest["constants"]}
        self.models = {
            path.name.split(".")[0]: self._model(path) for path in sorted(root.glob("models/*.lkml"))
        }

    def _model(self, path: Path) -> Model:
        item = _parse(path.read_text(encoding="utf-8"))
        check_parameters("model", item)
        views: dict[str, View] = {}
        dashboards: dict[str, Item] = {}
        for pattern in item["includes"]:
            included = sorted(self.root.glob(pattern.lstrip("/")))
            if not included:
                raise LookmlError(f"{path.name} includes {pattern}, and there is no such file")
            for file in included:
                text = file.read_text(encoding="utf-8")
                if file.suffix == ".lookml":
                    for dashboard in _parse_dashboards(text):
                        dashboards[dashboard["dashboard"]] = dashboard
                else:
                    _include_views(_parse(text), views)
        explores = {explore["name"]: Explore(explore, views) for explore in item["explores"]}
        return Model(path.name.split(".")[0], item, views, explores, dashboards)


def _include_views(content: Item, views: dict[str, View]) -> None:
    if set(content) != {"views"}:
        raise LookmlError(f"a file of views holds {', '.join(sorted(content))}")
    for view in content["views"]:
        name = view["name"].removeprefix("+")
        if view["name"] == name:
            views[name] = View(name)
        elif name not in views:
            raise LookmlError(f"{name} is refined before there is such a view")
        views[name].refine(view)
