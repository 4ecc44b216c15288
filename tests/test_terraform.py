"""The Terraform module: its roles, its files of tables and views, and, where Terraform is, what it plans."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from pipeline.settings import Settings
from pipeline.tables import TABLES
from pipeline.views import view_level, view_sources

ROOT = Path(__file__).resolve().parent.parent / "terraform"
CODE = {path.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("*.tf"))}

ROLES = {
    ("google_project_iam_member", "roles/dataflow.worker"): "workers take work from Dataflow",
    ("google_project_iam_member", "roles/aiplatform.user"): "calls of Gemini, only with var.gemini",
    ("google_pubsub_subscription_iam_member", "roles/pubsub.subscriber"): "the job, notify, and dead letters",
    ("google_pubsub_subscription_iam_member", "roles/pubsub.viewer"): "Dataflow looks up what it reads",
    ("google_pubsub_topic_iam_member", "roles/pubsub.publisher"): "each publisher on its own topics",
    ("google_bigquery_dataset_iam_member", "roles/bigquery.dataEditor"): "the job writes rows",
    ("google_bigquery_dataset_iam_member", "roles/bigquery.dataViewer"): "people read rows, by row policies",
    ("google_storage_bucket_iam_member", "roles/storage.objectAdmin"): "temporary files, rows that failed",
    (
        "google_artifact_registry_repository_iam_member",
        "roles/artifactregistry.reader",
    ): "workers pull the image",
    ("google_secret_manager_secret_iam_member", "roles/secretmanager.secretAccessor"): "the redaction key",
}


def test_every_role_is_granted_for_a_reason() -> None:
    """All grants are members (none takes away others'), on the smallest resource, of a listed role."""
    blocks = re.findall(r'^resource "(\w+_iam_\w+)".*?^}', CODE["iam.tf"], re.MULTILINE | re.DOTALL)
    texts = re.findall(r'^resource "\w+_iam_\w+".*?^}', CODE["iam.tf"], re.MULTILINE | re.DOTALL)
    grants = [
        (kind, role)
        for kind, text in zip(blocks, texts, strict=True)
        for role in re.findall(r'^  role += "(.+)"$', text, re.MULTILINE)
    ]
    assert len(grants) == len(blocks), "each grant names its one role"
    assert set(grants) == set(ROLES)
    assert not re.search(r"_iam_(policy|binding)|roles/(owner|editor|viewer)\"|allUsers|allAuthenticated",
                         "".join(CODE.values()))  # fmt: skip
    assert not [name for name, code in CODE.items() if name != "iam.tf" and '_iam_member"' in code]


def test_terraform_makes_every_table_and_view() -> None:
    """Each table has its columns, each view its text, and each level of views a resource."""
    tables, views = (json.loads((ROOT / name).read_text()) for name in ("tables.json", "views.json"))
    assert tables.keys() == TABLES.keys()
    assert {path.stem for path in (ROOT / "tables").iterdir()} == TABLES.keys()
    assert views.keys() == view_sources().keys()
    assert {path.stem for path in (ROOT / "views").glob("*.sql")} == views.keys()
    assert max(map(view_level, views)) <= 4, "add a resource for the next level to bigquery.tf"


def test_the_job_is_given_parameters_that_it_has() -> None:
    """Names in dataflow.tf are options of the job."""
    block = CODE["dataflow.tf"].partition("merge(")[2].partition("\n    var.parameters,")[0]
    names = re.findall(r"^\s*(?:\S.*\{ )?(\w+) +=", block, re.MULTILINE)
    assert set(names) <= set(Settings.model_fields)
    assert set(names) >= {
        *("input_subscription", "commands", "metrics_subscription"),
        *("dataset", "failed_rows", "redaction_key_secret"),
    }


def test_every_variable_and_output_says_what_it_is() -> None:
    """Whoever uses the module reads descriptions, not its code."""
    for name in ("variables.tf", "outputs.tf"):
        blocks = re.split(r"^(?=(?:variable|output) )", CODE[name], flags=re.MULTILINE)[1:]
        assert blocks
        for block in blocks:
            assert re.search(r"^  description = ", block, re.MULTILINE), block.partition("\n")[0]


@pytest.mark.cloud
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("terraform"), reason="terraform is not installed")
def test_the_code_is_formatted() -> None:
    """`terraform fmt` has nothing to change."""
    done = subprocess.run(
        ["terraform", "fmt", "-check", "-recursive", str(ROOT)], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.cloud
@pytest.mark.slow
@pytest.mark.parametrize("folder", [".", "examples/folder"])
def test_the_module_is_valid_and_does_what_its_tests_say(folder: str) -> None:
    """fmt, validate and `terraform test` with mock providers, by a program with the providers' schemas."""
    checker = os.environ.get("AIOPS_TERRAFORM_CHECK", "")
    if not checker:
        pytest.skip("AIOPS_TERRAFORM_CHECK names no program that checks a folder of Terraform code")
    done = subprocess.run(
        [sys.executable, checker, str(ROOT / folder)],
        capture_output=True,
        text=True,
        timeout=280,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-4_000:] + done.stderr[-2_000:]


@pytest.mark.cloud
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("checkov"), reason="checkov is not installed")
@pytest.mark.parametrize(
    "arguments",
    [
        ["--framework", "terraform", "--directory", str(ROOT)],
        ["--framework", "dockerfile", "--file", str(ROOT.parent / "templates" / "Dockerfile")],
    ],
    ids=["terraform", "dockerfile"],
)
def test_checkov_finds_nothing_that_is_not_explained(arguments: list[str]) -> None:
    """What it finds is mended, or passed over with a reason beside it."""
    done = subprocess.run(
        ["checkov", "--quiet", "--compact", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4_000:]
