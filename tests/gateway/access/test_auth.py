"""Who asks: the HMAC of Coinbase Exchange over raw bytes."""

import base64
import hashlib
import hmac

import pytest

from shared.credentials import passphrase_hash
from workers.gateway.access.auth import Claim, Credential, claim_of_headers, claim_of_message, signed_headers, verify
from workers.gateway.errors import ApiError

SECRET = b"s" * 32
KEY = Credential("k" * 32, 7, SECRET, passphrase_hash("k" * 32, b"open"), frozenset({"view"}))
NOW = 1_700_000_000.0


def signed(method=b"POST", target=b"/orders?a=b", body=b'{"a": 1}', at="1700000000", passphrase="open", secret=SECRET):
    mac = hmac.new(secret, at.encode() + method + target + body, hashlib.sha256).digest()
    return Claim(KEY.key, base64.b64encode(mac).decode(), at, passphrase)


def check(claim, credential=KEY, method=b"POST", target=b"/orders?a=b", body=b'{"a": 1}', now=NOW):
    return verify(claim, credential, method, target, body, now)


@pytest.mark.parametrize("at", ["1700000000", "1700000000.123", "1699999971", "1700000029.5", "1700000000.123456789"])
def test_a_right_signature_names_the_account_and_its_scopes(at):
    """Whole seconds and decimals are signed as the text they are; 30 s either way are allowed."""
    caller = check(signed(at=at))
    assert (caller.account, caller.scopes, caller.key) == (7, {"view"}, KEY.key)


def test_the_same_signature_is_good_twice():
    """Ccxt signs identical GETs within a second identically: neither is refused."""
    claim = signed()
    assert check(claim) == check(claim)


@pytest.mark.parametrize(
    "changed",
    [
        {"method": b"GET"},
        {"target": b"/orders?a=c"},
        {"target": b"/orders/?a=b"},
        {"body": b'{"a":1}'},
        {"body": b""},
    ],
)
def test_every_byte_of_the_request_counts(changed):
    """Another method, path, query or spacing of the body is another request."""
    with pytest.raises(ApiError, match="signature") as error:
        check(signed(), **changed)
    assert error.value.status == 401


@pytest.mark.parametrize(
    ("claim", "credential", "says"),
    [
        (signed(), None, "invalid API key or signature"),
        (signed(secret=b"t" * 32), KEY, "invalid API key or signature"),
        (signed(passphrase="shut"), KEY, "passphrase"),
        (Claim(KEY.key, "not base64!", "1700000000", "open"), KEY, "signature"),
        (Claim(KEY.key, "é", "1700000000", "open"), KEY, "signature"),
        (signed(at="1699999969"), KEY, "expired: it is 31 s old"),
        (signed(at="1700000031"), KEY, "expired: it is 31 s ahead"),
        (signed(at="now"), KEY, "invalid timestamp"),
        (signed(at="1e9"), KEY, "invalid timestamp"),
        (signed(at="-1"), KEY, "invalid timestamp"),
        (signed(at="nan"), KEY, "invalid timestamp"),
        (signed(at="1700000000\n"), KEY, "invalid timestamp"),
        (signed(at="\u0661700000000"), KEY, "invalid timestamp"),
    ],
)
def test_what_is_wrong_is_said_with_401(claim, credential, says):
    """Every refusal is a 401 whose message says why."""
    with pytest.raises(ApiError, match=says) as error:
        check(claim, credential)
    assert error.value.status == 401


def test_an_unknown_key_and_a_wrong_signature_read_alike():
    """Nobody learns from the answer which keys exist."""
    texts = set()
    for credential in (None, KEY):
        with pytest.raises(ApiError) as error:
            check(signed(secret=b"t" * 32), credential)
        texts.add(str(error.value))
    assert len(texts) == 1


def test_a_missing_header_is_named():
    """Whoever forgets a header is told which."""
    headers = [(b"cb-access-key", b"a"), (b"cb-access-sign", b"b"), (b"cb-access-timestamp", b"1")]
    with pytest.raises(ApiError, match="CB-ACCESS-PASSPHRASE"):
        claim_of_headers(signed_headers(headers))
    whole = signed_headers([(b"host", b"x"), *headers, (b"cb-access-passphrase", b"p")])
    assert claim_of_headers(whole) == Claim("a", "b", "1", "p")


@pytest.mark.parametrize("stamp", [1700000000, "1700000000"])
def test_a_message_may_carry_its_timestamp_as_number_or_string(stamp):
    """Ccxt sends a number, others a string."""
    fields = {"key": "a", "signature": "b", "passphrase": "p", "timestamp": stamp}
    assert claim_of_message(fields) == Claim("a", "b", "1700000000", "p")
    with pytest.raises(ApiError, match="passphrase is missing"):
        claim_of_message(fields | {"passphrase": None})


def test_a_missing_scope_is_a_401_that_names_it():
    """Not a 403, which ccxt would try again."""
    with pytest.raises(ApiError, match='lacks the scope "trade"') as error:
        check(signed()).require("trade")
    assert error.value.status == 401
