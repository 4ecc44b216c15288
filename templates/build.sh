#!/usr/bin/env bash
# Build the image and the flex template, and say where it is.
#
#   templates/build.sh FOLDER [--dry-run]
#   templates/build.sh --project P --region R --repository REPO --template gs://BUCKET/aiops-VERSION.json
#                      [--service-account EMAIL] [--redaction-key SECRET] [--dry-run]
#
# FOLDER is one that `terraform apply` has run in: its outputs say all else, and the template is written
# into its template.auto.tfvars, where the next `terraform apply` finds it. VERSION stands for version
# and commit, so that a new template has a new name, and a job that runs is replaced. A SECRET without a
# version is given its first key.
#
# LAUNCHER_IMAGE and BEAM_IMAGE pin the images it is made from. Without them, the digest of the newest
# launcher is looked up and printed, and Beam's image is the one of the version in the lock.
set -euo pipefail
began_in=$PWD
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,16s/^# \{0,1\}//p' templates/build.sh >&2
  exit 2
}

folder='' project='' region='' repository='' template='' service_account='' redaction_key='' dry_run=''
take() {
  while [ $# -gt 0 ]; do
    case "$1" in
      --project | --region | --repository | --template | --service-account | --redaction-key)
        [ $# -ge 2 ] || usage
        local name=${1#--}
        printf -v "${name//-/_}" '%s' "$2"
        shift
        ;;
      --dry-run) dry_run=yes ;;
      -*) usage ;;
      *) folder=$(cd "$began_in" && realpath -- "$1") ;;
    esac
    shift
  done
}
take "$@"
if [ -n "$folder" ]; then
  made=$(terraform -chdir="$folder" output -raw build_arguments) || {
    echo "build.sh: $folder has no output build_arguments: run terraform apply there first" >&2
    exit 2
  }
  read -ra words <<<"$made"
  take "${words[@]}"
fi
for value in "$project" "$region" "$repository" "$template"; do [ -n "$value" ] || usage; done
case "$template" in
  gs://?*/?*) ;;
  *)
    echo "build.sh: --template must look like gs://BUCKET/aiops-VERSION.json" >&2
    exit 2
    ;;
esac

run() {
  if [ -n "$dry_run" ]; then
    printf '%q ' "$@"
    printf '\n'
  else
    "$@"
  fi
}
look_up() { # what a command prints; in a dry run the first argument instead
  local instead=$1
  shift
  if [ -n "$dry_run" ]; then
    run "$@" >&2
    echo "$instead"
  else
    "$@"
  fi
}

python=${PYTHON:-.venv/bin/python}
nothing=$(printf '0%.0s' {1..64})
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)-$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
# What is not committed has no name of its own: a tag, once pushed, stays with its image.
git diff --quiet HEAD -- transforms pipeline aiops templates setup.py pyproject.toml 2>/dev/null ||
  version=$version-$(date -u +%Y%m%d%H%M%S)
image="$region-docker.pkg.dev/$project/$repository/aiops-agent"
template=${template/VERSION/$version}
launcher=gcr.io/dataflow-templates-base/python311-template-launcher-base
beam=$(sed -n 's/^apache-beam\(\[.*\]\)\{0,1\}==\([0-9.]*\).*/\2/p' templates/requirements.lock)
beam_image=${BEAM_IMAGE:-apache/beam_python3.11_sdk:$beam}
launcher_image=${LAUNCHER_IMAGE:-$(look_up "$launcher@sha256:$nothing" \
  gcloud container images describe "$launcher:latest" --format='value(image_summary.fully_qualified_digest)')}
echo "launcher: $launcher_image" >&2
echo "beam:     $beam_image" >&2

digest() {
  look_up "sha256:$nothing" gcloud artifacts docker images describe "$image:$version" --project="$project" \
    --format='value(image_summary.digest)'
}
if [ -n "$dry_run" ] || ! digest >/dev/null 2>&1; then # a second try does not build again
  account=()
  [ -z "$service_account" ] || account=(
    "--service-account=projects/$project/serviceAccounts/$service_account"
    "--gcs-source-staging-dir=gs://$(cut -d/ -f3 <<<"$template")/build"
  )
  run gcloud builds submit . --project="$project" --region="$region" --config=templates/cloudbuild.yaml \
    ${account[@]+"${account[@]}"} --substitutions="_IMAGE=$image:$version,_LAUNCHER_IMAGE=$launcher_image,_BEAM_IMAGE=$beam_image"
fi

spec=$(mktemp)
trap 'rm -f "$spec"' EXIT
# gcloud's own command for this drops the streaming modes.
built=$(digest)
"$python" -m pipeline.template_spec "$image@$built" >"$spec"
run gcloud storage cp "$spec" "$template" --project="$project"

if [ -n "$redaction_key" ]; then
  keys=$(look_up '' gcloud secrets versions list "$redaction_key" --project="$project" --format='value(name)')
  # Never an argument, which others on this machine could read.
  [ -n "$keys" ] || run gcloud secrets versions add "$redaction_key" --project="$project" \
    --data-file=- <<<"$(openssl rand -hex 32)"
fi
if [ -n "$folder" ] && [ -z "$dry_run" ]; then
  printf 'template = "%s"\n' "$template" >"$folder/template.auto.tfvars"
fi
echo "template: $template" >&2
