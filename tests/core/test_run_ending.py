"""Signals on their way to an ending, and what an exception means for the status."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from src.core import run_ending as signals_module
from src.core.failures import NonFiniteLoss
from src.core.run_ending import RunEnding, SignalHandler, TerminatedBySignal, classify_ending


@pytest.fixture
def signals() -> Iterator[SignalHandler]:
    with SignalHandler() as entered:
        yield entered


def send(signum: int, *, later: bool = False, to: SignalHandler | None = None) -> None:
    """A signal; `later` than what counts as an echo of the one before."""
    if later and to is not None:
        to._last_at -= 2
    os.kill(os.getpid(), signum)
    # a bytecode at least, in which the handler is called
    time.sleep(0.01)


@pytest.mark.parametrize(
    ("error", "received", "judged"),
    [
        (None, None, RunEnding("FINISHED")),
        (SystemExit(0), None, RunEnding("FINISHED")),
        (SystemExit(None), signal.SIGUSR1, RunEnding("KILLED", "terminated (SIGUSR1)")),
        (KeyboardInterrupt(), None, RunEnding("KILLED", "interrupted (Ctrl-C)")),
        (SystemExit(None), signal.SIGINT, RunEnding("KILLED", "interrupted (Ctrl-C)")),
        (TerminatedBySignal(signal.SIGTERM), None, RunEnding("KILLED", "terminated (SIGTERM)")),
        (
            RuntimeError("a worker has died"),
            signal.SIGTERM,
            RunEnding("KILLED", "terminated (SIGTERM)"),
        ),
        (
            ChildProcessError("rank 1 is gone"),
            signal.SIGTERM,
            RunEnding("FAILED", "ChildProcessError: rank 1 is gone"),
        ),
        (NonFiniteLoss("nan at step 3"), None, RunEnding("FAILED", "NonFiniteLoss: nan at step 3")),
        (SystemExit(3), None, RunEnding("FAILED", "the program ended itself with exit code 3")),
        (ValueError("x" * 600), None, RunEnding("FAILED", f"ValueError: {'x' * 487}…")),
    ],
)
def test_what_an_ending_means(
    error: BaseException | None, received: int | None, judged: RunEnding
) -> None:
    assert classify_ending(error, received) == judged


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2])
def test_a_signal_ends_the_work_at_once(signals: SignalHandler, signum: signal.Signals) -> None:
    with pytest.raises(TerminatedBySignal) as caught:
        send(signum)
    assert caught.value.code == 128 + signum and signals.exception_to_raise(caught.value) is None


def test_ctrl_c_stays_ctrl_c(signals: SignalHandler) -> None:
    with pytest.raises(KeyboardInterrupt) as caught:
        send(signal.SIGINT)
    assert signals.exception_to_raise(caught.value) is None
    assert type(signals.exception_to_raise(RuntimeError("broken by it"))) is KeyboardInterrupt


def test_a_training_is_left_between_two_steps_and_a_second_signal_means_now(
    signals: SignalHandler, capfd: pytest.CaptureFixture[str]
) -> None:
    signals.may_finish_step = True
    send(signal.SIGTERM)
    # handed on by a launcher: the same signal
    send(signal.SIGTERM)
    assert signals.received_signal == signal.SIGTERM
    assert (
        capfd.readouterr().err
        == "\nSIGTERM: ends after this optimizer step, with a checkpoint (again: now)\n"
    )
    left = signals.exception_to_raise(SystemExit())
    assert isinstance(left, TerminatedBySignal) and left.code == 143
    with pytest.raises(TerminatedBySignal):
        send(signal.SIGTERM, later=True, to=signals)


def test_a_step_that_does_not_end_is_left_after_a_while(
    signals: SignalHandler, monkeypatch: pytest.MonkeyPatch
) -> None:
    signals.grace_seconds = 0.01
    monkeypatch.setattr(signals_module, "_DUPLICATE_SECONDS", 0.0)
    signals.may_finish_step = True
    with pytest.raises(KeyboardInterrupt):
        send(signal.SIGINT)
        time.sleep(5)


def test_a_run_that_is_being_closed_is_closed_in_peace_once(signals: SignalHandler) -> None:
    signals.begin_closing()
    send(signal.SIGTERM)
    left = signals.exception_to_raise(None)
    assert isinstance(left, TerminatedBySignal)
    with pytest.raises(TerminatedBySignal):
        send(signal.SIGTERM, later=True, to=signals)


@pytest.mark.filterwarnings("ignore:This process .* is multi-threaded:DeprecationWarning")
def test_a_child_process_has_nothing_to_record(signals: SignalHandler) -> None:
    child = os.fork()
    if child == 0:
        send(signal.SIGTERM)
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 143


def test_handlers_are_given_back_and_nohup_is_kept() -> None:
    before = signal.signal(signal.SIGHUP, signal.SIG_IGN)
    try:
        with SignalHandler() as signals:
            assert signal.getsignal(signal.SIGHUP) is signal.SIG_IGN
            # as Lightning does when it fits
            signal.signal(signal.SIGTERM, lambda *_: None)
            signals.restore_sigterm_handler()
            assert signal.getsignal(signal.SIGTERM) == signals.handle_signal
        assert signal.getsignal(signal.SIGTERM) != signals.handle_signal
    finally:
        signal.signal(signal.SIGHUP, before)
