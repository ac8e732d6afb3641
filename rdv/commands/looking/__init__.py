"""`rdv status` reads the streams, and shows what they say."""
