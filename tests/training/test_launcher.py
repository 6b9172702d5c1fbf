"""How ranks begin and end: what the others are told, and what is said of one that dies or does not
answer.
"""

import signal
import subprocess
import sys
import textwrap
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from src.core.run_ending import classify_ending
from src.training.launcher import LostRank, RankInfo, RankLauncher


def _nothing(error: BaseException) -> None:
    pass


def several(script: str, *, size: int = 2) -> RankLauncher:
    """Ranks whose others run a few lines instead of the program."""
    command = (sys.executable, "-c", textwrap.dedent(script))
    return RankLauncher(
        RankInfo(world_size=size, local_world_size=size),
        threads_per_rank=1,
        on_rank_failure=_nothing,
        command=command,
    )


def wait_for(condition: Callable[[], bool]) -> None:
    until = time.monotonic() + 30
    while not condition():
        assert time.monotonic() < until
        time.sleep(0.02)


def test_the_others_are_told_what_the_first_knows(tmp_path: Path) -> None:
    script = f"""
        import os, sys
        line = sys.stdin.readline()
        open({str(tmp_path)!r} + "/" + sys.argv[-1], "w").write(os.environ["RANK"] + " " + line)
    """
    with several(script, size=3) as others:
        others.send_config({"seed": 1}, origin=None)
    said = [(tmp_path / str(rank)).read_text() for rank in (1, 2)]
    assert said == [
        f'{rank} {{"config": {{"seed": 1}}, "port": {others.port}, "origin": null}}\n'
        for rank in (1, 2)
    ]


def test_a_rank_that_fails_ends_the_first_with_its_words(
    capsys: pytest.CaptureFixture[str],
) -> None:
    group = several("raise ValueError('odd weather')")
    with (
        pytest.raises(
            LostRank, match=r"^rank 1 of 2 \(process \d+\) failed: ValueError: odd weather$"
        ),
        group,
    ):
        # interrupted
        time.sleep(30)
    assert "rank 1: Traceback" in capsys.readouterr().err


def test_of_several_the_one_that_was_killed_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    # it may meet the other one while this one still lives
    monkeypatch.setattr(RankLauncher, "_watch_ranks", lambda _: None)
    script = """
        import os, signal, sys
        os.kill(os.getpid(), signal.SIGKILL) if sys.argv[-1] == "2" else sys.exit(1)
    """
    group = several(script, size=3)
    with pytest.raises(LostRank, match=r"^rank 2 of 3 .* was killed by SIGKILL"), group:
        wait_for(lambda: all(each.poll() is not None for each in group._processes.values()))
        raise RuntimeError("Connection closed by peer")


def test_an_error_of_the_first_rank_stays_its_own_and_ends_the_others() -> None:
    group = several("import time; time.sleep(60)")
    with pytest.raises(RuntimeError, match="^own$"), group:
        raise RuntimeError("own")
    assert [each.poll() for each in group._processes.values()] == [-signal.SIGKILL]


def test_a_dead_rank_is_a_failure_though_a_launcher_then_sends_signals() -> None:
    group = RankLauncher(
        RankInfo(rank=0, world_size=2, is_launched_externally=True),
        threads_per_rank=1,
        on_rank_failure=_nothing,
    )
    with pytest.raises(LostRank, match="another of 2 ranks is gone") as lost, group:
        raise RuntimeError("[gloo/transport/tcp/pair.cc:537] Connection closed by peer")
    assert classify_ending(lost.value, signal.SIGTERM).status == "FAILED"


@pytest.mark.parametrize(
    ("words", "begun", "size", "said"),
    [
        (
            "[/x/gloo/transport/tcp/unbound_buffer.cc:81] Timed out waiting 5000ms for recv "
            "operation to complete",
            True,
            2,
            "rank 1 of 2 did not answer for 5 s (trainer.rank_timeout_seconds)",
        ),
        (
            "wait timeout after 5000ms, keys: /default_pg/0//cpu//0/1; timed out",
            True,
            3,
            "one of 3 ranks did not answer for 5 s (trainer.rank_timeout_seconds)",
        ),
        (
            "Timed out after 601 seconds waiting for clients. 1/2 clients joined.",
            False,
            2,
            "rank 1 of 2 was not ready to train within 600 s",
        ),
    ],
)
def test_a_rank_that_does_not_answer_is_put_into_words(
    words: str, begun: bool, size: int, said: str
) -> None:
    group = RankLauncher(
        RankInfo(world_size=size, is_launched_externally=True),
        threads_per_rank=1,
        on_rank_failure=_nothing,
        timeout_seconds=5,
    )
    group.has_training_begun = begun
    with pytest.raises(LostRank) as lost, group:
        raise RuntimeError(words)
    assert str(lost.value) == said
    assert str(lost.value.__cause__) == words
    assert classify_ending(lost.value).status == "FAILED"


def test_a_loader_that_is_slow_is_no_rank() -> None:
    group = RankLauncher(
        RankInfo(world_size=2, is_launched_externally=True),
        threads_per_rank=1,
        on_rank_failure=_nothing,
    )
    with pytest.raises(RuntimeError, match="DataLoader timed out"), group:
        raise RuntimeError("DataLoader timed out after 5 seconds")


def test_signals_are_as_before() -> None:
    before = signal.getsignal(signal.SIGUSR1)
    with several("pass"):
        assert signal.getsignal(signal.SIGUSR1) != before
    assert signal.getsignal(signal.SIGUSR1) == before


def test_a_first_rank_that_does_not_answer_is_ended_by_force() -> None:
    script = """
        import signal, sys, time
        from src.training import launcher
        launcher.GRACE_SECONDS = 0.2
        # as if it waited inside a library
        signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
        group = launcher.RankLauncher(
            launcher.RankInfo(world_size=2, local_world_size=2), threads_per_rank=1,
            on_rank_failure=lambda error: print("FAILED", error, flush=True),
            command=(sys.executable, "-c", "raise SystemExit(3)"),
        )
        with group:
            time.sleep(30)
    """
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(script)], capture_output=True, text=True, timeout=25
    )
    assert done.returncode == 1
    assert done.stdout.startswith("FAILED rank 1 of 2")
    assert "ended with exit code 3; rank 0 did not answer for 0.2 s" in done.stderr
