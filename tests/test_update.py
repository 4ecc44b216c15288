"""A running job can be replaced: its steps keep their names, and what they keep in state its coders.

Dataflow matches the steps of an update by their names. `python tests/test_update.py` freezes the job as
it is now; do so at a release, or when a change is worth that running jobs are drained first.
"""

from __future__ import annotations

import json
from functools import cache
from pathlib import Path
from typing import Any, Final

import apache_beam as beam
from apache_beam.portability.api import beam_runner_api_pb2 as runner_api

from pipeline.main import build_job
from pipeline.options import parse_options

FROZEN_FILE: Final = Path(__file__).resolve().parent / "golden_state" / "job_v1.json"
_GROUPS: Final = "beam:transform:group_by_key:v1"
_FUNCTIONS: Final = "beam:transform:pardo:v1"
_RESHUFFLED: Final = "NullableCoder[FastPrimitivesCoder], PaneInfoCoder"  # Beam's own, beside each value
_SPECS: Final = ("coder_id", "element_coder_id", "accumulator_coder_id")


@cache
def job_contract() -> dict[str, Any]:
    """Steps of a streaming job that keep something: what a group holds, and states and timers by name."""
    project = "projects/my-project"
    settings, options = parse_options(
        [
            f"--input_subscription={project}/subscriptions/logs",
            f"--metrics_subscription={project}/subscriptions/metrics",
            f"--commands=acme={project}/subscriptions/commands",
            f"--anomaly_topic={project}/topics/anomalies",
            f"--alert_topic={project}/topics/alerts",
            "--dataset=my-project.aiops",
            "--failed_rows=gs://bucket/failed-rows",
        ]
    )
    pipeline = beam.Pipeline(options=options)
    build_job(pipeline, settings)
    proto, context = pipeline.to_runner_api(return_context=True)
    components = proto.components
    groups, states = {}, {}
    for step in components.transforms.values():
        if step.spec.urn == _GROUPS:
            (read,) = step.inputs.values()
            groups[step.unique_name] = _coder(context, components.pcollections[read].coder_id)
        elif step.spec.urn == _FUNCTIONS:
            function = runner_api.ParDoPayload.FromString(step.spec.payload)
            kept = {name: _state(context, spec) for name, spec in sorted(function.state_specs.items())}
            if kept or function.timer_family_specs:
                states[step.unique_name] = {"states": kept, "timers": sorted(function.timer_family_specs)}
    return {"groups": dict(sorted(groups.items())), "states": dict(sorted(states.items()))}


def _state(context: Any, spec: Any) -> str:
    kind = spec.WhichOneof("spec")
    inner = getattr(spec, kind)
    coder_id = next(getattr(inner, name) for name in _SPECS if getattr(inner, name, ""))
    return f"{kind.removesuffix('_spec')} of {_coder(context, coder_id)}"


def _coder(context: Any, coder_id: str) -> str:
    return _name(context.coders.get_by_id(coder_id))


def _name(coder: Any) -> str:
    parts = [_name(part) for part in coder._get_component_coders()]
    struct = getattr(coder, "_struct_type", None)
    inside = struct.__name__ if struct else ", ".join(parts)
    return type(coder).__name__ + (f"[{inside}]" if inside else "")


def test_steps_keep_their_names_and_coders() -> None:
    """Each step that kept something when the job was frozen is still there, and reads what it wrote."""
    frozen, now = json.loads(FROZEN_FILE.read_text(encoding="utf-8")), job_contract()
    for kind in ("groups", "states"):
        changed = {
            name: now[kind].get(name) for name, was in frozen[kind].items() if now[kind].get(name) != was
        }
        assert not changed, (
            "a running job could not be updated to this one: keep names and coders, or say in the CHANGELOG "
            "that jobs must be drained, and freeze anew"
        )


def test_nothing_that_is_kept_is_pickled() -> None:
    """Neither state nor a group in flight: another version of Python or of a class could not read it."""
    contract = json.dumps(job_contract()).replace(_RESHUFFLED, "")
    for pickler in ("PickleCoder", "DillCoder", "FastPrimitivesCoder", "CloudpickleCoder"):
        assert pickler not in contract


def test_no_two_steps_share_the_name_of_a_timer() -> None:
    """The local runner loses timers of steps whose timers have one name (decision 4)."""
    timers = [timer for step in job_contract()["states"].values() for timer in step["timers"]]
    assert len(timers) == len(set(timers))


if __name__ == "__main__":
    FROZEN_FILE.write_text(json.dumps(job_contract(), indent=1) + "\n", encoding="utf-8")
