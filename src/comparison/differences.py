"""What differs between groups of runs, and nothing else."""

from collections.abc import Sequence
from typing import NamedTuple

from src.comparison.run_groups import Columns, RunFacts, RunGroup, list_varying_keys


class Difference(NamedTuple):
    """A key with the values that each group has for it, of its runs in their order; None for a run
    that has none.
    """

    key: str
    values: list[tuple[str | None, ...]]


class Differences(NamedTuple):
    """Differences by what they are of.

    `within` names the keys that vary inside groups alone, such as seeds.
    """

    configuration: list[Difference]
    code: list[Difference]
    environment: list[Difference]
    data: list[Difference]
    within: list[str]


def find_differences(groups: Sequence[RunGroup], facts: RunFacts) -> Differences:
    """Compare the groups; runs that repeat another one are left out."""
    within: list[str] = []

    def compare(columns: Columns) -> list[Difference]:
        found = []
        for key in list_varying_keys(columns):
            column = columns[key]
            values = [
                tuple(dict.fromkeys(column[place] for place in group.places)) for group in groups
            ]
            if len({frozenset(some) for some in values}) > 1:
                found.append(Difference(key, values))
            elif len(values[0]) > 1:
                within.append(key)
        return found

    return Differences(
        compare(facts.params),
        compare(facts.code),
        compare(facts.environment),
        compare(facts.data),
        within,
    )
