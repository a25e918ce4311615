"""`python -m asr.cli` is `asr`."""

from asr.cli.app import main

main()
