import os
import subprocess
import sys
from pathlib import Path

import soundfile

ROOT = Path(__file__).parent.parent.parent


def test_peers_are_measured_without_our_torch(tmp_path):
    soundfile.write(tmp_path / "a.flac", [0.0] * 8000, 8000)
    code = (
        "import sys, peer_process; peer_process.read_audio('a.flac', peer_process.SAMPLE_RATE);"
        " print('torch' in sys.modules, peer_process.peak_memory_mb() < 200)"
    )
    path = os.pathsep.join(map(str, (ROOT, ROOT / "tests" / "benchmarks")))
    done = subprocess.run(
        [sys.executable, "-c", code],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": path},
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    )
    assert done.stdout.split() == ["False", "True"]
