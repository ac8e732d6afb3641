"""Read the log's files as chunks of lines with their times."""
