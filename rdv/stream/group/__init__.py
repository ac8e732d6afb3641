"""The members of a consumer group decide among themselves which of them reads which partition."""
