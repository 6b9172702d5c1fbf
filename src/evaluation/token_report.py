"""The report of a masked language model: loss and accuracy of the masked tokens by their position,
by how often they stand in the training text, and by their part in the word.
"""

from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from src.evaluation.intervals import find_share_interval
from src.evaluation.judgement import Judgement
from src.evaluation.report_page import Section
from src.evaluation.token_plots import plot_token_kinds
from src.evaluation.token_tally import WORD_PARTS, TokenSums, TokenTally

_POSITION_BINS = 16
# of the normal distribution, for 95 %
_DEVIATIONS = 1.96
_REMARKS = (
    "Intervals of 95 % take masked tokens for independent of each other; those of one document are "
    "not quite, so that they are somewhat too narrow.",
    "unigram loss: that of a model which knows only how frequent each token is in training.",
)


def judge_tokens(tally: TokenTally, train_counts: np.ndarray) -> Judgement:
    """Tables, pictures and sections of a tally of at least one token.

    Args:
        train_counts: how often each token of the vocabulary stands in the training rows [V].
    """
    judged = Judgement({}, {}, {}, [])
    edges, groups = _bin_positions(len(tally.by_position.count))
    positions = tally.by_position.group(groups, len(edges) - 1)
    names = [f"{low} to {high - 1}" for low, high in pairwise(edges)]
    _add_part(
        judged,
        "token_position",
        "position",
        names,
        positions,
        "By position in the document, or in what of it stands in a row",
        "Early tokens have nothing to their left, and the last ones nothing to their right.",
    )
    names, groups = _bin_frequencies(train_counts)
    _add_part(
        judged,
        "token_frequency",
        "times_in_training",
        names,
        tally.by_token.group(groups, len(names)),
        "By how often the token stands in the training text",
        "Counted over all tokens of the training rows, whatever was masked there.",
    )
    if tally.by_part.count.any():
        _add_part(
            judged,
            "word_part",
            "part_of_word",
            list(WORD_PARTS),
            tally.by_part,
            "By part of the word",
            "A word is a run of letters and digits as the vocabulary marks it; a piece of one is "
            "told by the others beside it, which masks of single tokens leave to be read.",
        )
    judged.sections[0] = judged.sections[0]._replace(
        lines=(f"{tally.count:,} masked tokens.", *_REMARKS, *judged.sections[0].lines)
    )
    return judged


def _add_part(
    judged: Judgement,
    name: str,
    column: str,
    values: Sequence[str],
    sums: TokenSums,
    title: str,
    line: str,
) -> None:
    table = tabulate_sums(column, values, sums)
    judged.tables[name] = table
    judged.figures[name] = plot_token_kinds(table, column, title)
    judged.sections.append(Section(title, (line,), name, name))


def tabulate_sums(column: str, values: Sequence[str], sums: TokenSums) -> dict[str, list]:
    """Tokens, loss and accuracy of each kind with their intervals, and the loss of a model that
    knows frequencies alone. Kinds without a token are left out; the interval of the loss of a
    single token is not known.

    Args:
        column: what the kinds are.
        values: their names.
    """
    names = ("tokens", "loss", "loss_low", "loss_high", "unigram_loss", "accuracy", "low", "high")
    table: dict[str, list] = {column: [], **{name: [] for name in names}}
    for place, value in enumerate(values):
        count = int(sums.count[place])
        if not count:
            continue
        mean, right = sums.loss[place] / count, sums.right[place]
        interval = find_share_interval(right, count)
        assert interval is not None
        low = high = None
        if count > 1:
            variance = max(0.0, sums.squared_loss[place] / count - mean**2) * count / (count - 1)
            half = _DEVIATIONS * float(np.sqrt(variance / count))
            low, high = max(0.0, float(mean) - half), float(mean) + half
        unigram = float(sums.unigram_loss[place]) / count
        row = (value, count, float(mean), low, high, unigram, float(right) / count, *interval)
        for key, cell in zip(table, row, strict=True):
            table[key].append(cell)
    return table


def _bin_positions(size: int) -> tuple[list[int], np.ndarray]:
    """The borders of bins of about equal width, and the bin of each position."""
    borders = np.unique(np.linspace(0, size, min(size, _POSITION_BINS) + 1).round().astype(int))
    return borders.tolist(), np.searchsorted(borders, np.arange(size), side="right") - 1


def _bin_frequencies(counts: np.ndarray) -> tuple[list[str], np.ndarray]:
    """The names of bins a factor of ten wide, with one for tokens that never occur, and the bin of
    each token.
    """
    # by digits, since a logarithm of 1,000 may fall below 3
    edges = 10 ** np.arange(1 + len(str(int(counts.max(initial=0)))))
    groups = np.searchsorted(edges, counts, side="right")
    names = ["never", *(f"{low:,} to {low * 10 - 1:,}" for low in edges.tolist())]
    return names[: int(groups.max(initial=0)) + 1], groups
