"""Runs the proxy as a process, with the settings and access rules that rdv.toml gives it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import signal
from collections.abc import Callable, Mapping
from dataclasses import asdict
from functools import partial
from http import HTTPStatus
from typing import Protocol

import uvloop

from rdv.clock import SYSTEM_CLOCK
from rdv.coded import coded
from rdv.decision import Decision, InvalidDecision
from rdv.decision.accepted import Accepted, Source, accept_first
from rdv.decision.schedules import longest_wait_ms
from rdv.decision.schema_check import SchemaChecker, read_tree
from rdv.decision.streams import Streams, open_streams
from rdv.decision.watching import Watch
from rdv.errors import SystemFault
from rdv.http import Access, HttpServer, Limits, Router, make_access
from rdv.http import Request as HttpRequest
from rdv.http.access import LOOPBACK_HOSTS, is_loopback
from rdv.http.authority import host_port
from rdv.rendezvous.messages import RequestIds
from rdv.rendezvous.model_selection import ModelSelection
from rdv.rendezvous.schedule import SLA_MS_MAX, Schedule
from rdv.rendezvous.schedule.cohort import Cohorts
from rdv.rendezvous.topology import proxy_name
from rdv.serve.outbox import Outbox
from rdv.serve.process import allow_files, guard_process, host_name, tune_collector
from rdv.serve.proxy.enricher import EnricherLoader
from rdv.serve.proxy.idempotency import IdempotencyKeys, IdempotencyLimits, IdempotencyMiddleware
from rdv.serve.proxy.idempotency_restore import restore
from rdv.serve.proxy.intake import InlineRules, ScheduleChoice
from rdv.serve.proxy.oip import Inference
from rdv.serve.proxy.oip_rest import OipHandler
from rdv.serve.proxy.openapi.handler import OpenApiHandler
from rdv.serve.proxy.outcomes import OUTCOMES_WAIT_MS, OutcomeHandler
from rdv.serve.proxy.proxy import Proxy, Settings
from rdv.serve.proxy.readiness import ModelStates, Readiness, draining, readiness, wanted_models
from rdv.serve.proxy.shared_counts import SharedCounts
from rdv.serve.status import StatusWriter
from rdv.system.orphans import stop_without_parent

HEALTH_PATHS = ("/livez", "/readyz")
"""Load balancers and orchestrators request these by whatever name they know the machine."""
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  not bound


log = logging.getLogger("rdv.proxy")

FILES_BESIDE = 512
"""Files that a proxy has open beside its connections: streams, FIFOs, refused connections."""

DRAIN_GRACE_S = 2.0
"""Time beyond the longest SLA, for slow clients to read their answers."""

ANSWER_GRACE_MS = 5_000
"""Time beyond the longest possible SLA: by then the proxy has answered each request itself, so that
the HTTP server's own 503 can only come where the proxy is broken.
"""


class AddressTaken(SystemFault):
    """The proxy cannot listen on its address."""

    host: str
    port: int
    reason: str

    def text(self) -> str:
        return f"cannot listen on {host_port(self.host, self.port)}: {self.reason}"

    _hint = "Set another http.port in rdv.toml, or end what listens there."


def access_of(decision: Decision) -> Access:
    """Return the access rules of a decision.

    Raises InvalidDecision when the decision is served to other machines and does not say by which
    names they call it.
    """
    http = decision.http
    if not is_loopback(http.host) and not http.hosts:
        reason = (
            f"is empty, but http.host = {http.host!r} is open to other machines: list the names "
            'that they call it by, for example hosts = ["shop.example", "10.0.0.5"]; '
            '"*" takes any name'
        )
        raise InvalidDecision(decision.file, "http.hosts", reason)
    own = [http.host] if http.host not in _EVERYWHERE else []
    return make_access(
        [*LOOPBACK_HOSTS, *own, *http.hosts], http.origins, HEALTH_PATHS, http.trusted_proxies
    )


def run_proxy(directory: str, index: int, *, is_published: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is in flight. Raises RdvErrors.

    With `is_published`, use the settings that `rdv serve` has accepted.
    """
    source = Source(directory, is_published=is_published)
    guard_process()  # an enricher is user code
    uvloop.run(_serve(source, source.first(), index))


def http_limits(decision: Decision) -> Limits:
    http = decision.http
    return Limits(
        header_bytes_max=http.header_bytes_max,
        body_bytes_max=http.body_bytes_max,
        connections_max=http.connections_max,
        client_share=http.client_share,
        partial_bytes_max=http.partial_bytes_max,
        client_timeout_ms=http.client_timeout_ms,
        keep_alive_ms=http.keep_alive_ms,
        answer_timeout_ms=SLA_MS_MAX + ANSWER_GRACE_MS,
    )


async def _serve(source: Source, accepted: Accepted, index: int) -> None:
    process = ProxyProcess(accepted.decision, index, source=source, accepted=accepted)
    await process.run()


class Listening(Protocol):
    """The interface of a server that takes the requests of clients: by HTTP, or by gRPC."""

    @property
    def connections_open(self) -> int: ...

    async def start(self, host: str, port: int) -> tuple[str, int]: ...

    def use(self, access: Access) -> None: ...

    def change_limits(self, limits: Limits) -> None: ...

    async def drain(self, deadline_s: float) -> int: ...


class ProxyProcess:
    """Runs a proxy with its HTTP server, the watch on its settings, and its status."""

    scheme = "http"

    def __init__(
        self,
        decision: Decision,
        index: int,
        streams: Streams | None = None,
        make: Callable[..., Proxy] = Proxy,
        is_up: Callable[[str], bool] | None = None,
        *,
        source: Source | None = None,
        accepted: Accepted | None = None,
    ) -> None:
        """Make all parts; `index` is the number of the proxy, which determines its port.

        Given `streams` stay open; `is_up` replaces `control:models` as the state of models.

        `accepted` are the settings of `source` now in force; by default the directory itself is
        read. Raises RdvErrors of the configuration.
        """
        self._source = source or Source(decision.directory)
        self._accepted = accepted or accept_first(decision)
        self.decision = decision
        self.port = self.port_of(decision, index)
        self._loop = asyncio.get_running_loop()
        self._stop = asyncio.Event()
        self._owns_streams = streams is None
        self._streams = streams or open_streams(
            decision.directory, decision.log.stream_config(decision.partitions)
        )
        name = proxy_name(self.port)
        ids = RequestIds(os.urandom)
        os.register_at_fork(after_in_child=ids.forget)
        self.proxy = make(
            settings_of(decision, name),
            self._streams,
            choice_of(self._accepted.schedules, decision),
            cohorts_of(decision),
            model_selection_of(decision),
            ids,
            host=host_name(),
            clock=SYSTEM_CLOCK,
        )
        self.proxy.schema = checker_of(self._accepted)
        self._enriching = EnricherLoader(self.proxy.change_enricher)
        self._load_enricher()
        self.repeats = IdempotencyKeys(idempotency_limits(decision))
        restore(self.proxy, self._streams, self.repeats, SYSTEM_CLOCK)
        outcomes = self._streams.outcomes
        self._outcomes = OutcomeHandler(
            Outbox(
                outcomes.producer(),
                SYSTEM_CLOCK,
                "outcomes",
                keep_ms=OUTCOMES_WAIT_MS,
                is_slow=outcomes.config.fsync == "always",
            ),
            name,
            lambda: self.proxy.is_draining,
            self._loop.call_soon_threadsafe,
            outcomes.config.record_bytes_max,
        )
        self._status = StatusWriter(self._streams.control, "proxy", name, SYSTEM_CLOCK)
        self._shared = SharedCounts(decision.directory, name)
        self.proxy.count_wait = self._shared.answered
        self._is_up = is_up
        self.inference = Inference(self.proxy.decide, lambda: self._accepted)
        self._models = ModelStates(self._streams.control)
        self._watch = Watch(lambda: self._source.files(self.decision), self._note_edit)
        self._server = self._make_server(decision)

    def port_of(self, decision: Decision, index: int) -> int:
        """Return where to listen."""
        return decision.http.port + index

    def _make_server(self, decision: Decision) -> Listening:
        """Return the server that takes the requests of clients."""
        return HttpServer(
            IdempotencyMiddleware(self._router(), self.repeats, SYSTEM_CLOCK),
            http_limits(decision),
            access_of(decision),
            self.proxy,
        )

    def _router(self) -> Router:
        openapi = OpenApiHandler(lambda: self._accepted)
        return Router(
            {
                "/v1/decide": {"POST": self.proxy.decide},
                "/v1/outcomes": {"POST": self._outcomes.accept},
                "/livez": {"GET": self._livez},
                "/readyz": {"GET": self._readyz},
                "/openapi.json": {"GET": openapi.serve_json},
                "/docs": {"GET": openapi.serve_page},
            },
            {"v2": OipHandler(self.inference, self.is_ready)},
        )

    def _load_enricher(self) -> None:
        """Load the enricher of the settings; it is used once it is loaded."""
        self._enriching.want(self.decision)
        timeout_ms, live = self.decision.http.enrich_timeout_ms, self._accepted.live
        if self.decision.http.enrich and timeout_ms >= live.sla_ms:
            log.warning(
                "http.enrich_timeout_ms is %d and the SLA of %s %g ms: an enricher that takes so "
                "long leaves no time for any model; give it a part of the SLA",
                timeout_ms,
                live.name,
                live.sla_ms,
                extra=coded("enricher_slow"),
            )

    async def run(self) -> None:
        http = self.decision.http
        allow_files(http.connections_max + FILES_BESIDE)
        await self._enriching.settled()
        try:
            await self._server.start(http.host, self.port)
        except OSError as error:
            raise AddressTaken(http.host, self.port, error.strerror or str(error)) from error
        for signum in (signal.SIGTERM, signal.SIGINT):
            self._loop.add_signal_handler(signum, self._stop.set)
        stop_without_parent(self._ask_to_stop)
        self._watch.start()
        tune_collector()
        log.info("listening on %s://%s", self.scheme, host_port(http.host, self.port))
        while not self._stop.is_set():
            self._write_status("ready")
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(self._stop.wait(), 1.0)
        await self._drain()

    async def _drain(self) -> None:
        """Stop accepting, answer what is in flight, then end."""
        self.proxy.is_draining = True
        longest_ms = longest_wait_ms(self.decision, self._accepted.schedules)
        left = await self._server.drain(longest_ms / 1000 + DRAIN_GRACE_S)
        if left:
            log.warning("%d connections were cut off", left, extra=coded("connections_cut"))
        self._write_status("stopped")
        self._watch.stop()
        self._enriching.close()
        self.proxy.close()
        self._outcomes.close()
        self._models.close()
        self._status.close()
        if self._owns_streams:
            self._streams.close()

    def _write_status(self, state: str) -> None:
        """Publish the figures: in the log, and in the file that works on a full disk as well."""
        figures = self._figures()
        self._status.write(state, figures)
        counted = {name: value for name, value in figures.items() if isinstance(value, int)}
        self._shared.write(counted | self._server_counts(), counted)

    def _server_counts(self) -> dict[str, int]:
        """Return what the HTTP server has counted; nothing for gRPC."""
        server = self._server
        if not isinstance(server, HttpServer):
            return {}
        counters = server.counters
        return {
            "connections_opened": counters.connections_opened,
            "connections_refused": counters.connections_refused,
            "http_refusals": counters.refusals,
            "timeouts": counters.timeouts,
        }

    def _ask_to_stop(self) -> None:
        """Request a stop. For any thread."""
        self._loop.call_soon_threadsafe(self._stop.set)

    def _figures(self) -> dict[str, object]:
        return {
            "port": self.port,
            "in_flight": len(self.proxy.in_flight),
            "connections": self._server.connections_open,
            "unrecorded": len(self.proxy.own_answers),
            "lost_answers": self.proxy.own_answers.lost,
            **self._enriching.figures(),
            **asdict(self.proxy.counts),
            **self.proxy.losses.figures(),
        }

    def _livez(self, request: HttpRequest) -> None:
        request.respond(200, b'{"status":"ok"}\n')

    def _readyz(self, request: HttpRequest) -> None:
        if self.proxy.is_draining:
            request.respond(*draining())
        else:
            request.respond(*self._readiness())

    def is_ready(self) -> bool:
        """Return whether requests are accepted, and a model is up that can answer them."""
        return not self.proxy.is_draining and self._readiness().status == HTTPStatus.OK

    def _readiness(self) -> Readiness:
        """Return the readiness. Off the hot path: the states of models are read on each request."""
        declared = self.decision.scoring_models()
        live = self._accepted.live
        if (is_up := self._is_up) is None:
            self._models.read()
            is_up = partial(self._models.is_up, declared=declared)
        return readiness(wanted_models(live, declared), is_up, self.decision.http.ready_when)

    def _note_edit(self) -> None:
        """Schedule a reload, from the watching thread."""
        with contextlib.suppress(RuntimeError):
            self._loop.call_soon_threadsafe(self._reload)

    def _reload(self) -> None:
        """Apply the accepted settings; requests under way keep their schedule."""
        before, now = self._accepted, self._source.again(self._accepted)
        if not self._source.is_published:
            for fault in set(now.faults) - set(before.faults):
                log.warning("%s; nothing is changed by it", fault.text, extra=coded(fault))
        self._accepted = now
        if now.is_same(before):
            return
        decision = self.decision = now.decision
        proxy = self.proxy
        proxy.choice = choice_of(now.schedules, decision)
        proxy.cohorts = cohorts_of(decision)
        proxy.model_selection = model_selection_of(decision)
        if now.schema != before.schema:
            proxy.schema = checker_of(now)
        self.repeats.limits = idempotency_limits(decision)
        proxy.change_settings(settings_of(decision, proxy.settings.name))
        self._server.change_limits(http_limits(decision))
        self._take_access(decision)
        self._reload_enricher_if_changed(before)

    def _reload_enricher_if_changed(self, before: Accepted) -> None:
        """Load the enricher again if its file, its name or its time limit has been edited."""
        if _enriching(self._accepted) != _enriching(before):
            self._load_enricher()

    def _take_access(self, decision: Decision) -> None:
        """Apply http.hosts, http.origins and http.trusted_proxies, also to open connections."""
        try:
            self._server.use(access_of(decision))
        except InvalidDecision as error:
            text = "%s; the access rules stay as they are"
            log.warning(text, error.text(), extra=coded(error))


def choice_of(schedules: Mapping[str, Schedule], decision: Decision) -> ScheduleChoice:
    """Return the schedules that requests may have."""
    http = decision.http
    rules = InlineRules(http.inline_schedules, http.inline_bytes_max, http.inline_sla_multiple)
    return ScheduleChoice(schedules, decision.schedule, rules)


def _enriching(accepted: Accepted) -> tuple[object, ...]:
    """Return the settings of all enrichers."""
    decision, http = accepted.decision, accepted.decision.http
    return (
        http.enrich, http.enrich_timeout_ms, http.client_share, accepted.enricher,
        decision.enrich_redis, decision.enrich_http,
    )  # fmt: skip


def checker_of(accepted: Accepted) -> SchemaChecker | None:
    """Return what checks the data of requests; None where no schema is declared."""
    return SchemaChecker(read_tree(accepted.schema)) if accepted.schema else None


def settings_of(decision: Decision, name: str) -> Settings:
    """Return the settings of the proxy of this name."""
    http = decision.http
    return Settings(
        name,
        decision.partitions,
        http.in_flight_max,
        http.when_full == "default",
        http.client_share,
        http.in_flight_bytes_max,
        decision.schema.on_invalid,
        http.rows_max,
    )


def idempotency_limits(decision: Decision) -> IdempotencyLimits:
    """Return how many Idempotency-Keys are remembered, and for how long."""
    http = decision.http
    return IdempotencyLimits(
        http.idempotency_ms, http.idempotency_keys_max, http.idempotency_bytes_max
    )


def model_selection_of(decision: Decision) -> ModelSelection:
    """Return which models are asked; decoys and canaries always are."""
    models = {name: m for name, m in decision.models.items() if m.scores and m.builtin == ""}
    return ModelSelection(
        tuple(models),
        {name: model.sample for name, model in models.items() if model.sample < 1},
        {name: tuple(c.models) for name, c in decision.cohorts.groups.items() if c.models},
    )


def cohorts_of(decision: Decision) -> Cohorts:
    groups = decision.cohorts.groups
    return Cohorts(
        decision.cohorts.salt,
        {name: cohort.share for name, cohort in groups.items()},
        {name: cohort.schedule for name, cohort in groups.items()},
        {name: cohort.explore for name, cohort in groups.items() if cohort.explore},
    )
