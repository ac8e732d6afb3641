"""Evaluates one model: in the caller's thread, or in a process of its own."""

from __future__ import annotations

import threading
import time

from rdv.analysis.replay.child import ERROR, NOTHING, Evaluated, pack_rows
from rdv.analysis.replay.evaluator import DIED, HUNG, Loading, Process, ProcessEnded, start
from rdv.decision import ModelConfig
from rdv.errors import RdvError
from rdv.models import Model, evaluate, open_model
from rdv.models.model import ModelError
from rdv.rendezvous.messages import Request, encode_request
from rdv.system.child import restart_delay_ms

_INTERRUPTED = "KeyboardInterrupt"


class InThread:
    """Calls a model in the caller's thread. A model that hangs, or ends the process, does so here.

    Raises ModelNotLoaded.
    """

    def __init__(self, directory: str, name: str, config: ModelConfig) -> None:
        self._model: Model = open_model(directory, name, **config.opening())
        self.version = self._model.version
        self._is_whole = self._model.takes == "lines"

    def call(self, request: Request, until_ns: int) -> bytes | ModelError | None:
        """Return the model's outcome; `until_ns` cannot be kept to here. See ModelCaller."""
        del until_ns
        row = encode_request(request) if self._is_whole else request.data
        outcome = evaluate(self._model, (row,))[0]
        if type(outcome) is bytes:
            return outcome
        if isinstance(outcome, ModelError) and outcome.reason == _INTERRUPTED:
            raise KeyboardInterrupt  # `predict_batch` takes it for an error of the model
        return outcome if isinstance(outcome, ModelError) else None

    def close(self) -> None:
        self._model.close()


class Isolated:
    """Calls a model in a process of its own, and waits for it no longer than the decision.

    A process that has not answered yet reports nothing on later requests until it has. One that
    ends, or is busy for longer than `predict_timeout_ms`, is replaced in the background, at growing
    intervals until it answers again. Raises ModelNotLoaded.
    """

    def __init__(self, directory: str, name: str, config: ModelConfig) -> None:
        self._loading = Loading(
            directory,
            name,
            config.opening(),
            config.start_timeout_ms,
            config.predict_timeout_ms,
            tuple(config.env),
        )
        self._process: Process | None = start(self._loading)
        self.version = self._process.hello.version
        self._is_whole = self._process.hello.takes == "lines"
        self._busy_since_s: float | None = None
        self._starting: threading.Thread | None = None
        self._fault = ""
        self._failures = 0
        """How often it has been started since its last answer."""
        self._closed = threading.Event()

    def call(self, request: Request, until_ns: int) -> bytes | ModelError | None:
        """Return the model's outcome, if it comes by `until_ns`. See ModelCaller."""
        process = self._process
        if time.monotonic_ns() >= until_ns:
            return None
        if process is None:
            return ModelError(self._fault or "the model is being started again", "exit")
        try:
            if self._busy_since_s is not None and not self._is_free(process):
                return None
            row = encode_request(request) if self._is_whole else bytes(request.data)
            process.send(pack_rows([row]))
            self._busy_since_s = time.monotonic()
            evaluated = self._await(process, until_ns)
        except ProcessEnded as error:
            self._replace(process)
            return ModelError(DIED.format(how=error), "exit")
        return None if evaluated is None else _outcome(evaluated)

    def _is_free(self, process: Process) -> bool:
        """Return whether the process has answered what it was asked before. Raises ProcessEnded."""
        if process.exchange(0.0):
            self._busy_since_s, self._failures = None, 0
            return True
        assert self._busy_since_s is not None
        busy_s = time.monotonic() - self._busy_since_s
        if busy_s > self._loading.predict_timeout_ms / 1000:
            process.end(gently=False)
            self._replace(process, HUNG)
        return False

    def _await(self, process: Process, until_ns: int) -> Evaluated | None:
        """Return what comes back by `until_ns`. Raises ProcessEnded."""
        while (left_ns := until_ns - time.monotonic_ns()) > 0:
            if found := process.exchange(left_ns / 1e9):
                self._busy_since_s, self._failures = None, 0
                return found[0]
        return None

    def _replace(self, process: Process, fault: str = "") -> None:
        """Start another process, in a thread: callers get answers of other models meanwhile."""
        process.end(gently=False)
        self._process, self._busy_since_s, self._fault = None, None, fault
        self._starting = threading.Thread(target=self._start, name="rdv-start", daemon=True)
        self._starting.start()

    def _start(self) -> None:
        """Start it, again and again until it is loaded or this is closed."""
        while not self._closed.wait(restart_delay_ms(self._failures) / 1000):
            self._failures += 1
            try:
                process = start(self._loading)
            except RdvError as error:
                self._fault = error.text()
            except Exception as error:  # noqa: BLE001 - such as no room for a process
                self._fault = f"it cannot be started: {str(error) or type(error).__name__}"
            else:
                if self._closed.is_set():
                    process.end(gently=False)
                else:
                    self._fault, self.version = "", process.hello.version
                    self._is_whole = process.hello.takes == "lines"
                    self._process = process
                return

    def close(self) -> None:
        """End the process, and wait for one that is being started."""
        self._closed.set()
        if self._starting is not None:
            self._starting.join()
        process, self._process = self._process, None
        if process is not None:
            process.end(gently=self._busy_since_s is None)


def _outcome(evaluated: Evaluated) -> bytes | ModelError | None:
    code, text = evaluated.codes[0], evaluated.texts[0]
    if code == ERROR:
        return ModelError(text.decode(errors="replace"))
    return None if code == NOTHING else text
