"""Runs the enricher, which adds outside state to `data` once, before the models see it.

Its file is loaded in a thread. A file that cannot be loaded changes nothing: the one before stays,
and a proxy that starts with it passes its requests on unchanged.
"""

from __future__ import annotations

import asyncio
import importlib.util
import logging
import os
import queue
import re
import sys
import threading
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import msgspec
import orjson

from rdv.clock import SYSTEM_CLOCK
from rdv.coded import NO_FAULT, Coded, coded, of_error
from rdv.decision import Decision
from rdv.decision.features import HttpFeatures, RedisFeatures
from rdv.errors import InputFault
from rdv.http.shares import Shares
from rdv.models.model import describe
from rdv.rendezvous.messages import InvalidModelResult, Request, encode_model_result
from rdv.serve.failures import Failures
from rdv.serve.process import start_thread, user_code_thread
from rdv.serve.proxy.features import FeatureEnricher, HttpLookup, Lookup, RedisLookup

log = logging.getLogger("rdv.proxy")

WAITING_MAX = 64
"""The maximum number of requests that wait for the enricher; further ones go on unchanged."""

THREADS_MAX = 4

Enrich = Callable[[Any], Any]

LOAD_WAIT_S = 5.0
"""How long a starting proxy waits for its enricher, in seconds, before it serves without it."""


class EnricherNotLoaded(InputFault):
    """An enricher of rdv.toml cannot be loaded; `spec` is the value of `key`."""

    spec: str
    reason: str
    key: str = "http.enrich"

    _text = "{key} = {spec!r}: {reason}"


def load_enricher(directory: str, spec: str) -> Enrich:
    """Load `models/profile.py:enrich`, data → data. Thread-safe. Raises EnricherNotLoaded."""
    path, _, name = spec.partition(":")
    place = Path(directory, path)
    module_spec = importlib.util.spec_from_file_location("rdv_enricher", place)
    if module_spec is None or module_spec.loader is None:
        raise EnricherNotLoaded(spec, "give it as models/FILE.py:FUNCTION")
    module = importlib.util.module_from_spec(module_spec)
    # Without a lock: a file whose import never ends would block all others.
    sys.path.insert(0, str(place.parent))
    try:
        module_spec.loader.exec_module(module)
        function: Enrich = getattr(module, name or "enrich")
    except BaseException as error:  # its code may raise anything
        raise EnricherNotLoaded(spec, describe(error)) from error
    finally:
        with suppress(ValueError):  # its code may have changed the list
            sys.path.remove(str(place.parent))
    if not callable(function):
        raise EnricherNotLoaded(spec, f"{name or 'enrich'} is not a function")
    return function


def forget_modules(folder: str) -> None:
    """Drop the modules in `folder`, so that edited helpers of the enricher are imported anew."""
    inside = str(Path(folder).resolve()) + "/"
    for name, module in list(sys.modules.items()):
        file = getattr(module, "__file__", None)
        if isinstance(file, str) and str(Path(file).resolve()).startswith(inside):
            del sys.modules[name]


@dataclass
class EnricherCounts:
    """Counts the requests by what became of them."""

    enriched: int = 0
    failed: int = 0
    late: int = 0


class Enricher:
    """Runs the function in a thread, for at most `timeout_ms`; then the request goes on unchanged.

    For the loop's thread. A call that hangs keeps its thread: once as many hang as there are
    threads, all requests go on unchanged. Each thread loads the file for itself, the first one with
    `load`, a further one once the others are busy: what is made at the import is used in one thread
    only. Threads that hang do not keep a process from ending.
    """

    def __init__(
        self, load: Callable[[], Enrich], timeout_ms: float, client_share: float = 1.0
    ) -> None:
        self.counts = EnricherCounts()
        self.failures = Failures("the enricher", SYSTEM_CLOCK, log, "enricher_failed")
        self._load = load
        self._own = threading.local()
        self._timeout_s = timeout_ms / 1000
        self._loop = asyncio.get_running_loop()
        self._threads = UserCodeThreads("rdv-enrich", THREADS_MAX)
        self._shares = Shares(WAITING_MAX, client_share)

    def load(self, done: Callable[[EnricherNotLoaded | None], None]) -> None:
        """Start loading; return at once. `done` is called on the loop after success or failure."""

        def work() -> None:
            failed = None
            try:
                self._function()
            except EnricherNotLoaded as error:
                failed = error
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(partial(done, failed))

        self._threads.submit(work)

    def _function(self) -> Enrich:
        """Return the function of this thread."""
        found: Enrich | None = getattr(self._own, "enrich", None)
        if found is None:
            found = self._own.enrich = self._load()
        return found

    def enrich(self, request: Request, holder: str, done: Callable[[Request], None]) -> None:
        """Call `done` within the limit, with the enriched request or the unchanged one.

        `holder`: the client of the request; one client cannot have all places.
        """
        if not self._shares.admits(holder):
            self.counts.late += 1
            done(request)
            return
        self._shares.take(holder)
        is_over = False

        def late() -> None:
            nonlocal is_over
            is_over = True
            self.counts.late += 1
            why = f"no result within {self._timeout_s * 1000:g} ms"
            self.failures.note(1, 1, why, "enricher_failed")
            done(request)

        timer = self._loop.call_later(self._timeout_s, late)

        def finished(data: msgspec.Raw | str) -> None:
            self._shares.give(holder)
            if is_over:
                return
            timer.cancel()
            if isinstance(data, str):
                self.counts.failed += 1
                self.failures.note(1, 1, data, "enricher_failed")
                done(request)
            else:
                self.counts.enriched += 1
                self.failures.note(1, 0, "", "enricher_failed")
                done(msgspec.structs.replace(request, data=data))

        def work() -> None:
            data = self._call(request)
            with suppress(RuntimeError):  # the loop has ended
                self._loop.call_soon_threadsafe(finished, data)

        self._threads.submit(work)

    def _call(self, request: Request) -> msgspec.Raw | str:
        """Return the enriched data, or why there is none."""
        try:
            return encode_model_result(self._function()(orjson.loads(bytes(request.data))))
        except InvalidModelResult as error:
            return f"its {error.where} {error.reason}"
        except BaseException as error:  # noqa: BLE001  a user's code
            return describe(error)

    def retire(self) -> None:
        """Accept no more requests; those that wait are still enriched."""
        self._threads.end()

    def close(self) -> None:
        """Accept no more requests, and drop those that wait."""
        self._threads.drop()
        self._threads.end()


class UserCodeThreads:
    """Runs up to `count` threads for user code, each started once the others are busy.

    Its methods are for one thread.
    """

    def __init__(self, name: str, count: int) -> None:
        self._name = name
        self._count = count
        self._work: queue.SimpleQueue[Callable[[], None] | None] = queue.SimpleQueue()
        self._idle = threading.Semaphore(0)
        self._started = 0

    def submit(self, work: Callable[[], None]) -> None:
        """Have a free thread call `work`, or the next one that is free."""
        self._work.put(work)
        if not self._idle.acquire(blocking=False) and self._started < self._count:
            self._started += 1
            start_thread(user_code_thread(f"{self._name}-{self._started}", self._run))

    def _run(self) -> None:
        while (work := self._work.get()) is not None:
            work()
            self._idle.release()

    def drop(self) -> None:
        """Drop the work that waits."""
        with suppress(queue.Empty):
            while True:
                self._work.get_nowait()

    def end(self) -> None:
        """End the threads, once they have done the work that waits."""
        for _ in range(self._started):
            self._work.put(None)


class EnricherChain:
    """Enriches a request by one after the other. For the loop's thread."""

    def __init__(self, links: Sequence[FeatureEnricher | Enricher]) -> None:
        self.links = links
        self._count = 0
        """The number of requests that have not left the last link yet."""
        self._is_retired = False

    def enrich(self, request: Request, holder: str, done: Callable[[Request], None]) -> None:
        """Call `done` with the enriched request, within the time limits of all of them."""
        self._count += 1
        self._go_on(0, holder, done, request)

    def _go_on(
        self, number: int, holder: str, done: Callable[[Request], None], request: Request
    ) -> None:
        if number < len(self.links):
            further = partial(self._go_on, number + 1, holder, done)
            self.links[number].enrich(request, holder, further)
            return
        self._count -= 1
        done(request)
        self._end_if_empty()

    def retire(self) -> None:
        """Accept no more requests; those that wait are still enriched, by all further links."""
        self._is_retired = True
        self._end_if_empty()

    def _end_if_empty(self) -> None:
        if self._is_retired and not self._count:
            for link in self.links:
                link.retire()

    def close(self) -> None:
        """Accept no more requests, and drop those that wait."""
        for link in self.links:
            link.close()


def feature_enrichers(
    decision: Decision,
) -> tuple[list[FeatureEnricher], list[EnricherNotLoaded]]:
    """Return those of [enrich_redis] and [enrich_http], and why others cannot be used."""
    found: list[FeatureEnricher] = []
    faults: list[EnricherNotLoaded] = []
    redis, http = decision.enrich_redis, decision.enrich_http
    makers: list[tuple[str, RedisFeatures | HttpFeatures, Callable[[], Lookup]]] = [
        ("redis", redis, partial(_redis_lookup, redis)),
        ("http", http, partial(_http_lookup, http)),
    ]
    for name, settings, make in makers:
        if settings.is_declared:
            try:
                found.append(FeatureEnricher(name, settings, make()))
            except EnricherNotLoaded as error:
                faults.append(error)
    return found, faults


def _redis_lookup(settings: RedisFeatures) -> RedisLookup:
    """Raise EnricherNotLoaded, which shows no password."""
    key, shown = "enrich_redis.url", re.sub(r"//.*@", "//…@", settings.url)
    if not settings.url:
        key, shown = "enrich_redis.url_from", settings.url_from
    url = settings.url or _variable(key, shown)
    try:
        return RedisLookup(settings, url)
    except ImportError as error:
        raise EnricherNotLoaded(shown, f"{error}; pip install 'rdv[redis]'", key) from None
    except ValueError:  # its text may show a part of the password
        reason = "it is not the address of a Redis server, such as redis://10.0.0.7:6379/0"
        raise EnricherNotLoaded(shown, reason, key) from None


def _http_lookup(settings: HttpFeatures) -> HttpLookup:
    """Raise EnricherNotLoaded, which does not show the header."""
    key, name = "enrich_http.authorization_from", settings.authorization_from
    value = _variable(key, name) if name else ""
    if not (value.isascii() and value.isprintable()):
        raise EnricherNotLoaded(name, "its value has characters that no header may have", key)
    return HttpLookup(settings, value)


def _variable(key: str, name: str) -> str:
    """Return the value of an environment variable. Raises EnricherNotLoaded."""
    value = os.environ.get(name, "").strip()
    if not value:
        reason = "the variable is not set, or `env` in rdv.toml does not name it"
        raise EnricherNotLoaded(name, reason, key)
    return value


class EnricherLoader:
    """Loads enrichers, and passes them to `take` when they are loaded; None removes them.

    For the loop's thread.
    """

    def __init__(self, take: Callable[[EnricherChain | None], None]) -> None:
        self.fault = NO_FAULT
        """Why the configured enricher is not in use."""
        self._take = take
        self._wanted: Enricher | None = None
        self._features: list[FeatureEnricher] = []
        self._features_fault = NO_FAULT
        self._is_there = False
        self._settled = asyncio.Event()

    def want(self, decision: Decision) -> None:
        """Load the enricher of these settings. A later call wins."""
        http = decision.http
        self._wanted = None
        self._features, faults = feature_enrichers(decision)
        for error in faults:
            log.warning("%s; requests go on without it", error.text(), extra=coded(error))
        self.fault = self._features_fault = of_error(faults[0]) if faults else NO_FAULT
        if not http.enrich:
            self._put(None)
            return
        load = partial(load_enricher, decision.directory, http.enrich)
        enricher = Enricher(_anew(decision, load), http.enrich_timeout_ms, http.client_share)
        self._wanted = enricher
        text = f"http.enrich = {http.enrich!r}: still being loaded"
        self.fault = Coded("enricher_loading", text)
        enricher.load(partial(self._loaded, enricher, http.enrich))

    def _loaded(self, enricher: Enricher, name: str, error: EnricherNotLoaded | None) -> None:
        if enricher is not self._wanted:  # edited meanwhile
            enricher.close()
            return
        self._settled.set()
        if error is None:
            self.fault = self._features_fault
            self._put(enricher)
            log.info("the enricher is %s", name)
            return
        enricher.close()
        if self._features and not self._is_there:
            self._put(None)
        self.fault = of_error(error)
        rest = "the one before stays" if self._is_there else "requests go on as they are"
        log.warning("%s; %s", self.fault.text, rest, extra=coded(error))

    def _put(self, enricher: Enricher | None) -> None:
        links: list[FeatureEnricher | Enricher] = [*self._features]
        if enricher is not None:
            links.append(enricher)
        if not links and self._is_there:
            log.info("the enricher has been removed")
        self._is_there = bool(links)
        self._settled.set()
        self._take(EnricherChain(links) if links else None)

    def figures(self) -> dict[str, object]:
        """Return the fault for the status line; usually nothing."""
        fault = self.fault
        for one in (*self._features, self._wanted):
            if not fault.code and one is not None:
                fault = one.failures.trouble
        if not fault.code:
            return {}
        return {"enricher_fault": fault.text, "enricher_fault_code": fault.code}

    async def settled(self) -> None:
        """Wait for the first one, for LOAD_WAIT_S at most."""
        try:
            await asyncio.wait_for(self._settled.wait(), LOAD_WAIT_S)
        except TimeoutError:
            text = "%s; requests go on as they are until it is there"
            log.warning(text, self.fault.text, extra=coded(self.fault))

    def close(self) -> None:
        if self._wanted is not None:
            self._wanted.close()


def _anew(decision: Decision, load: Callable[[], Enrich]) -> Callable[[], Enrich]:
    """Return `load`, whose first call imports the modules beside the file anew."""
    folder = os.path.dirname(decision.path(decision.http.enrich.partition(":")[0]))
    is_first = True

    def loaded() -> Enrich:
        nonlocal is_first
        if is_first:
            is_first = False
            forget_modules(folder)
        return load()

    return loaded
