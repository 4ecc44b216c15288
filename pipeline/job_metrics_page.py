"""docs/job-metrics.md, made from the list of what the job counts about itself.

`make generate` renews it with the other generated files.
"""

from __future__ import annotations

from typing import Final

from transforms.job_metrics import JOB_METRICS, NAMESPACE, exported_names

PATH: Final = "docs/job-metrics.md"

_HEAD: Final = """# What the job counts about itself

Made from `transforms/job_metrics.py`: `make generate` renews it.

Beam metrics in the namespace `{namespace}`. On Dataflow they stand on the page of the job, and in Cloud
Monitoring as `dataflow.googleapis.com/job/user_counter` with the labels `metric_name` and `ptransform` (the
step that counted: add the steps up). A distribution is four of them there, since the job's start:
`<name>_MIN`, `_MAX`, `_MEAN` and `_COUNT`. A project may have 100 such names; these are {exported}.

They are totals, and Cloud Monitoring takes them for gauges (their aligner for growth, `ALIGN_DELTA`, is not
for those): what grew in a while is for PromQL to say, as in `terraform/monitoring.tf`:

    60 * sum(rate(dataflow_googleapis_com:job_user_counter{{job_name="aiops",metric_name="lines"}}[10m]))

They are approximate: a bundle that is repeated counts again. What must be right is in the tables, in the view
`ledger_balance`. Beam's local streaming runner gets them wrong; nothing reads them there.

Delays are by the worker's clock, from the end of the window. Of a file they say how old its logs are. Those
of alerts hold the wait of `--group_wait_seconds`.

**Not checked**, for there is no Dataflow here: that a counter of 0 is exported (the policies need it to see
the first growth), how late totals come, and the names of distributions, which are as Google's pages say.

| name | kind | unit | meaning |
| --- | --- | --- | --- |
"""


def job_metrics_page() -> str:
    """Content of docs/job-metrics.md."""
    head = _HEAD.format(namespace=NAMESPACE, exported=len(exported_names()))
    rows = [f"| `{one.name}` | {one.kind} | {one.unit} | {one.meaning} |" for one in JOB_METRICS]
    return head + "\n".join(rows) + "\n"


def job_metrics_files() -> dict[str, str]:
    """Path below the repository → content."""
    return {PATH: job_metrics_page()}
