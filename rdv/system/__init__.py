"""Processes and the operating system: environments, descriptors, titles, orphans, ports."""
