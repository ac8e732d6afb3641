"""Find out whether answers have drifted, and whether because of the input or the model."""
