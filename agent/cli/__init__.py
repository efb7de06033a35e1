"""The command ``ingest-agent``, one file a verb."""

import os

# NumPy starts a thread for each core that nothing here ever uses, and a thread that runs before a
# process is confined is one that Landlock does not bind.
os.environ.setdefault("OPENBLAS_NUM_THREADS", "1")
