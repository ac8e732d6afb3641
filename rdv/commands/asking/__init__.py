"""What `rdv ask` and `rdv load` share: where the door is, what is sent, how answers are shown."""
