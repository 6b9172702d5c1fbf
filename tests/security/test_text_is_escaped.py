"""What names and labels say is shown as text: in MLflow's notes, tables and pictures."""

import io
import json

import pytest

from src.evaluation.plots import plot_confusion_matrix
from src.tracking.mlflow_format import escape_markdown, format_code_block, table_to_json
from src.tracking.run_start import build_run_tags

HOSTILE = "<img src=x onerror=alert(1)> **bold** [a](javascript:b) `c` ![d](e) | ~~f~~"


def test_a_note_shows_a_hostile_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        "src.tracking.environment.format_command_line",
        lambda: f"python -m src.run name='``` {HOSTILE}'",
    )
    name = f"imdb {HOSTILE}\n\n# heading"
    note = build_run_tags("finetune", name, None, None, {}, is_resumed=False)["mlflow.note.content"]
    first, _, code = note.partition("\n\n")
    assert first == (
        r"**finetune**: imdb &lt;img src=x onerror=alert(1)&gt; \*\*bold\*\* \[a\](javascript:b) "
        r"\`c\` \!\[d\](e) \| "
        r"\~\~f\~\~ \# heading"
    )
    assert code.startswith("````\npython") and code.endswith("\n````")


def test_ordinary_names_stay_readable() -> None:
    assert escape_markdown("imdb optim.lr=3e-05 max_steps=5") == "imdb optim.lr=3e-05 max_steps=5"
    assert format_code_block("python -m src.run") == "```\npython -m src.run\n```"


def test_tables_hold_labels_as_data() -> None:
    assert json.loads(table_to_json({"label": [HOSTILE, "</script>"]}))["data"] == [
        [HOSTILE],
        ["</script>"],
    ]


@pytest.mark.parametrize("label", ["$x_{", r"$\undefined$", "a\nb", HOSTILE])
def test_pictures_take_any_label(label: str) -> None:
    picture = io.BytesIO()
    plot_confusion_matrix([[1, 0], [0, 1]], [label, "ok"]).savefig(picture, dpi=20)
    assert picture.tell() > 0
