"""Derives the access rules of a decision's proxies from its rdv.toml. Pure."""

from __future__ import annotations

from rdv.config import Decision, InvalidDecision
from rdv.http import Access, make_access
from rdv.http.access import LOOPBACK_HOSTS, is_loopback

HEALTH_PATHS = ("/livez", "/readyz")
"""Load balancers and orchestrators request these by whatever name they know the machine."""
_EVERYWHERE = ("", "0.0.0.0", "::")  # noqa: S104  not bound


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
