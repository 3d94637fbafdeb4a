"""The API's description tells the truth: every example can be sent as it is, every field is described."""

import pytest

pytestmark = pytest.mark.slow

RESTS = {"product_id": "BTC-USD", "side": "buy", "price": "1.25", "size": "0.5"}


@pytest.fixture(scope="module")
def api(cluster):
    """The OpenAPI document."""
    return cluster.http.get("/openapi.json").json()


def examples(api):
    """(method, path, name, body) of each example of a request."""
    return [
        (method.upper(), path, name, one["value"])
        for path, methods in api["paths"].items()
        for method, about in methods.items()
        for content in about.get("requestBody", {}).get("content", {}).values()
        for name, one in content["examples"].items()
    ]


def test_each_example_is_accepted(cluster, api):
    """Every request with orders is answered with 200, and with the fields that the document promises."""
    found = [one for one in examples(api) if one[1].startswith("/order")]
    assert {(method, path) for method, path, _, _ in found} == {
        ("POST", "/orders"), ("PATCH", "/orders/{order_id}"), ("POST", "/order-lists"),
    }  # fmt: skip
    known = api["components"]["schemas"]
    for method, path, name, body in found:
        user = cluster.user(USD="100", BTC="1")
        rests = user.call("POST", "/orders", RESTS).json()
        answer = user.call(method, path.format(order_id=rests["id"]), body)
        assert answer.status_code == 200, (name, answer.text)
        schema = known["OrderListAnswer" if path == "/order-lists" else "OrderAnswer"]
        for one in (schema, *([] if path != "/order-lists" else [known["OrderAnswer"]])):
            said = answer.json() if one is schema else answer.json()["orders"][0]
            assert set(one["required"]) <= set(said) <= set(one["properties"]), name
        user.call("DELETE", "/orders")


def test_each_field_of_a_request_is_described(api):
    """With what it means, and an example where its name does not say all."""
    plain = {"side", "orders", "type"}
    for name in ("OrderBody", "AmendBody", "OrderListBody"):
        for field, about in api["components"]["schemas"][name]["properties"].items():
            assert about.get("description") or field in plain, (name, field)
    order = api["components"]["schemas"]["OrderBody"]["properties"]
    for field in ("stop_price", "trail_price", "trail_bps", "cancel_after", "display_size", "min_size"):
        assert order[field]["examples"], field
