"""The job as a picture: a flowchart in Mermaid, drawn from the graph that `build_job` makes.

`make generate` renews it in docs/architecture.md.
"""

from __future__ import annotations

from functools import cache
from typing import Any, Final

import apache_beam as beam
from apache_beam.runners.direct.direct_runner import BundleBasedDirectRunner

from pipeline.main import build_job
from pipeline.options import parse_options
from pipeline.settings import Settings
from pipeline.sinks import WINDOW_TABLES, MakeRows, MakeWindowRows

_TITLES: Final = {
    frozenset({"ReadLogs"}): "logs",
    frozenset({"ReadMetrics"}): "metrics",
    frozenset({"ReadCommands"}): "commands",
}
_TOGETHER: Final = "logs and metrics together"
_OWN: Final = "about the job itself"


def every_stream() -> list[str]:
    """Arguments of a streaming job that reads and writes all that there is to read and write.

    Whoever adds an option for a subscription, a topic or a switch finds it in here by its name.
    """
    project, arguments = "projects/acme-prod", []
    for name, field in Settings.model_fields.items():
        kind = next((kind for kind in ("subscription", "topic") if name.endswith(f"_{kind}")), None)
        if kind:
            arguments.append(f"--{name}={project}/{kind}s/{name.removesuffix(f'_{kind}')}")
        elif field.annotation is bool:
            arguments.append(f"--{name}=true")
    commands = f"--commands=acme={project}/subscriptions/acme-commands"
    return [*arguments, commands, "--dataset=acme-prod.aiops", "--failed_rows=gs://acme-prod-aiops/failed"]


@cache
def job_flowchart() -> str:
    """The flowchart of the job over streams: what is read, the stages, the tables and topics they write."""
    settings, options = parse_options(every_stream())
    pipeline = beam.Pipeline(runner=BundleBasedDirectRunner(), options=options)
    build_job(pipeline, settings)
    return _Flow(pipeline).flowchart()


class _Flow:
    """The outermost steps of a pipeline, and which feeds which."""

    def __init__(self, pipeline: beam.Pipeline) -> None:
        self.steps: dict[str, Any] = {}  # label → its transform
        self.feeds: dict[str, list[str]] = {}  # label → labels of what feeds it
        makers: dict[Any, str] = {}

        class Walk(beam.pipeline.PipelineVisitor):
            def enter_composite_transform(_, node: Any) -> None:  # noqa: N805
                self._see(node)

            def visit_transform(_, node: Any) -> None:  # noqa: N805
                self._see(node)
                label = node.full_label.partition("/")[0]
                inputs = [*node.inputs, *(given.pvalue for given in node.side_inputs)]
                fed_by = [makers[value] for value in inputs if value in makers]
                known = self.feeds.setdefault(label, [])
                known += [name for name in dict.fromkeys(fed_by) if name != label and name not in known]
                makers.update(dict.fromkeys(node.outputs.values(), label))

        pipeline.visit(Walk())

    def _see(self, node: Any) -> None:
        if node.full_label and "/" not in node.full_label:
            self.steps[node.full_label] = node.transform

    def flowchart(self) -> str:
        drawn = [label for label in self.steps if self._is_drawn(label)]
        parts: dict[str, list[str]] = {}
        for name in dict.fromkeys(map(self._name, drawn)):
            labels = [label for label in drawn if self._name(label) == name]
            parts.setdefault(self._part(labels), []).append(self._node(labels[0], name))
        lines = ["flowchart TB"]
        for number, (title, nodes) in enumerate(parts.items()):
            lines += [f'  subgraph part{number}["{title}"]', *(f"    {node}" for node in nodes), "  end"]
        arrows = [
            f"  {self._name(source)} --> {self._name(label)}"
            for label in drawn
            for source in self._sources(label)
        ]
        return "\n".join([*lines, *dict.fromkeys(arrows)]) + "\n"

    def _is_drawn(self, label: str) -> bool:
        """Not what makes and stores rows, which stands in the node that they come from, nor Flattens."""
        if self._tables(label) or isinstance(self.steps[label], beam.Flatten):
            return False
        return not any(self._stores(source) for source in self.feeds[label])

    def _stores(self, label: str) -> bool:
        return bool(self._tables(label)) or any(map(self._stores, self.feeds[label]))

    def _tables(self, label: str) -> tuple[str, ...]:
        transform = self.steps[label]
        if isinstance(transform, MakeWindowRows):
            return WINDOW_TABLES
        return (transform.table,) if isinstance(transform, MakeRows) else ()

    def _sources(self, label: str) -> list[str]:
        """What feeds a step, through whatever is not drawn."""
        found: list[str] = []
        for source in self.feeds[label]:
            found += [source] if self._is_drawn(source) else self._sources(source)
        return found

    def _name(self, label: str) -> str:
        """Publishers of one kind are one node: what they publish is one stream."""
        kind = type(self.steps[label]).__name__
        return kind if kind.startswith("Publish") else label

    def _origins(self, label: str) -> frozenset[str]:
        sources = self.feeds[label]
        return frozenset[str]().union(*map(self._origins, sources)) if sources else frozenset({label})

    def _part(self, labels: list[str]) -> str:
        known = frozenset[str]().union(*_TITLES)
        streams = known & frozenset[str]().union(*map(self._origins, labels))
        if not streams and not self.feeds[labels[0]]:  # a file, at the step that it is for
            user = next(step for step in self.steps if labels[0] in self.feeds[step])
            streams = known & self._origins(user)
        return _TITLES.get(streams, _TOGETHER if streams else _OWN)

    def _node(self, label: str, name: str) -> str:
        tables: dict[str, None] = {}
        for step in self.steps:
            if self._tables(step) and label in self._sources(step):
                tables |= dict.fromkeys(self._tables(step))
        text = name + (f"<br/><i>{', '.join(tables)}</i>" if tables else "")
        if not self.feeds[label]:
            return f'{name}(["{text}"])'
        return f'{name}[/"{text}"/]' if name.startswith("Publish") else f'{name}["{text}"]'
