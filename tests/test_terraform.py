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
CHECKOV = ROOT.parent / ".venv-checkov" / "bin" / "checkov"
CODE = {path.name: path.read_text(encoding="utf-8") for path in sorted(ROOT.glob("*.tf"))}


def test_every_grant_is_a_member_of_one_role() -> None:
    """None takes away others' or gives all of a project; why each is there stands in docs/security.md."""
    for block in re.findall(r'^resource "\w+_iam_\w+".*?^}', CODE["iam.tf"], re.MULTILINE | re.DOTALL):
        assert len(re.findall(r'^  role += ".+"$', block, re.MULTILINE)) == 1, block.partition("\n")[0]
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
    assert {"input_subscription", "commands", "metrics_subscription", "redaction_key_secret"} <= set(names)
    assert {"dataset", "failed_rows", "dead_letter_topic"} <= set(names)


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
@pytest.mark.skipif(not CHECKOV.exists(), reason="checkov is not installed: `make test-cloud` does that")
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
        [str(CHECKOV), "--quiet", "--compact", *arguments], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout[-4_000:]
