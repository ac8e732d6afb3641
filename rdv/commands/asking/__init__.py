"""`rdv ask` and `rdv load` share how proxies are found, what is sent and how answers are shown."""
