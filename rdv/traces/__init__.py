"""Traces: a process that exports decisions from the log as OpenTelemetry traces."""
