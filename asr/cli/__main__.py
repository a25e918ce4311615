"""`python -m asr.cli` is `asr`."""

from asr.cli import main

main()
