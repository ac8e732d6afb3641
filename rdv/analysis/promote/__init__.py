"""Decide whether a model may replace the champion, what that changes, and what to watch then.

Pure, except for `study`: limits and figures in, verdicts and texts out.

    gate.judge        figures of a comparison against limits
    exchange.exchange the live schedule's text with both models exchanged
    period.WatchPeriod       live answers against limits, as they come
    study.study       the comparison as figures of the gate
"""
