from rdv.api.opened import OpenDecision as OpenDecision
from rdv.api.opened import open as open  # noqa: A004
from rdv.api.table import Table as Table
from rdv.client.answer import Answer as Answer
from rdv.client.async_client import AsyncClient as AsyncClient
from rdv.client.client import Client as Client
from rdv.client.errors import ClientError as ClientError
from rdv.client.errors import InvalidCall as InvalidCall
from rdv.client.errors import NoAnswer as NoAnswer
from rdv.client.errors import RequestRefused as RequestRefused
from rdv.embedded.local import Local as Local
from rdv.embedded.local import local as local
from rdv.errors import InputError as InputError
from rdv.errors import RdvError as RdvError

__version__: str
