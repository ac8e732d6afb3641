"""Ask a running decision over HTTP: `rdv.Client` and `rdv.AsyncClient`.

`calls` says what is sent, what a reply means and what may be repeated (it does no I/O), `client`
and `async_client` send it, `answer` is what they return.
"""
