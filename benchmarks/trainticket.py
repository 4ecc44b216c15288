"""Incidents of a recorded day of a microservice application, for a scorer that knows the faults.

    python benchmarks/trainticket.py DIR --out incidents.ndjson [--without SOURCE ...] [--minutes M]

DIR holds logs.ndjson.gz and mesh.ndjson.gz (LogEntries) and metrics.ndjson.gz (TimeSeries). All three go
through the whole job together; faults are not given. One JSON object a line and revision of an incident:
incident_id, opened_at, root_causes (service, score; best first), and what people read. Of incidents that open
at the same moment the more severe one comes first, as people are shown them.

Faults there follow each other every four minutes, so that an incident is closed after two minutes without
an anomaly (--minutes, as --correlation_minutes of the job, whose default is 15).
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Final

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from pipeline.duckdb_store import DuckDBStore
from pipeline.main import run

SOURCES: Final = {"logs": "--input", "mesh": "--input", "metrics": "--metrics"}
TENANT: Final = "trainticket"

_REVISIONS: Final = """
SELECT incident_id, revision, status, severity, title, summary, opened_at, updated_at, root_causes,
       affected_services, anomaly_count
FROM incidents
ORDER BY opened_at,
  max(list_position(['low', 'medium', 'high', 'critical'], severity)) OVER (PARTITION BY incident_id) DESC,
  incident_id, revision
"""


def main() -> None:
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folder", type=Path, help="folder with logs, mesh and metrics .ndjson.gz")
    parser.add_argument("--out", type=Path, required=True, help="file for the incidents")
    parser.add_argument(
        "--without", action="append", default=[], choices=list(SOURCES), help="leave a source out; repeatable"
    )
    parser.add_argument("--minutes", type=int, default=2, help="--correlation_minutes of the job (default 2)")
    parser.add_argument("--store", type=Path, help="keep the store in this new file")
    arguments = parser.parse_args()
    sources = [source for source in SOURCES if source not in arguments.without]
    with TemporaryDirectory() as folder:
        store = arguments.store or Path(folder) / "store.duckdb"
        run_job(arguments.folder, sources, store, arguments.minutes)
        count = write_incidents(store, arguments.out)
    print(f"{count} incidents → {arguments.out}", file=sys.stderr)


def run_job(folder: Path, sources: list[str], store: Path, minutes: int) -> None:
    """The job over the files of `sources`, into the new file `store`."""
    inputs: dict[str, list[str]] = {}
    for source in sources:
        inputs.setdefault(SOURCES[source], []).append(str(folder / f"{source}.ndjson.gz"))
    files = [text for option, paths in inputs.items() for text in (option, *paths)]
    run([*files, "--tenant", TENANT, "--store", str(store), "--correlation_minutes", str(minutes)])


def write_incidents(store: Path, out: Path) -> int:
    """Write all revisions of all incidents as NDJSON. Returns how many incidents there are."""
    with DuckDBStore(str(store), read_only=True) as opened:
        rows = opened.query(_REVISIONS)
    with out.open("w") as file:
        for row in rows:
            file.write(json.dumps(_plain(row)) + "\n")
    return len({row["incident_id"] for row in rows})


def _plain(row: dict[str, Any]) -> dict[str, Any]:
    times = {name: row[name].isoformat() for name in ("opened_at", "updated_at")}
    causes = [{key: cause[key] for key in ("service", "score", "reasons")} for cause in row["root_causes"]]
    return {**row, **times, "root_causes": causes}


if __name__ == "__main__":
    main()
