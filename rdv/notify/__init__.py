"""Webhooks: each event of a decision is posted to the addresses that rdv.toml names.

- `main`: the process that `rdv serve` starts where [notify] has a webhook
- `delivery`: one webhook's thread: what is sent, again and until when, and where it continues
- `message`: the body and the headers of a call; pure
"""
