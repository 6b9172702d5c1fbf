"""What runs in every step needs torch, lightning and transformers alone: it works where nothing
else is installed.
"""

import subprocess
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[2]
PROGRAM = """
import sys

# None: there is no such module
sys.modules |= dict.fromkeys(("hydra", "omegaconf", "mlflow", "datasets"))
import torch
from benchmarks.gpu import losses, ours
from benchmarks.gpu_race import Race
import src.model.muon, src.training.precision, src.training.torch_compile

torch.set_num_threads(1)
race = Race(
    "tests", layers=1, width=16, heads=2, row_tokens=32, batch_size=4, vocabulary=100, batches=3
)
cpu = torch.device("cpu")
found = ours(race, cpu, 1, 2)
assert found.tokens == 2 * 4 * 32, found
mine, theirs = losses(race, cpu)
assert abs(mine - theirs) < 0.02, (mine, theirs)
print("trained")
"""


def test_a_step_without_hydra_mlflow_or_datasets() -> None:
    """And the benchmark's own check: our loss is Hugging Face's over all logits, in bf16."""
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.stdout.strip().endswith("trained"), done.stderr[-2000:]


def test_the_benchmark_says_that_there_is_no_gpu() -> None:
    program = (
        "import torch; torch.cuda.is_available = lambda: False; from benchmarks.gpu "
        "import main; exit(main([]))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=PROJECT,
        capture_output=True,
        text=True,
        timeout=300,
        check=False,
    )
    assert done.returncode == 2, done.stderr[-2000:]
    assert done.stdout.startswith("no GPU")
