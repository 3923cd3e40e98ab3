"""`python -m services.quant.backtest.optimise.worker FD PARENT`: a process that runs points until its parent ends.

Started as a program of its own, not by multiprocessing, which would import the caller's main module into it.
"""

import resource
import signal
import sys
from multiprocessing.connection import Connection
from typing import Any

from services.kernel.runtime.parent_death import end_with_parent


def main() -> None:
    """Serve the connection on the file descriptor: a Setup comes first, then tasks; None ends it."""
    descriptor, parent = map(int, sys.argv[1:3])
    # Ctrl-C reaches the whole group of processes: the parent alone says when a worker ends.
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    end_with_parent(parent)
    sys.dont_write_bytecode = True
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with Connection(descriptor) as connection:
        serve(connection)


def serve(connection: "Connection[Any, Any]") -> None:
    """Answer with the class's description or the BacktestError, READY, then one Answer a task."""
    from services.quant.backtest.job import BacktestError
    from services.quant.backtest.optimise.evaluator import Evaluator
    from services.quant.backtest.optimise.point import READY

    try:
        evaluator = Evaluator(connection.recv())
        connection.send(evaluator.description)
        evaluator.prepare()
        connection.send(READY)
        while (task := connection.recv()) is not None:
            connection.send(evaluator.evaluate(task))
    except BacktestError as error:
        connection.send((str(error), error.field))
    except (EOFError, BrokenPipeError, ConnectionResetError):
        return  # the parent is gone


if __name__ == "__main__":
    main()
