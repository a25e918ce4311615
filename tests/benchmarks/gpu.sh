#!/usr/bin/env bash
# All measurements on a GPU in at most eight minutes: tests, agreement with the CPU, AN4 from its
# audio to its word error rate, speed. Prints a table and writes it to exp/gpu/table.md.
#
#   bash tests/benchmarks/gpu.sh [--device cpu] [--epochs N] [--data-root DIR] [--out DIR]
#
# `--device cpu` does the same on the CPU, slowly and with few epochs.
set -euo pipefail
cd "$(dirname "$0")/../.."
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
exec timeout --signal=INT "${GPU_SECONDS:-480}" python tests/benchmarks/gpu.py "$@"
