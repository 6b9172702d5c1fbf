"""Signals on their way to an ending, and what an exception means for the status."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from src.terms.world import NonFiniteLoss
from src.tracking import ending
from src.tracking.ending import Ending, Signals, Terminated, judge


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as entered:
        yield entered


def send(signum: int, *, later: bool = False, to: Signals | None = None) -> None:
    """A signal; `later` than what counts as an echo of the one before."""
    if later and to is not None:
        to._last_at -= 2
    os.kill(os.getpid(), signum)
    time.sleep(0.01)  # a bytecode at least, in which the handler is called


@pytest.mark.parametrize(
    ("error", "received", "judged"),
    [
        (None, None, Ending("FINISHED")),
        (SystemExit(0), None, Ending("FINISHED")),
        (SystemExit(None), signal.SIGUSR1, Ending("KILLED", "terminated (SIGUSR1)")),
        (KeyboardInterrupt(), None, Ending("KILLED", "interrupted (Ctrl-C)")),
        (SystemExit(None), signal.SIGINT, Ending("KILLED", "interrupted (Ctrl-C)")),
        (Terminated(signal.SIGTERM), None, Ending("KILLED", "terminated (SIGTERM)")),
        (RuntimeError("a worker has died"), signal.SIGTERM, Ending("KILLED", "terminated (SIGTERM)")),
        (ChildProcessError("rank 1 is gone"), signal.SIGTERM, Ending("FAILED", "ChildProcessError: rank 1 is gone")),
        (NonFiniteLoss("nan at step 3"), None, Ending("FAILED", "NonFiniteLoss: nan at step 3")),
        (SystemExit(3), None, Ending("FAILED", "the program ended itself with exit code 3")),
        (ValueError("x" * 600), None, Ending("FAILED", f"ValueError: {'x' * 487}…")),
    ],
)
def test_what_an_ending_means(error: BaseException | None, received: int | None, judged: Ending) -> None:
    assert judge(error, received) == judged


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_ends_the_work_at_once(signals: Signals, signum: signal.Signals) -> None:
    with pytest.raises(Terminated) as caught:
        send(signum)
    assert caught.value.code == 128 + signum and signals.leaving(caught.value) is None


def test_ctrl_c_stays_ctrl_c(signals: Signals) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        send(signal.SIGINT)
    assert signals.leaving(caught.value) is None
    assert type(signals.leaving(RuntimeError("broken by it"))) is KeyboardInterrupt


def test_a_training_is_left_between_two_steps_and_a_second_signal_means_now(
    signals: Signals, capfd: pytest.CaptureFixture[str]
) -> None:
    signals.patient = True
    send(signal.SIGTERM)
    send(signal.SIGTERM)  # handed on by a launcher: the same signal
    assert signals.received == signal.SIGTERM
    assert capfd.readouterr().err == "\nSIGTERM: ends after this optimizer step, with a checkpoint (again: now)\n"
    left = signals.leaving(SystemExit())
    assert isinstance(left, Terminated) and left.code == 143
    with pytest.raises(Terminated):
        send(signal.SIGTERM, later=True, to=signals)


def test_a_step_that_does_not_end_is_left_after_a_while(signals: Signals, monkeypatch: pytest.MonkeyPatch) -> None:
    signals.grace_seconds = 0.01
    monkeypatch.setattr(ending, "_ECHO_SECONDS", 0.0)
    signals.patient = True
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
        time.sleep(5)


def test_a_run_that_is_being_closed_is_closed_in_peace_once(signals: Signals) -> None:
    signals.close()
    send(signal.SIGTERM)
    left = signals.leaving(None)
    assert isinstance(left, Terminated)
    with pytest.raises(Terminated):
        send(signal.SIGTERM, later=True, to=signals)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_has_nothing_to_record(signals: Signals) -> None:
    child = os.fork()
    if child == 0:
        send(signal.SIGTERM)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143


def test_handlers_are_given_back_and_nohup_is_kept() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with Signals() as signals:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            signal.signal(signal.SIGTERM, lambda *_: None)  # as Lightning does when it fits
            signals.take_back()
            assert signal.getsignal(signal.SIGTERM) == signals.handle
        assert signal.getsignal(signal.SIGTERM) != signals.handle
    finally:
        signal.signal(signal.SIGHUP, before)
