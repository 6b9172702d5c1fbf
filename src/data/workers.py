"""The processes that make batches, and what they make of a signal."""

import os
import signal
import threading

_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)


def steadfast(number: int) -> None:
    """Work on where a signal goes to all processes of a run, as Ctrl-C in a terminal and a scheduler's SIGTERM do.

    The training process then still gets the batches of the optimizer step that it wants to end before it writes its
    checkpoint. It alone may end this process: its own SIGTERM does, and so does its death, which torch's loop in a
    worker looks for every 5 seconds.

    For a DataLoader's `worker_init_fn`; `number` is that of the worker.
    """
    parent = os.getppid()
    signal.pthread_sigmask(signal.SIG_BLOCK, _SIGNALS)  # threads begun from here on do not hear them either

    def listen() -> None:
        while signal.sigwaitinfo(_SIGNALS).si_pid != parent:
            pass
        os._exit(0)

    threading.Thread(target=listen, name="signals", daemon=True).start()
