"""The node `data.shards`: where the tokens of the training rows lie, in shards."""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Annotated

from src.core.user_errors import UserError
from src.core.validation import Bound, PositiveInt, validate_init

if TYPE_CHECKING:
    from src.core.object_folder import ObjectFolder

PATH_KEY = "data.shards.path"
# 30 MB of a vocabulary of at most 65,536 tokens; a multiple of all usual row lengths
SHARD_TOKENS = 15 << 20


@validate_init
@dataclass(frozen=True, kw_only=True)
class Shards:
    """The tokens of the training rows in shards, of which only some are on this machine at a time.

    Goes with packed rows: `data.task=masked_lm` and `causal_lm`. The rows are those of a corpus
    that is not in shards, and come in another order.

    Args:
        path: a folder, or an address that fsspec knows, such as s3://BUCKET/FOLDER.
        shard_tokens: tokens of a shard, a multiple of `data.batching.row_tokens`.
        window_shards: rows of so many shards meet by chance; more mix better, and more must be on
            this machine.
        cached_shards: so many shards are kept on this machine, twice `window_shards` at least; of a
            folder none is copied.
        outage_seconds: so long a storage that does not answer is asked again, before the run fails.
    """

    path: str
    shard_tokens: PositiveInt = SHARD_TOKENS
    window_shards: PositiveInt = 16
    cached_shards: PositiveInt = 32
    # below the 10 minutes after which a data worker counts as stuck
    outage_seconds: Annotated[float, Bound(least=0, most=500)] = 300

    def __post_init__(self) -> None:
        if not self.path.strip():
            raise UserError("is empty", key=PATH_KEY, colon=False)
        if self.cached_shards < 2 * self.window_shards:
            raise UserError(
                "too few to fetch a window while another one is read",
                key="data.shards.cached_shards",
                value=self.cached_shards,
                expected=f"twice data.shards.window_shards={self.window_shards} at least",
                about=["data.shards.window_shards"],
            )

    def find_row_errors(self, row_tokens: int) -> Iterator[UserError]:
        """The error of shards that would end in the middle of a row."""
        if self.shard_tokens % row_tokens:
            near = max(1, round(self.shard_tokens / row_tokens)) * row_tokens
            yield UserError(
                "a shard would end in the middle of a row",
                key="data.shards.shard_tokens",
                value=self.shard_tokens,
                expected=f"a multiple of data.batching.row_tokens={row_tokens}",
                hint=f"{{key}}={near} fits",
                about=["data.batching.row_tokens"],
            )

    def open_folder(self) -> "ObjectFolder":
        """Where the shards lie. Raises UserError if the library that reads it is not installed."""
        from src.core.object_folder import ObjectFolder

        return ObjectFolder(self.path, key=PATH_KEY, outage_seconds=self.outage_seconds)

    def check(self) -> None:
        """Raise UserError if there is no such place."""
        self.open_folder().check()
