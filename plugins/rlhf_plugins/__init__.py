"""The built-in trainers, registered through the same entry points as anyone's."""

import os

BEFORE_TORCH = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "ONEDNN_PRIMITIVE_CACHE_CAPACITY": "64",
    "LRU_CACHE_CAPACITY": "64",
}
"""What torch's libraries read when they are loaded.

On a busy machine spinning threads make a step many times slower. oneDNN, and torch's layer above it, keep what they
made for each of the last 1024 shapes of a product; packed rows have a new one in almost every step, which fills a GiB.
"""

for _name, _value in BEFORE_TORCH.items():
    os.environ.setdefault(_name, _value)
