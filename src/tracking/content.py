"""What the UI understands: notes, tables and data sets in MLflow's own shapes."""

import html
import json
import math
import re
from collections.abc import Mapping, Sequence
from typing import Any


def table_json(columns: Mapping[str, Sequence[Any]]) -> str:
    """Columns of one length as MLflow's table file (pandas' "split" orientation)."""
    lengths = {name: len(values) for name, values in columns.items()}
    if len(set(lengths.values())) > 1:
        raise ValueError(f"columns of a table differ in length: {lengths}")
    names = [name.replace(".", "/") for name in columns]
    rows = zip(*columns.values(), strict=True)
    return json.dumps({"columns": names, "data": [[_plain(value) for value in row] for row in rows]})


def dataset_entry(
    name: str, digest: str, rows: int, source: str, schema: Mapping[str, str], profile: Mapping[str, Any]
) -> dict[str, str]:
    """The arguments of MLflow's `Dataset` entity. MLflow takes 36 characters of a digest; the profile has it whole."""
    kind, place = _source(source)
    columns = [{"name": column, "type": kind, "required": True} for column, kind in schema.items()]
    return {
        "name": name,
        "digest": digest[:36],
        "source_type": kind,
        "source": json.dumps(place),
        "schema": json.dumps({"mlflow_colspec": columns}),
        "profile": json.dumps({"num_rows": rows, "digest": digest, **profile}, default=str),
    }


def note_text(text: str) -> str:
    """`text` as a line of Markdown that shows it as it is: a run's name is no mark-up, and no HTML."""
    return re.sub(r"([\\`*\[\]!|#~])", r"\\\1", html.escape(" ".join(text.split()), quote=False))


def note_code(text: str) -> str:
    """`text` as a block of code, fenced by more backticks than it holds in a row."""
    fence = "`" * max(3, 1 + max(map(len, re.findall("`+", text)), default=0))
    return f"{fence}\n{text}\n{fence}"


def _source(source: str) -> tuple[str, dict[str, str]]:
    if source.startswith(("http://", "https://")):
        return "http", {"url": source}
    if source.startswith("hf://"):
        return "hf", {"path": source.removeprefix("hf://")}
    return "local", {"uri": source}


def _plain(value: Any) -> Any:
    """A cell as JSON knows it: numbers of numpy and torch as Python's, and what is not a finite number as null."""
    value = value.item() if hasattr(value, "item") else value
    return None if isinstance(value, float) and not math.isfinite(value) else value
