"""Export decisions from the log as OpenTelemetry traces: one trace for each exported decision.

- `settings`: where spans are sent, by rdv.toml and the variables of OpenTelemetry; pure
- `sampling`: which decisions are exported, and why; pure
- `decisions`: what is known of one decision, from the joined log
- `spans`: the spans of a decision; pure
- `otlp`: spans as a message of OTLP
- `sender`: sends messages to a collector, and says what became of them
- `exporter`: follows the log, exports, and saves its position
- `main`: the process that `rdv serve` starts

Everything is known of a decision when it is exported, so sampling by its outcome is exact. The log
is the queue: a collector that is away costs nothing, and what is not sent is read again.
"""
