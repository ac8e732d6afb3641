"""Consumer groups: who reads which partition, decided by the members themselves."""
