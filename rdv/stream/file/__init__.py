"""The log is kept in files: segments, indexes, locks and doorbells. See ../FORMAT.md."""
