"""Which amends of a replay are answered, whatever the exchange says first."""

from shared.messages import AmendRequest, AmendRequested
from workers.replay.amends import UNDER_WAY_MAX, AmendsUnderWay


def passed_on(amends: AmendsUnderWay, request_id: str, order: int = 7, sent: int = 1) -> AmendRequest:
    """An amend that the ledger has passed on to the book."""
    request = AmendRequest(request_id, 1, client_id=f"client-{order}", quantity=5)
    amends.add(request)
    amends.pass_on(AmendRequested(request_id, 1, order, "ES-USD", "buy"), sent)
    return request


def test_the_first_answer_counts():
    """The book's answer ends an amend; the end of its order ends all of the order; a second answer is none."""
    amends = AmendsUnderWay()
    passed_on(amends, "a", sent=10)
    passed_on(amends, "b", sent=11)
    passed_on(amends, "c", order=8, sent=12)
    assert len(amends) == 3
    assert amends.answer(7, "a") == 10
    assert amends.answer(7, "a") is None
    assert amends.close(7) == [11]
    assert amends.answer(7, "b") is None
    assert amends.close(7) == []
    assert len(amends) == 1


def test_an_order_has_few_under_way():
    """No more than a ledger takes at once of one order, refused and answered ones not counted."""
    amends = AmendsUnderWay()
    for number in range(UNDER_WAY_MAX):
        request = AmendRequest(f"{number}", 1, client_id="client-7", quantity=5)
        assert amends.has_room(request)
        amends.add(request)
    assert not amends.has_room(request)
    amends.refuse("0")
    assert amends.has_room(request)
    assert len(amends) == 0
