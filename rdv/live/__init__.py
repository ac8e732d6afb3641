"""Following a running decision: its records as they come, joined by request, in bounded memory."""
