"""The console's rules for Host and Origin: the proxy's (`rdv.http.access`), without `http.origins`.

Pages of other origins may never read the console.
"""

from __future__ import annotations

import contextlib
from collections.abc import Callable

from starlette.responses import Response
from starlette.types import ASGIApp, Receive, Scope, Send

from rdv.decision import Decision, InvalidDecision
from rdv.http import Access, Failure, make_access
from rdv.http import failure as fail
from rdv.http.access import LOOPBACK_HOSTS
from rdv.http.authority import parse_authority
from rdv.serve.supervisor.check import check_console_names

HEALTH_PATHS = ("/livez",)
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  not bound


def console_access(decision: Decision, host: str) -> Access:
    """Return the rules for a console that listens on `host`.

    Raises InvalidDecision when other machines can reach it, and the decision does not say by which
    names they call it.
    """
    check_console_names(decision, host)
    own = [host] if host not in _EVERYWHERE else []
    # `http.origins` may ask for decisions. That does not let them read all that is recorded.
    return make_access([*LOOPBACK_HOSTS, *own, *decision.http.hosts], (), HEALTH_PATHS)


class AccessRules:
    """The rules by the settings in force; an edit that cannot be used leaves them as they are."""

    def __init__(self, decision: Callable[[], Decision], host: str) -> None:
        """Raises InvalidDecision, see `console_access`."""
        self._decision, self._host = decision, host
        self._http = decision().http
        self._rules = console_access(decision(), host)

    def now(self) -> Access:
        """Return the rules that apply now."""
        decision = self._decision()
        if decision.http != self._http:
            self._http = decision.http
            with contextlib.suppress(InvalidDecision):
                self._rules = console_access(decision, self._host)
        return self._rules


class AccessMiddleware:
    """Refuses requests of foreign pages and for foreign names. `access` returns the rules."""

    def __init__(self, app: ASGIApp, access: Callable[[], Access]) -> None:
        self._app = app
        self._access = access

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        judged = self._judge(scope)
        if isinstance(judged, Failure):
            headers = {name.decode(): value.decode("latin-1") for name, value in judged.headers}
            refusal = Response(judged.body(), judged.status, headers, "application/json")
            await refusal(scope, receive, send)
            return
        lines = [(name.lower(), value) for name, value in judged]

        async def with_lines(message: dict[str, object]) -> None:
            if lines and message["type"] == "http.response.start":
                message = {**message, "headers": [*message.get("headers", ()), *lines]}  # type: ignore[misc]
            await send(message)

        await self._app(scope, receive, with_lines if lines else send)  # type: ignore[arg-type]

    def _judge(self, scope: Scope) -> Failure | tuple[tuple[bytes, bytes], ...]:
        given: list[tuple[bytes, bytes]] = scope["headers"]
        hosts = [value for name, value in given if name == b"host"]
        authority = parse_authority(hosts[0]) if len(hosts) == 1 else None
        if authority is None:
            return fail.bad_header("one Host header is needed, as HOST or HOST:PORT", "Host")
        return self._access().judge(scope["path"], dict(given), [authority])
