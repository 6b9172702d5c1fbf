"""What is typed where a run is expected and names none is answered with what is typed here."""

import pytest

from src.core.user_errors import UserError
from src.runs import explain_action
from src.tracking.foreign_run_names import explain_foreign_run

_ID = "5bd86a1ea5a744beabe2a40586f76d37"


@pytest.mark.parametrize(
    ("typed", "says"),
    [
        ("last", "did you mean 'latest'?"),
        ("true", "did you mean 'latest'?"),
        (f"run={_ID}", f"did you mean '{_ID}'?"),
        (f"a={_ID[:8]}", f"did you mean '{_ID[:8]}'?"),
        (f"mlruns/checkpoints/{_ID}/step=2.ckpt", f"did you mean '{_ID}'?"),
        (f"http://127.0.0.1:5000/#/experiments/1/runs/{_ID}", f"did you mean '{_ID}'?"),
        ("/tmp/last.ckpt", "from its own checkpoints"),
        ("test/accuracy", "--sort test/accuracy"),
        ("best", "--sort test/accuracy"),
        ("vs", "python -m src.compare A B"),
        ("help", "--help"),
    ],
)
def test_a_habit_is_answered(typed: str, says: str) -> None:
    answer = explain_foreign_run(typed)
    assert answer is not None
    assert says in answer


@pytest.mark.parametrize("typed", ["my run", "imdb lr=1e-5", "quickstart", "5bd8"])
def test_names_are_left_alone(typed: str) -> None:
    assert explain_foreign_run(typed) is None


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["rename", _ID, "mine"], "renames"),
        (["tag", _ID, "good"], "tags"),
        ([f"rename={_ID}", "name=mine"], "renames"),
        ([f"delete={_ID}"], "deleted in the UI"),
        (["metrics", _ID], "--json"),
        (["best=test/accuracy"], "--sort"),
    ],
)
def test_a_verb_is_answered_before_a_store_is_opened(arguments: list[str], says: str) -> None:
    with pytest.raises(UserError, match=says):
        explain_action(arguments)


def test_a_word_alone_may_be_the_name_of_a_run() -> None:
    explain_action(["best"])
