"""Palimpsest from other folders and from Python: `palimpsest ...` in a shell, and

    from palimpsest import compose, run

The program itself is the package `src`, which lies beside this one in a checkout and inside of it
where `pip install` has put it. Nothing heavy is imported here.
"""

from palimpsest.api import RunOutcome, UserError, compose, resume, run

__all__ = ["RunOutcome", "UserError", "compose", "resume", "run"]
