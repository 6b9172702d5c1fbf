"""What names and labels say is shown as text: in MLflow's notes, tables and pictures."""

import io
import json

import pytest

from src.evaluation.figures import confusion_figure
from src.tracking.content import note_code, note_text, table_json
from src.tracking.description import tags

HOSTILE = "<img src=x onerror=alert(1)> **bold** [a](javascript:b) `c` ![d](e) | ~~f~~"


def test_a_note_shows_a_hostile_name_as_it_is(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.tracking.surroundings.command", lambda: f"python -m src.run name='``` {HOSTILE}'")
    note = tags("finetune", f"imdb {HOSTILE}\n\n# heading", None, None, again=False)["mlflow.note.content"]
    first, _, code = note.partition("\n\n")
    assert first == (
        r"**finetune**: imdb &lt;img src=x onerror=alert(1)&gt; \*\*bold\*\* \[a\](javascript:b) \`c\` \!\[d\](e) \| "
        r"\~\~f\~\~ \# heading"
    )
    assert code.startswith("````\npython") and code.endswith("\n````")


def test_ordinary_names_stay_readable() -> None:
    assert note_text("imdb optim.lr=3e-05 max_steps=5") == "imdb optim.lr=3e-05 max_steps=5"
    assert note_code("python -m src.run") == "```\npython -m src.run\n```"


def test_tables_hold_labels_as_data() -> None:
    assert json.loads(table_json({"label": [HOSTILE, "</script>"]}))["data"] == [[HOSTILE], ["</script>"]]


@pytest.mark.parametrize("label", ["$x_{", r"$\undefined$", "a\nb", HOSTILE])
def test_pictures_take_any_label(label: str) -> None:
    picture = io.BytesIO()
    confusion_figure([[1, 0], [0, 1]], [label, "ok"]).savefig(picture, dpi=20)
    assert picture.tell() > 0
