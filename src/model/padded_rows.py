"""Sequences in padded rows, for networks that run by their own forward in transformers.

Where padding stands matters more than one would think: XLNet judges a text by the last place of its
row, others by the first, Funnel merges a text's last tokens with the padding behind them, and FNet
takes padding for text. So a network that is not known is asked: the side on which padding changes
nothing is the one that it gets, and where there is none, texts of one length share rows.

Shape legend: B sequences, T tokens of all of them, K wanted tokens; of one group of rows: n rows,
L places of a row.
"""

import copy
from collections.abc import Iterator
from inspect import signature
from typing import Any, Literal, NamedTuple

import torch
from torch import Tensor
from transformers import PreTrainedModel

from src.core.batch import Tokens, build_tokens
from src.core.user_errors import UserError
from src.model.reading_direction import build_direction_error

# None: rows hold no padding
PaddingSide = Literal["right", "left"] | None
# by how much the texts that a network is tried on are longer than the shortest that it can read;
# odd and even, since some networks halve a text
_TRIAL_LENGTHS = (4, 8, 5, 2)
# tokens; a network that cannot read so many cannot read any
_LONGEST_TRIAL = 32
# of the largest logit; rounding in fp32 is a hundredth of it
_TOLERANCE = 1e-4


class RowGroup(NamedTuple):
    """Sequences that go through a network together."""

    rows: Tensor  # [n], their numbers in the batch
    is_token: Tensor  # [n, L], false at padding
    indices: Tensor  # of their tokens in the flat batch, row by row

    def pad(self, flat: Tensor, fill: int) -> Tensor:
        """[T] to [n, L]."""
        rows = flat.new_full(self.is_token.shape, fill)
        return rows.masked_scatter(self.is_token, flat[self.indices])


class PaddedRows:
    """Runs a network of transformers, or its body, on flat tokens.

    Args:
        network: with the head of a task.
        judges_texts: the head gives one answer for each text, not for each token.
    """

    def __init__(self, network: PreTrainedModel, *, judges_texts: bool) -> None:
        self.network = network
        self.judges_texts = judges_texts
        self.side: PaddingSide = "right"
        # shorter texts are padded to it: Funnel cannot halve one token
        self.shortest_row = 1
        # scores over the vocabulary are computed for wanted tokens alone
        self.selects_tokens = False

    def try_network(self, *, finds_side: bool, is_causal: bool) -> None:
        """Find the side of the padding, and check that the network reads in one direction, if so
        is said; each raises a UserError.
        """
        if finds_side:
            self.find_side()
        if is_causal:
            self.check_causality()

    def find_side(self) -> None:
        """Choose the side of the padding by trying both, on a copy of the network, which may change
        itself with the first row that it reads (BigBird does).

        Raises:
            UserError: the network cannot judge a text alone.
        """
        trial = PaddedRows(copy.deepcopy(self.network).eval(), judges_texts=self.judges_texts)
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            trial.side = None
            trial._find_shortest_row()
            tokens = trial._build_trial_tokens(
                [trial.shortest_row + length for length in _TRIAL_LENGTHS]
            )
            alone = trial.compute_logits(tokens)
            self.side, self.shortest_row = None, trial.shortest_row
            for trial.side in ("right", "left"):
                if trial._gives(alone, tokens):
                    self.side = trial.side
                    break
            if not self.judges_texts:
                trial.side, trial.selects_tokens = self.side, True
                wanted = torch.tensor([9, 0, 4, 9])
                self.selects_tokens = trial._gives(alone[wanted], tokens, wanted)

    def check_causality(self) -> None:
        """Raise UserError if a token's answer depends on a later token, as in families that read in
        both directions: to predict the next token they would look at it.
        """
        trial = PaddedRows(copy.deepcopy(self.network).eval(), judges_texts=False)
        trial.side, trial.shortest_row = self.side, self.shortest_row
        length = self.shortest_row + max(_TRIAL_LENGTHS)
        tokens = trial._build_trial_tokens([length])
        changed = tokens._replace(ids=torch.cat((tokens.ids[:-1], tokens.ids[:1])))
        with torch.no_grad(), torch.random.fork_rng(devices=[]):
            before, after = (trial.compute_logits(some)[:-1] for some in (tokens, changed))
        if (before - after).abs().max() > _TOLERANCE * before.abs().max():
            raise build_direction_error(self.network.config.model_type, "model.encoder: ")

    def _find_shortest_row(self) -> None:
        """Find the length from which on the network can read a text."""
        for length in range(1, _LONGEST_TRIAL + 1):
            try:
                self.compute_logits(self._build_trial_tokens([length]))
            except UserError:
                raise
            except Exception as error:
                # whatever a network misses
                reason = next(iter(str(error).splitlines()), type(error).__name__)
            else:
                self.shortest_row = length
                return
        raise UserError(
            f"model.encoder: a network of the family '{self.network.config.model_type}' cannot be "
            f"given texts alone: {reason}"
        )

    def _gives(self, expected: Tensor, tokens: Tokens, at: Tensor | None = None) -> bool:
        try:
            found = self.compute_logits(tokens, at)
        except Exception:
            # some count on rows without padding, or have a last layer of another kind
            return False
        difference = (found - expected).abs().max().item()
        return difference <= _TOLERANCE * expected.abs().max().item()

    def _build_trial_tokens(self, of_lengths: list[int]) -> Tokens:
        """Texts with tokens from all over the vocabulary."""
        config = _get_text_config(self.network)
        special = {config.pad_token_id, *self._end_ids}
        usual = [token_id for token_id in range(config.vocab_size) if token_id not in special]
        total = sum(of_lengths)
        ids = torch.tensor([usual[place * 7919 % len(usual)] for place in range(1, total + 1)])
        lengths = torch.tensor(of_lengths)
        for end_id in self._end_ids:
            ids[lengths.cumsum(0) - 1] = end_id
        return build_tokens(ids, lengths)

    @property
    def _end_ids(self) -> list[int]:
        """The token by whose last one an encoder-decoder judges a text, if it does."""
        config = self.network.config
        is_asked = config.is_encoder_decoder and self.judges_texts
        return [config.eos_token_id] if is_asked and isinstance(config.eos_token_id, int) else []

    def compute_logits(
        self, tokens: Tokens, at: Tensor | None = None, type_ids: Tensor | None = None
    ) -> Tensor:
        """What the network's head gives: [B, C], or for a head for tokens [T, C].

        Args:
            at: positions in the flat batch, for [K, C] of a head for tokens.
            type_ids: [T], if the network takes them.
        """
        groups = list(self._group_rows(tokens))
        arguments = {"token_type_ids": type_ids}
        if at is not None and self.selects_tokens:
            return self._compute_logits_of_selected(tokens, at, groups, arguments)
        logits = [self._run(self.network, group, tokens, arguments).logits for group in groups]
        if self.judges_texts:
            return _put_in_order(logits, [group.rows for group in groups])
        return self._put_tokens_in_order(logits, groups, at)

    def _compute_logits_of_selected(
        self,
        tokens: Tokens,
        at: Tensor,
        groups: list[RowGroup],
        arguments: dict[str, Tensor | None],
    ) -> Tensor:
        """The same [K, C], where the last product is computed for these tokens alone: their states
        take the place of all states on the way into the output layer.
        """
        layer: Any = self.network.get_output_embeddings()
        is_wanted = torch.zeros_like(tokens.ids, dtype=torch.bool)
        is_wanted[at] = True
        logits, numbers = [], []
        for group in groups:
            chosen = is_wanted[group.indices]
            mask = group.is_token.masked_scatter(group.is_token, chosen)
            select = lambda module, inputs, mask=mask: (inputs[0][mask][None], *inputs[1:])
            hook = layer.register_forward_pre_hook(select)
            try:
                logits.append(self._run(self.network, group, tokens, arguments).logits[0])
            finally:
                hook.remove()
            numbers.append(group.indices[chosen])
        # where the scores of each token of the flat batch stand
        flat = torch.cat(numbers)
        places = torch.zeros_like(tokens.ids)
        places[flat] = torch.arange(len(flat), device=flat.device)
        return torch.cat(logits).index_select(0, places[at])

    def compute_states(self, body: Any, tokens: Tokens, type_ids: Tensor | None = None) -> Tensor:
        """Last hidden states [T, D] of the network's body."""
        groups = list(self._group_rows(tokens))
        arguments = {"token_type_ids": type_ids}
        states = [self._run(body, group, tokens, arguments).last_hidden_state for group in groups]
        return self._put_tokens_in_order(states, groups, None)

    def _run(
        self, model: Any, group: RowGroup, tokens: Tokens, arguments: dict[str, Tensor | None]
    ) -> Any:
        known = signature(model.forward).parameters
        given: dict[str, Any] = {
            name: group.pad(flat, 0) for name, flat in arguments.items() if flat is not None
        }
        if "attention_mask" in known:
            given["attention_mask"] = group.is_token.long()
        if "use_cache" in known:
            given["use_cache"] = False
        # any id will do where the config names no padding: attention ignores it
        ids = group.pad(tokens.ids, _get_text_config(self.network).pad_token_id or 0)
        return model(**{model.main_input_name: ids}, **given)

    def _group_rows(self, tokens: Tokens) -> Iterator[RowGroup]:
        lengths = tokens.cu_seqlens.diff().long()
        every = torch.arange(len(lengths), device=lengths.device)
        if self.side is None:
            groups = [every[lengths == length] for length in lengths[lengths > 0].unique()]
        elif self._end_ids:
            # such networks want as many in every row
            counts = self._count_end_tokens(tokens)
            groups = [every[counts == count] for count in counts.unique()]
        else:
            yield self._build_group(tokens, every, lengths, tokens.max_seqlen)
            return
        for rows in groups:
            yield self._build_group(tokens, rows, lengths[rows], int(lengths[rows].max()))

    def _count_end_tokens(self, tokens: Tokens) -> Tensor:
        """[B]. Raises UserError if a sequence has none."""
        is_end = torch.isin(tokens.ids, tokens.ids.new_tensor(self._end_ids))
        passed = torch.nn.functional.pad(is_end.cumsum(0), (1, 0))
        counts = passed[tokens.cu_seqlens.long()].diff()
        if not counts.all():
            raise UserError(
                f"the family '{self.network.config.model_type}' judges a text by its end token "
                f"(id {self._end_ids[0]}), and the tokenizer puts none behind the texts "
                "(data.tokenizer)"
            )
        return counts

    def _build_group(self, tokens: Tokens, rows: Tensor, lengths: Tensor, longest: int) -> RowGroup:
        longest = max(longest, self.shortest_row)
        places = torch.arange(longest, device=rows.device)
        first = (longest - lengths)[:, None] if self.side == "left" else 0
        is_token = (places >= first) & (places < first + lengths[:, None])
        begins = tokens.cu_seqlens.long()[rows][:, None]
        return RowGroup(rows, is_token, (begins + places - first)[is_token])

    def _put_tokens_in_order(
        self, rows: list[Tensor], groups: list[RowGroup], at: Tensor | None
    ) -> Tensor:
        flat = [states[group.is_token] for states, group in zip(rows, groups, strict=True)]
        ordered = _put_in_order(flat, [group.indices for group in groups])
        return ordered if at is None else ordered.index_select(0, at)


def _get_text_config(network: PreTrainedModel) -> Any:
    return network.config.get_text_config()


def _put_in_order(parts: list[Tensor], numbers: list[Tensor]) -> Tensor:
    """Rows of several parts by their numbers, lowest first."""
    if len(parts) == 1:
        return parts[0]
    return torch.cat(parts)[torch.cat(numbers).argsort()]
