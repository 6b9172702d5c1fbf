"""How much code of this project a short run passes through: `python -m benchmarks.run_path`.

Runs the default experiment for two optimizer steps in a temporary store and counts the functions
and class bodies of `src` that are entered, and the files that they stand in, in all threads of the
run's process. A reader who follows a run has at most these to open.
"""

import contextlib
import sys
import tempfile
import threading
from pathlib import Path
from types import CodeType, FrameType
from typing import Any

SOURCE = Path(__file__).resolve().parents[1] / "src"


def trace_run() -> set[CodeType]:
    """Run two steps; returns the code objects of `src` that were entered."""
    entered: set[CodeType] = set()

    def note_call(frame: FrameType, event: str, _: Any) -> None:
        if event == "call":
            entered.add(frame.f_code)

    with tempfile.TemporaryDirectory() as folder:
        sys.argv = [str(SOURCE / "run.py"), "trainer.max_steps=2", f"tracking.root={folder}"]
        threading.setprofile(note_call)
        sys.setprofile(note_call)
        try:
            import runpy

            with contextlib.suppress(SystemExit):
                runpy.run_module("src.run", run_name="__main__")
        finally:
            sys.setprofile(None)
            threading.setprofile(None)
    return {code for code in entered if Path(code.co_filename).is_relative_to(SOURCE)}


def main() -> None:
    entered = trace_run()
    named = {code for code in entered if not code.co_name.startswith("<")}
    files = {code.co_filename for code in entered}
    print(f"{len(named)} functions and class bodies in {len(files)} files")


if __name__ == "__main__":
    main()
