"""`make torture`: `benchmarks.torture.command` in an environment in which no library starts a second thread."""

import os
import sys

ONE_THREAD = {
    "OMP_NUM_THREADS": "1",
    "OPENBLAS_NUM_THREADS": "1",
    "MKL_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    "JE_ARROW_MALLOC_CONF": "background_thread:false",
}
COMMAND = [sys.executable, "-m", "benchmarks.torture.command", *sys.argv[1:]]

os.execve(sys.executable, COMMAND, {**os.environ, **ONE_THREAD})
