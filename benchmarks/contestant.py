"""One contestant of a race, in a process of its own: started by `benchmarks/race.py`, not by
hand.
"""

import json
import os
import sys

from benchmarks.race import Clock


def main(arguments: list[str]) -> None:
    spec = json.loads(arguments[0])
    clock = Clock(sys.stdin, os.fdopen(int(arguments[1]), "w"))
    threads = int(arguments[2])
    if spec["who"] in ("P1", "P2"):
        from benchmarks import peers

        peers.train(spec, clock, threads)
    else:
        from benchmarks import ours

        run = {"ours": ours.train, "P3": ours.bare}[spec["who"]]
        run(spec, clock, threads)


if __name__ == "__main__":
    main(sys.argv[1:])
