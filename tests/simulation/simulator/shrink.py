"""From a plan that breaks a promise to a smaller one that breaks the same."""

from __future__ import annotations
def shrink(plan, play=None): return plan
