"""Sweeps made up for tests of what is told of them: every state, sizes from none to hundreds, the
same every time.
"""

import math
import random

from src.search.trials import TrialRecord, TrialStatus

KEYS = ["model.optim.lr", "model.optim.weight_decay", "model/optim/schedule"]
LOGS = {"model.optim.lr"}
_STATES: tuple[TrialStatus, ...] = ("finished", "pruned", "finished", "failed", "finished")


def trials(count: int, *, metrics: int = 1) -> list[TrialRecord]:
    """The last one runs, where there are more than three."""
    draw = random.Random(1)
    rows = []
    for number in range(count):
        lr = 10 ** draw.uniform(-6, -3)
        params = dict(
            zip(
                KEYS,
                (lr, draw.choice(["0", "0.01", "0.1"]), draw.choice(["linear", "cosine"])),
                strict=True,
            )
        )
        value = 0.3 + 0.1 * (math.log10(lr) + 4.5) ** 2
        state = (
            "running"
            if number == count - 1 > 2
            else _STATES[number % 5]
            if metrics == 1
            else "finished"
        )
        validations = {"finished": 4, "pruned": 2, "failed": 1, "running": 2, "waiting": 0}[state]
        reports = {step: value + 1 / step for step in range(1, validations + 1)}
        values = (
            tuple((value, 1 - value**2, draw.random())[:metrics]) if state == "finished" else None
        )
        about = {"run_id": f"{number:032x}"} | (
            {"reason": "out of <memory> & more"} if state == "failed" else {}
        )
        rows.append(
            TrialRecord(
                number, state, params, values, reports, about, number * 10.0, number * 10.0 + 8
            )
        )
    return rows
