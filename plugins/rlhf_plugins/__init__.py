"""The built-in trainers, registered through the same entry points as anyone's."""

import os

# Read by OpenMP when torch is first imported: on a busy machine spinning threads make a step many times slower.
os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
