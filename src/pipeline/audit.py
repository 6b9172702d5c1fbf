"""Audits of a run's model: of groups of rows, of pairs of sentences, and of what it gives away
about its training rows.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from src.core.formatting import format_quantity
from src.core.user_errors import UserError, format_suggestion
from src.evaluation.group_audit import (
    LEAST_ROWS,
    Gap,
    GroupRate,
    TemplateChange,
    compare_templates,
    find_largest_gap,
    measure_rates,
)
from src.evaluation.intervals import find_share_interval
from src.evaluation.membership import MembershipProbe, probe_membership
from src.pipeline.prediction.answer_scores import ClassScore, LabelSetScore

if TYPE_CHECKING:
    from src.data.datamodule import TextDataModule
    from src.data.tokenization.token_store import TokenStore
    from src.model.encoder import Encoder
    from src.pipeline.earlier_model import EarlierModel
    from src.pipeline.prediction.file_prediction import FilePrediction
    from src.pipeline.prediction.predictor import Predictor

_NO_GROUP = "(none)"
_MOST_MEMBERS = 2000
# of the tokens of a text, as in validation
_MASKED_SHARE = 0.15


class GroupAudit(NamedTuple):
    """How a model treats the groups of a table.

    Attributes:
        rows: that were answered.
        label: the answer whose rates are compared.
        rates: by measure, the rate of each group.
        gaps: the largest gap of each measure.
        templates: what changes with the group alone; None without templates.
    """

    rows: int
    label: str
    rates: dict[str, list[GroupRate]]
    gaps: list[Gap]
    templates: TemplateChange | None

    def describe(self) -> Iterator[str]:
        for measure, rates in self.rates.items():
            yield f"{measure}:"
            width = min(max(len(rate.group) for rate in rates), 40)
            for rate in rates:
                yield f"  {rate.group[:width]:<{width}}  {_format_rate(rate)}"
        for gap in self.gaps:
            if not gap.difference:
                yield f"no gap in {gap.measure}: {gap.highest.share:.3f} in all groups"
                continue
            p_value = "" if gap.p_value is None else f", all alike p = {gap.p_value:.2g}"
            yield (
                f"largest gap in {gap.measure}: {gap.highest.group} {gap.highest.share:.3f}, "
                f"{gap.lowest.group} {gap.lowest.share:.3f}: {gap.difference:.3f} "
                f"({gap.interval.low:.3f} to {gap.interval.high:.3f}{p_value})"
            )
        small = {
            rate.group for rates in self.rates.values() for rate in rates if rate.rows < LEAST_ROWS
        }
        if small:
            yield (
                f"note: {format_quantity(len(small), 'group')} with fewer than {LEAST_ROWS} rows "
                "of a kind take no part in that gap"
            )
        if self.templates is not None:
            yield from _describe_templates(self.templates, self.label)


class PairAudit(NamedTuple):
    """Which of two sentences a masked LM finds likelier.

    Attributes:
        rates: by kind of pair, how often the first one, "all" last.
        ties: pairs of equal likelihood, which are counted nowhere.
    """

    rates: list[GroupRate]
    ties: int

    def describe(self) -> Iterator[str]:
        yield "the first sentence is likelier in (0.5: neither is preferred):"
        width = min(max(len(rate.group) for rate in self.rates), 40)
        for rate in self.rates:
            yield f"  {rate.group[:width]:<{width}}  {_format_rate(rate)}"
        if self.ties:
            yield f"{format_quantity(self.ties, 'pair')} of equal likelihood left out"


def audit_groups(
    prediction: "FilePrediction",
    predictor: "Predictor",
    *,
    group: str,
    template: str,
    label: str,
) -> GroupAudit:
    """Answer all rows of a table and compare its groups.

    Args:
        group: the column that names them.
        template: the column that names the template of a row; "" without.
        label: the answer whose rates are compared; "" for the last of the model's labels.
    """
    label = label or predictor.label_names[-1]
    if label not in predictor.label_names:
        raise UserError(
            "there is no such label",
            key="label",
            value=label,
            hint=format_suggestion(label, predictor.label_names),
        )
    score = prediction.score
    labels = score.labels if isinstance(score, ClassScore | LabelSetScore) else None
    groups, templates, answers, given_labels, values, truths = [], [], [], [], [], []
    for record, columns, answer in prediction.iter_answers(predictor):
        if answer is None or record.unreadable is not None:
            continue
        groups.append(_read_cell(columns, group, "group"))
        templates.append(_read_cell(columns, template, "template") if template else "")
        answers.append(answer.predicted)
        values.append(answer.probabilities[label])
        given_labels.append(answer.labels or (answer.predicted,))
        truths.append(None if labels is None else labels.find_names(record))
    given = np.array([label in one for one in given_labels])
    everything = np.ones(len(groups), dtype=bool)
    rates = {f"share answered '{label}'": measure_rates(groups, given, everything)}
    truth = np.array([names is not None and label in names for names in truths])
    known = np.array([names is not None for names in truths])
    if known.any():
        right = given == truth
        rates["accuracy"] = measure_rates(groups, right, known)
        if truth.any():
            rates[f"missed '{label}' (of those that are)"] = measure_rates(groups, ~given, truth)
        if (known & ~truth).any():
            rates[f"false '{label}' (of those that are not)"] = measure_rates(
                groups, given, known & ~truth
            )
    gaps = [find_largest_gap(measure, found) for measure, found in rates.items()]
    changed = compare_templates(templates, groups, answers, values) if template else None
    return GroupAudit(len(groups), label, rates, [gap for gap in gaps if gap is not None], changed)


def audit_pairs(
    rows: Sequence[Mapping[str, Any]],
    model: "EarlierModel",
    *,
    first: str,
    second: str,
    group: str,
) -> PairAudit:
    """Compare how likely a masked LM finds the sentences of each row, by the tokens that both have
    (Nangia et al. 2020).

    Args:
        rows: with all columns.
        first, second: the columns of the sentences.
        group: the column that names the kind of a pair; "" without.
    """
    from transformers import AutoTokenizer

    from src.core.pretrained_files import load_from_hub_or_folder
    from src.data.preparation.cleaning import Cleaning
    from src.data.rows.records import RawRecord
    from src.data.tokenization.tokenizer import TextTokenizer
    from src.model.pseudo_likelihood import find_shared_tokens, score_tokens
    from src.model.stored_encoder import load_encoder

    tokenizer = TextTokenizer(
        load_from_hub_or_folder(AutoTokenizer.from_pretrained, str(model.folder), key="run")
    )
    encoder = load_encoder(model.folder, "masked_lm").eval()
    mask_id = tokenizer.mask_id
    assert mask_id is not None
    cleaning = Cleaning(**model.inference_config["cleaning"])
    limit = model.inference_config["max_tokens"]
    wins, totals, ties = Counter[str](), Counter[str](), 0
    for row in rows:
        sentences = [_read_cell(row, column, "first") for column in (first, second)]
        cleaned = [
            cleaning.normalize_record(RawRecord(text, None, None, "")).text for text in sentences
        ]
        encoded, _, _ = tokenizer.encode(cleaned, None, limit, "head")
        one, other = (ids.tolist() for ids in encoded)
        special = set(tokenizer.special_ids)
        places = [
            [place for place in shared if ids[place] not in special]
            for shared, ids in zip(find_shared_tokens(one, other), (one, other), strict=True)
        ]
        likelihoods = [
            score_tokens(encoder, ids, chosen, mask_id)
            for ids, chosen in zip((one, other), places, strict=True)
        ]
        if likelihoods[0] == likelihoods[1]:
            ties += 1
            continue
        for name in ("all", *([_read_cell(row, group, "group")] if group else [])):
            totals[name] += 1
            wins[name] += likelihoods[0] > likelihoods[1]
    names = [*sorted(set(totals) - {"all"}), "all"]
    return PairAudit(
        [
            GroupRate(name, wins[name], totals[name], find_share_interval(wins[name], totals[name]))
            for name in names
        ],
        ties,
    )


def audit_membership(datamodule: "TextDataModule", predictor: "Predictor") -> MembershipProbe:
    """Compare the losses of training rows and of test rows of a run, at most 2,000 of each."""
    losses = [
        predictor.compute_losses(store, _choose_rows(len(store)))
        for store in _list_compared_stores(datamodule)
    ]
    return probe_membership(*losses)


def audit_text_membership(
    datamodule: "TextDataModule", encoder: "Encoder", max_tokens: int | None
) -> MembershipProbe:
    """The same for a masked language model: the losses of 15 % of the tokens of a text, which are
    masked as `draw_fixed_mask` says.

    Args:
        max_tokens: how much of the beginning of a text is read.
    """
    from src.model.metrics.masked_losses import draw_fixed_mask, measure_masked_losses

    tokenizer = datamodule.tokenizer
    assert tokenizer.mask_id is not None
    losses = []
    for store in _list_compared_stores(datamodule):
        texts, masks = [], []
        for place in _choose_rows(len(store)).tolist():
            begin, end = store.offsets[place : place + 2].tolist()
            ids = store.ids[begin : end if max_tokens is None else min(end, begin + max_tokens)]
            mask = draw_fixed_mask(ids, tokenizer.special_ids, _MASKED_SHARE, seed=place)
            if len(mask):
                texts.append(ids)
                masks.append(mask)
        losses.append(measure_masked_losses(encoder, texts, masks, tokenizer.mask_id))
    return probe_membership(*losses)


def _list_compared_stores(datamodule: "TextDataModule") -> "list[TokenStore]":
    """The training rows of a run, and others."""
    stores = datamodule.token_stores
    held_out = next((name for name in ("test", "validation") if name in stores), None)
    if held_out is None:
        raise UserError("the run has no rows that it was not trained on", key="run")
    return [stores["train"], stores[held_out]]


def describe_membership(found: MembershipProbe) -> Iterator[str]:
    """The probe in words."""
    yield (
        f"loss of rows trained on {found.train_loss:.4f}, of rows held out "
        f"{found.held_out_loss:.4f}"
    )
    yield (
        f"a training row has the smaller loss in {found.auc:.3f} of pairs "
        f"({found.interval.low:.3f} to {found.interval.high:.3f}; 0.5 gives nothing away)"
    )
    yield (
        f"who guesses membership by the loss is right {found.advantage:.3f} more often among "
        "training rows than wrong among others"
    )
    if found.interval.low > 0.5:
        yield (
            "the model tells who was in its training data to whoever can ask it for "
            "probabilities; rows of the two sets that differ in kind would show the same"
        )


def _choose_rows(count: int) -> np.ndarray:
    """Rows evenly spread over a split."""
    return np.unique(np.linspace(0, count - 1, min(count, _MOST_MEMBERS)).astype(int))


def _read_cell(columns: Mapping[str, Any], name: str, key: str) -> str:
    if name not in columns:
        raise UserError(
            "there is no such column",
            key=key,
            value=name,
            hint=format_suggestion(name, [str(column) for column in columns]),
        )
    value = columns[name]
    return _NO_GROUP if value is None or not str(value).strip() else str(value)


def _format_rate(rate: GroupRate) -> str:
    if rate.share is None or rate.interval is None:
        return "no rows"
    ends = f"{rate.interval.low:.3f} to {rate.interval.high:.3f}"
    return f"{rate.share:.3f}  ({ends})  {rate.hits:,} of {rate.rows:,}"


def _describe_templates(found: TemplateChange, label: str) -> Iterator[str]:
    if not found.templates or found.interval is None or found.largest is None:
        yield "no template stands with two groups"
        return
    yield (
        f"with another group in the same template the answer changes in {found.flipped:,} of "
        f"{found.templates:,} templates: {found.flipped / found.templates:.3f} "
        f"({found.interval.low:.3f} to {found.interval.high:.3f})"
    )
    template, spread, high, low = found.largest
    yield (
        f"the probability of '{label}' differs by {found.mean_spread:.3f} in the mean, and by "
        f"{spread:.3f} in template {template} ({high} above {low})"
    )
