"""The log is kept in files: segments, indexes, locks and FIFOs. See ../FORMAT.md."""
