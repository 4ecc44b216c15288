"""Prints the flex template for an image: `python -m pipeline.template_spec IMAGE@sha256:…`."""

from __future__ import annotations

import json
import sys

from pipeline.template import container_spec

if __name__ == "__main__":
    if len(sys.argv) != 2 or "@sha256:" not in sys.argv[1]:
        sys.exit("template_spec: name the image with its digest, IMAGE@sha256:…: a tag may move under a job")
    sys.stdout.write(json.dumps(container_spec(sys.argv[1]), indent=2) + "\n")
