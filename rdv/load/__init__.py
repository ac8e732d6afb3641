"""Load on a decision: the open-loop generator, and the drill, which injects faults."""
