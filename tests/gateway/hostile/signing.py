"""Read by schemathesis before it starts: how its requests say who they come from.

``CALLER`` is in the environment: the header fields of somebody's session, or somebody's API key. Signed is what goes
out, byte for byte, however odd it is.
"""

import os
from typing import override

import httpx
import msgspec
import schemathesis
from requests import PreparedRequest
from requests.auth import AuthBase

from shared.credentials import ApiKey
from tests.harness import Trader

CALLER = "MATCHBOX_TEST_CALLER"


class Caller(msgspec.Struct, omit_defaults=True):
    """Who sends: with ``headers``, and with a signature if there is a ``key``."""

    headers: dict[str, str] = {}
    key: ApiKey | None = None


class Auth(AuthBase):
    """Adds to each request what says who it comes from."""

    def __init__(self, caller: Caller) -> None:
        self._headers = caller.headers
        self._trader = None if caller.key is None else Trader(0, "", caller.key, httpx.Client())

    @override
    def __call__(self, request: PreparedRequest) -> PreparedRequest:
        request.headers.update(self._headers)
        if self._trader is not None:
            body = request.body or b""
            content = body.encode() if isinstance(body, str) else body
            assert isinstance(content, bytes)
            request.headers.update(self._trader.headers(request.method or "", request.path_url, content))
        return request


if CALLER in os.environ:
    auth = Auth(msgspec.json.decode(os.environ[CALLER], type=Caller))
    schemathesis.auth.set_from_requests(auth)  # type: ignore[attr-defined]  # it is more than the function it says
