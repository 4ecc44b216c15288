"""The flex template: every option is a parameter, and the API knows every field."""

from __future__ import annotations

import json
import os
import re
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from google.cloud.dataflow_v1beta3 import ContainerSpec, TemplateMetadata
from hypothesis import given
from hypothesis import strategies as st

from pipeline.options import parse_options
from pipeline.settings import OptionsError, Settings
from pipeline.template import NOT_PARAMETERS, container_spec, job_arguments, template_metadata

ROOT = Path(__file__).resolve().parent.parent
SHELLCHECK = shutil.which("shellcheck", path=f"{Path(sys.executable).parent}:{os.environ['PATH']}")
IMAGE = f"europe-west1-docker.pkg.dev/p/aiops/aiops-agent@sha256:{'0' * 64}"
PARAMETERS = {parameter["name"]: parameter for parameter in template_metadata()["parameters"]}


def test_every_option_is_a_parameter() -> None:
    """But those that Dataflow sets itself or that mean this machine; each with help and a group."""
    assert PARAMETERS.keys() == Settings.model_fields.keys() - NOT_PARAMETERS
    for parameter in PARAMETERS.values():
        assert parameter["helpText"].endswith(".")
        assert parameter["groupName"]
        assert "Repeat the option" not in parameter["helpText"]


def test_the_api_knows_every_field() -> None:
    """Google's own messages refuse fields, types and modes that they do not have."""
    metadata = TemplateMetadata.from_json(json.dumps(template_metadata()))
    assert metadata.streaming
    assert metadata.supports_exactly_once
    assert not metadata.supports_at_least_once
    assert metadata.default_streaming_mode == "EXACTLY_ONCE"
    spec = ContainerSpec.from_json(json.dumps(container_spec(IMAGE)))
    assert spec.image == spec.default_environment.sdk_container_image == IMAGE
    assert spec.default_environment.enable_streaming_engine
    assert len(spec.metadata.parameters) == len(PARAMETERS)


@pytest.mark.parametrize("name", PARAMETERS)
def test_a_default_is_what_its_parameter_allows(name: str) -> None:
    """The console checks values by regexes and choices: the defaults pass, and compile."""
    parameter = PARAMETERS[name]
    default = parameter.get("defaultValue", "")
    for pattern in parameter.get("regexes", ()):
        assert not default or re.search(pattern, default)
    if parameter["paramType"] == "ENUM":
        assert default in {option["value"] for option in parameter["enumOptions"]}


def test_defaults_given_as_parameters_change_nothing() -> None:
    """The console sends what it shows: a job with every default sent is the job without any."""
    given = [f"--{name}={parameter.get('defaultValue', '')}" for name, parameter in PARAMETERS.items()]
    source = ["--input_subscription=projects/my-project/subscriptions/logs"]
    assert parse_options(job_arguments([*given, *source]))[0] == parse_options(source)[0]


@given(st.lists(st.text(min_size=1).filter(lambda text: "\x00" not in text), min_size=1))
def test_a_list_comes_back_from_json(items: list[str]) -> None:
    """Whatever stands in the items of a list, commas and quotes too."""
    found = job_arguments([f"--redact_patterns={json.dumps(items)}"])
    assert found == [f"--redact_patterns={item}" for item in items]


@pytest.mark.parametrize(
    ("argument", "expected"),
    [
        ("--services=cart, checkout", ["--services=cart,checkout"]),
        ("--commands=a=projects/p/subscriptions/a,b=projects/p/subscriptions/b",
         ["--commands=a=projects/p/subscriptions/a", "--commands=b=projects/p/subscriptions/b"]),
        ("--redact_patterns=customer=CU-[0-9]{8,9}", ["--redact_patterns=customer=CU-[0-9]{8,9}"]),
        ("--redact_patterns=[0-9]{3}", ["--redact_patterns=[0-9]{3}"]),
        ("--input=[ab].ndjson", ["--input=[ab].ndjson"]),
        ("--tenant=", []),
        ("--services=", []),
        ("--tenant=a,b", ["--tenant=a,b"]),
        ("--max_num_workers=3", ["--max_num_workers=3"]),
        ("--streaming", ["--streaming"]),
    ],
)  # fmt: skip
def test_parameters_become_arguments(argument: str, expected: list[str]) -> None:
    """Lists are taken apart, empty parameters left out, Dataflow's own arguments passed on."""
    assert job_arguments([argument]) == expected


def test_a_wrong_parameter_ends_the_launch_with_its_cause() -> None:
    """The launcher's log says which parameter is wrong, without a traceback."""
    arguments = ["--input_subscription=logs", "--min_severity=LOUD"]
    launch = subprocess.run(
        [sys.executable, str(ROOT / "templates" / "launch.py"), *arguments],
        capture_output=True, text=True, timeout=120, check=False,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )  # fmt: skip
    assert launch.returncode == 1
    assert "launch: --input_subscription: must look like projects/P/subscriptions/S" in launch.stderr
    assert "Traceback" not in launch.stderr
    with pytest.raises(OptionsError):
        parse_options(arguments)


def test_the_image_installs_what_is_locked() -> None:
    """The image's lock pins Beam's version of the base image, and every version of the developers' lock."""
    own, all_of_them = (
        dict(re.findall(r"^([\w.-]+)(?:\[.*?\])?==([^\s;]+)", (ROOT / path).read_text(), re.MULTILINE))
        for path in ("templates/requirements.lock", "requirements.lock")
    )
    assert own.items() <= all_of_them.items()
    assert "pytest" not in own
    dockerfile = (ROOT / "templates" / "Dockerfile").read_text()
    assert f"apache/beam_python3.11_sdk:{own['apache-beam']}\n" in dockerfile
    assert "--require-hashes" in dockerfile
    assert "pip check" in dockerfile


def _build(*arguments: str, path: str = "/usr/bin:/bin") -> subprocess.CompletedProcess[str]:
    command = ["bash", str(ROOT / "templates" / "build.sh"), *arguments]
    environment = {"PYTHON": sys.executable, "PATH": path, "PYTHONPATH": str(ROOT)}
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=False, env=environment)


def test_the_build_says_what_it_would_do() -> None:
    """A dry run prints the commands: the build with pinned images, and the copy of the template."""
    done = _build(
        *("--project", "my-project", "--region", "europe-west1", "--repository", "aiops"),
        *("--template", "gs://bucket/aiops.json", "--dry-run"),
    )
    assert done.returncode == 0, done.stderr
    build, copy = (shlex.split(line) for line in done.stdout.splitlines())
    assert build[:4] == ["gcloud", "builds", "submit", "."]
    assert (
        "_LAUNCHER_IMAGE=gcr.io/dataflow-templates-base/python311-template-launcher-base@sha256:" in build[-1]
    )
    assert copy[:3] == ["gcloud", "storage", "cp"]
    assert copy[4] == "gs://bucket/aiops.json"


def _terraform_that_says(folder: Path, code: str) -> str:
    """PATH with a `terraform` that only knows `output`."""
    program = folder / "terraform"
    program.write_text(f"#!/bin/bash\n[ \"$2 $3 $4\" = 'output -raw build_arguments' ] || exit 9\n{code}\n")
    program.chmod(0o755)
    return f"{folder}:/usr/bin:/bin"


def test_a_folder_of_terraform_says_all_that_the_build_asks(tmp_path: Path) -> None:
    """Its output has the arguments; the build runs as the account made for it, on sources in our bucket."""
    email = "aiops-build@my-project.iam.gserviceaccount.com"
    path = _terraform_that_says(
        tmp_path,
        "echo -n --project my-project --region europe-west1 --repository aiops "
        f"--service-account {email} --redaction-key master --template gs://bucket/templates/aiops-VERSION.json",
    )
    done = _build(str(tmp_path), "--dry-run", path=path)
    assert done.returncode == 0, done.stderr
    build, copy, key = (shlex.split(line) for line in done.stdout.splitlines())
    assert key[:5] == ["gcloud", "secrets", "versions", "add", "master"]
    assert f"--service-account=projects/my-project/serviceAccounts/{email}" in build
    assert "--gcs-source-staging-dir=gs://bucket/build" in build
    assert re.fullmatch(r"gs://bucket/templates/aiops-\d[\w.+-]*\.json", copy[4])
    assert not (tmp_path / "template.auto.tfvars").exists(), "a dry run changes nothing"


def test_the_next_apply_is_told_of_the_template(tmp_path: Path) -> None:
    """Image and key that are there are not made again; the template's name is where Terraform reads it."""
    path = _terraform_that_says(
        tmp_path,
        "echo -n --project p --region r --repository a --redaction-key k --template gs://b/aiops-VERSION.json",
    )
    gcloud = tmp_path / "gcloud"
    gcloud.write_text(
        f'#!/bin/bash\necho "$@" >>"${{0%/*}}/calls"\n[ "$3" != list ] || echo 1\n'
        f'[ "$2" != docker ] || echo sha256:{"0" * 64}\n'
    )
    gcloud.chmod(0o755)
    done = _build(str(tmp_path), path=path)
    assert done.returncode == 0, done.stderr
    told = (tmp_path / "template.auto.tfvars").read_text()
    assert re.fullmatch(r'template = "gs://b/aiops-\d\S*\.json"\n', told)
    calls = (tmp_path / "calls").read_text()
    assert "storage cp" in calls
    assert "versions list k" in calls
    assert "builds submit" not in calls
    assert "versions add" not in calls


def test_a_folder_without_outputs_is_named(tmp_path: Path) -> None:
    """Who builds before the first apply is told what to do first."""
    done = _build(str(tmp_path), "--dry-run", path=_terraform_that_says(tmp_path, "exit 1"))
    assert done.returncode == 2
    assert "run terraform apply there first" in done.stderr


@pytest.mark.parametrize("arguments", [[], ["--project"], ["--project", "p"], ["--nonsense"]])
def test_the_build_asks_for_what_is_missing(arguments: list[str]) -> None:
    """Without all four names nothing is built, and the usage is shown."""
    done = _build(*arguments)
    assert done.returncode == 2
    assert "templates/build.sh --project P" in done.stderr


@pytest.mark.cloud
@pytest.mark.skipif(not SHELLCHECK, reason="shellcheck is not installed")
@pytest.mark.parametrize("script", ["templates/build.sh", ".ci/run"])
def test_a_script_is_clean(script: str) -> None:
    """Shellcheck finds nothing."""
    done = subprocess.run(
        [str(SHELLCHECK), str(ROOT / script)], capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stdout


@pytest.mark.cloud
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_gcloud_knows_every_argument_of_the_build(tmp_path: Path) -> None:
    """Without an account gcloud stops at that, behind its check of the command line; nothing is sent."""
    done = _build(
        *("--project", "my-project", "--region", "europe-west1", "--repository", "aiops"),
        *("--template", "gs://bucket/aiops.json", "--service-account", "a@b.c", "--dry-run"),
    )
    nobody = os.environ | {"CLOUDSDK_CONFIG": str(tmp_path), "CLOUDSDK_CORE_DISABLE_PROMPTS": "1"}
    tried = subprocess.run(
        shlex.split(done.stdout.splitlines()[0]), capture_output=True, text=True, timeout=120, check=False,
        cwd=ROOT, env=nobody,
    )  # fmt: skip
    assert "active account" in tried.stderr, tried.stderr


@pytest.mark.cloud
@pytest.mark.slow
@pytest.mark.skipif(not shutil.which("gcloud"), reason="gcloud is not installed")
def test_gcloud_reads_every_parameter() -> None:
    """Gcloud builds the same template of the file, but for the modes, which it drops (beside `build.sh`)."""
    done = subprocess.run(
        [
            *("gcloud", "dataflow", "flex-template", "build", "gs://bucket/aiops.json", "--print-only"),
            *("--image", "europe-docker.pkg.dev/p/r/i:1", "--sdk-language", "PYTHON", "--format", "json"),
            *("--metadata-file", str(ROOT / "templates" / "metadata.json")),
        ],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    built = json.loads(done.stdout)
    metadata = (json.loads(built) if isinstance(built, str) else built)["metadata"]
    assert metadata["parameters"] == template_metadata()["parameters"]
