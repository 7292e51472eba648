"""`python -m rlhf_console` is `rlhf`."""

from rlhf_console.cli import main

main()
