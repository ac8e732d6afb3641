"""Runs the proxy that takes calls of gRPC, as a process of its own."""

from __future__ import annotations

import uvloop

from rdv.decision import Decision
from rdv.decision.accepted import Source
from rdv.serve.grpc.server import GrpcServer
from rdv.serve.process import guard_process
from rdv.serve.proxy.main import Listening, ProxyProcess, http_limits


class GrpcProxyProcess(ProxyProcess):
    """Runs a proxy with a gRPC server in place of the HTTP server."""

    scheme = "grpc"

    def port_of(self, decision: Decision, index: int) -> int:
        """Return http.grpc_port."""
        return decision.http.grpc_port + index

    def _make_server(self, decision: Decision) -> Listening:
        return GrpcServer(
            self.inference, self.proxy, self.is_ready, self.repeats, http_limits(decision)
        )


def run_grpc(directory: str, *, is_published: bool = False) -> None:
    """Serve until SIGTERM or SIGINT, then answer what is in flight. Raises RdvErrors."""
    source = Source(directory, is_published=is_published)
    guard_process()  # an enricher is user code
    uvloop.run(_serve(source))


async def _serve(source: Source) -> None:
    accepted = source.first()
    await GrpcProxyProcess(accepted.decision, 0, source=source, accepted=accepted).run()
