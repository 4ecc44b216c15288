"""The BigQuery emulator, which keeps its tables while it is down, with the tables and views of the job."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest
from conftest import free_port, unavailable, wait_for_port
from google.cloud import bigquery

from pipeline.bigquery_client import make_client
from pipeline.views import PLACE, view_sources

ROOT: Final = Path(__file__).resolve().parent.parent
PYTHON: Final = ROOT / ".venv-bigquery-emulator" / "bin" / "python"
STARTER: Final = Path(__file__).with_name("start_bigquery_emulator.py")
PROJECT: Final = "acme-prod"
DATASET: Final = f"{PROJECT}.aiops"
_SECONDS: Final = 30


class BigQueryEmulator:
    """A server at one address that can be killed and started again, its rows in `folder`."""

    def __init__(self, folder: Path) -> None:
        if not PYTHON.exists():
            pytest.skip("the BigQuery emulator is not installed: `make test-cloud`")
        self._folder = folder
        self._process: subprocess.Popen[str] | None = None
        self.address = f"127.0.0.1:{free_port()}"

    def start(self) -> None:
        port = self.address.rpartition(":")[2]
        command = [str(PYTHON), str(STARTER), "start", "--rest-port", port, "--grpc-port", "0"]
        self._process = subprocess.Popen(
            [*command, "--persistent", "--data-dir", str(self._folder), "--log-level", "critical"],
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            text=True,
            start_new_session=True,
        )
        if not wait_for_port(self.address, self._process):
            unavailable("the BigQuery emulator did not start")

    def stop(self) -> None:
        """Connections are refused from now on; rows that were taken are kept."""
        if self._process is not None:
            os.killpg(self._process.pid, signal.SIGTERM)
            self._process.wait(timeout=30)
            self._process = None

    def make_tables(self) -> None:
        """Tables as Terraform makes them, from the same files. BIGQUERY_EMULATOR_HOST is to be set."""
        client = make_client(PROJECT)
        client.create_dataset(DATASET, retry=None, timeout=_SECONDS)
        layout = json.loads((ROOT / "terraform" / "tables.json").read_text(encoding="utf-8"))
        for name, said in layout.items():
            schema = client.schema_from_json(ROOT / "terraform" / "tables" / f"{name}.json")
            table = bigquery.Table(f"{DATASET}.{name}", schema)
            table.time_partitioning = bigquery.TimePartitioning(field=said["day_of"])
            table.clustering_fields = said["cluster_by"]
            client.create_table(table, retry=None, timeout=_SECONDS)

    def make_views(self) -> None:
        client = make_client(PROJECT)
        for name in view_sources():
            view = bigquery.Table(f"{DATASET}.{name}")
            sql = (ROOT / "terraform" / "views" / f"{name}.sql").read_text(encoding="utf-8")
            view.view_query = sql.replace(PLACE, f"`{DATASET}`.")
            client.create_table(view, retry=None, timeout=_SECONDS)

    def query(self, sql: str) -> list[dict[str, Any]]:
        client = make_client(PROJECT)
        job = client.query(sql.replace(PLACE, f"`{DATASET}`."), retry=None, timeout=_SECONDS)
        return [dict(row) for row in job.result(retry=None, timeout=_SECONDS)]
