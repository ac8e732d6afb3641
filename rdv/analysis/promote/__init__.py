"""Decide whether a model may replace the champion, what that changes, and what to watch then.

study                  the figures of the gate, from a comparison
gate.judge             figures against limits
proposal, exchange     the live schedule's text with both models exchanged
carry_out, watch       make it live, follow its answers, take it back
behaviour              its scores beside earlier ones, the old champion's and outcomes
result.Promotion       all of that, for JSON
"""
