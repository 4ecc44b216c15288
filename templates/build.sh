#!/usr/bin/env bash
# Build the image and the flex template, and say where it is.
#
#   templates/build.sh --project P --region R --repository REPO --template gs://BUCKET/aiops.json [--dry-run]
#
# LAUNCHER_IMAGE and BEAM_IMAGE pin the images it is made from. Without them, the digest of the newest
# launcher is looked up and printed, and Beam's image is the one of the version in the lock.
set -euo pipefail
cd "$(dirname "$0")/.."

usage() {
  sed -n '2,7s/^# \{0,1\}//p' templates/build.sh >&2
  exit 2
}

project='' region='' repository='' template='' dry_run=''
while [ $# -gt 0 ]; do
  case "$1" in
    --project | --region | --repository | --template)
      [ $# -ge 2 ] || usage
      printf -v "${1#--}" '%s' "$2"
      shift 2
      ;;
    --dry-run)
      dry_run=yes
      shift
      ;;
    *) usage ;;
  esac
done
for value in "$project" "$region" "$repository" "$template"; do [ -n "$value" ] || usage; done
case "$template" in
  gs://?*/?*) ;;
  *)
    echo "build.sh: --template must look like gs://BUCKET/aiops.json" >&2
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
version=$(sed -n 's/^version = "\(.*\)"/\1/p' pyproject.toml)
commit=$(git rev-parse --short=12 HEAD 2>/dev/null || echo unknown)
image="$region-docker.pkg.dev/$project/$repository/aiops-agent"
launcher=gcr.io/dataflow-templates-base/python311-template-launcher-base
beam=$(sed -n 's/^apache-beam\(\[.*\]\)\{0,1\}==\([0-9.]*\).*/\2/p' templates/requirements.lock)
beam_image=${BEAM_IMAGE:-apache/beam_python3.11_sdk:$beam}
launcher_image=${LAUNCHER_IMAGE:-$(look_up "$launcher@sha256:$nothing" \
  gcloud container images describe "$launcher:latest" --format='value(image_summary.fully_qualified_digest)')}
echo "launcher: $launcher_image" >&2
echo "beam:     $beam_image" >&2

run gcloud builds submit . --project="$project" --region="$region" --config=templates/cloudbuild.yaml \
  --substitutions="_IMAGE=$image:$version-$commit,_LAUNCHER_IMAGE=$launcher_image,_BEAM_IMAGE=$beam_image"
digest=$(look_up "sha256:$nothing" gcloud artifacts docker images describe "$image:$version-$commit" \
  --project="$project" --format='value(image_summary.digest)')

spec=$(mktemp)
trap 'rm -f "$spec"' EXIT
# gcloud's own command for this drops the streaming modes.
"$python" -m pipeline.template_spec "$image@$digest" >"$spec"
run gcloud storage cp "$spec" "$template" --project="$project"
echo "template: $template" >&2
