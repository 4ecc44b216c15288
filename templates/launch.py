"""What the flex template runs: builds the job from the parameters of the template, and submits it.

Nothing of the job lives here: what stands in `__main__` would have to be sent to the workers.
"""

import logging
import sys

from pipeline.bigquery_client import BigQueryError
from pipeline.main import run
from pipeline.settings import OptionsError
from pipeline.template import job_arguments

if __name__ == "__main__":
    logging.getLogger().setLevel(logging.INFO)
    try:
        run(job_arguments(sys.argv[1:]))
    except (OptionsError, BigQueryError) as error:
        sys.exit(f"launch: {error}")  # without the traceback: the launcher's log is what people read
