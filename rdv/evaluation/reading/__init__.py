"""From the log's files to chunks of lines with their times."""
