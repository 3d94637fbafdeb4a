"""An order as its owner sees it, on every channel. Pure."""

from typing import Annotated

import msgspec
from msgspec import UNSET, Meta, UnsetType

from shared.errors import RejectReason
from shared.instants import iso
from shared.messages import Conditions, ListKind
from shared.order_id import to_uuid
from workers.gateway.known_orders import KnownOrder, Standing
from workers.gateway.render import Texts, user_uuid

DONE_CAUSES = (
    RejectReason.AUCTION_MODE,
    RejectReason.CANCEL_ONLY,
    RejectReason.EXPIRED,
    RejectReason.FILL_OR_KILL,
    RejectReason.HALTED,
    RejectReason.IMMEDIATE_OR_CANCEL,
    RejectReason.INVALID_ORDER,
    RejectReason.LIMIT_ONLY_MODE,
    RejectReason.LINKED_ORDER,
    RejectReason.LIST_REFUSED,
    RejectReason.MINIMUM_QUANTITY,
    RejectReason.NO_LIQUIDITY,
    RejectReason.POST_ONLY,
    RejectReason.POST_ONLY_MODE,
    RejectReason.PRICE_COLLAR,
    RejectReason.SELF_TRADE,
)
"""Why a book ends an order that was neither filled nor canceled by its owner."""


class OrderAnswer(msgspec.Struct):
    """An order. Fields that mean nothing to it are left out."""

    id: str
    product_id: str
    profile_id: str
    side: str
    type: Annotated[str, Meta(description="limit or market; of a stop: what it becomes")]
    stp: str
    time_in_force: str
    post_only: bool
    created_at: str
    fill_fees: Annotated[str, Meta(description="fees so far, in the quote currency")]
    filled_size: Annotated[str, Meta(description="filled so far, in the base currency")]
    executed_value: Annotated[str, Meta(description="price x size of all fills, in the quote currency")]
    status: Annotated[
        str,
        Meta(
            description="pending: its book has not taken it up yet, or it waits for another order of its list; "
            "active: a stop that sleeps; open: it rests; done; unknown: it is not done, and may be any of the others, "
            "its product being not available just now"
        ),
    ]
    settled: Annotated[bool, Meta(description="it is done and nothing is held for it any more")]
    price: Annotated[str | UnsetType, Meta(description="of a limit order, after amends")] = UNSET
    size: Annotated[
        str | UnsetType, Meta(description="all of it, filled and hidden included, after amends and what stp dc took")
    ] = UNSET
    funds: Annotated[str | UnsetType, Meta(description="what it may spend without the fee")] = UNSET
    specified_funds: Annotated[str | UnsetType, Meta(description="the funds it was sent with")] = UNSET
    client_oid: str | UnsetType = UNSET
    stop: Annotated[str | UnsetType, Meta(description="triggers at or below stop_price (loss), or at or above it")] = (
        UNSET
    )
    stop_price: Annotated[
        str | UnsetType, Meta(description="after amends; of a trailing stop that is active: where it stands now")
    ] = UNSET
    trail_price: Annotated[str | UnsetType, Meta(description="distance of a trailing stop")] = UNSET
    trail_bps: Annotated[int | UnsetType, Meta(description="the same in basis points")] = UNSET
    expire_time: Annotated[str | UnsetType, Meta(description="time_in_force GTT: when it ends")] = UNSET
    display_size: Annotated[str | UnsetType, Meta(description="what an iceberg shows at a time")] = UNSET
    min_size: Annotated[str | UnsetType, Meta(description="what had to fill at once")] = UNSET
    oco_order_id: Annotated[
        str | UnsetType, Meta(description="the order that it cancels and that cancels it, while both can")
    ] = UNSET
    parent_order_id: Annotated[str | UnsetType, Meta(description="the order that it waits for")] = UNSET
    done_at: str | UnsetType = UNSET
    done_reason: Annotated[str | UnsetType, Meta(description="filled or canceled")] = UNSET
    reject_reason: Annotated[
        str | UnsetType,
        Meta(
            description="why it is done, if it was neither filled nor canceled by its owner: "
            + ", ".join(sorted(reason.value for reason in DONE_CAUSES))
        ),
    ] = UNSET


class OrderListAnswer(msgspec.Struct):
    """An order list that was accepted, its orders as they stand, in the order in which they were sent."""

    type: ListKind
    orders: list[OrderAnswer]
    trigger: str | UnsetType = UNSET


def order_answer(known: KnownOrder, standing: Standing, texts: Texts) -> OrderAnswer:
    """An order. What the book refused counts as canceled: clients know two reasons, filled and canceled."""
    order = known.order
    answer = OrderAnswer(
        id=to_uuid(order.order_id),
        product_id=order.instrument,
        profile_id=user_uuid(order.account),
        side=order.side,
        type=order.order_type,
        stp=order.stp,
        time_in_force=order.time_in_force,
        post_only=order.post_only,
        created_at=iso(order.time),
        fill_fees=texts.quote(order.fees),
        filled_size=texts.size(order.filled),
        executed_value=texts.quote(order.executed_value),
        status=standing.status,
        settled=known.is_done,
    )
    if order.order_type == "limit":
        answer.price = texts.price(order.price)
    if order.specified_funds:
        answer.funds = texts.quote(order.funds)
        answer.specified_funds = texts.quote(order.specified_funds)
    else:
        answer.size = texts.size(order.quantity)
    if order.client_id:
        answer.client_oid = order.client_id
    if order.conditions is not None:
        _add_conditions(answer, order.conditions, standing.stop_price, texts)
    if order.rival and not known.is_done:
        answer.oco_order_id = to_uuid(order.rival)
    if standing.parent:
        answer.parent_order_id = to_uuid(standing.parent)
    if known.is_done:
        answer.done_at = iso(known.done_at)
        answer.done_reason = "filled" if known.done_reason == "filled" else "canceled"
        if known.cause:
            answer.reject_reason = known.cause
    return answer


def _add_conditions(answer: OrderAnswer, conditions: Conditions, stands_at: int, texts: Texts) -> None:
    """``stands_at``: the stop price of a stop that sleeps, as its book has it (ticks; 0: not known)."""
    if conditions.stop:
        answer.stop = conditions.stop
        if stop_price := stands_at or conditions.stop_price:
            answer.stop_price = texts.price(stop_price)
    if conditions.trail:
        answer.trail_price = texts.price(conditions.trail)
    if conditions.trail_bps:
        answer.trail_bps = conditions.trail_bps
    if conditions.expires:
        answer.expire_time = iso(conditions.expires)
    if conditions.display_quantity:
        answer.display_size = texts.size(conditions.display_quantity)
    if conditions.min_quantity:
        answer.min_size = texts.size(conditions.min_quantity)
