"""The WebSocket's part of the API's page: OpenAPI has no words for it."""

FEED = """\
WEBSOCKET, at / and /ws. One JSON object a message. Whatever cannot be done is answered with
  {"type": "error", "message": few words, "reason": a sentence}, changes nothing, and the socket stays open; only more
  than 64 KiB in one message (1009), and more than 4 MiB left unread, 100 messages a second that are no orders, or
  5,000 pings a second (1008), close it. So does the end of the API key or session that it signed in with (1008).
  1012: connect again; the gateway stops, or begins anew with what it knows of a product that you listen to. While it
  cannot, a subscription that names the product is an error, and one of user without product_ids has the others.
  429 for the handshake: too many are open, or were opened just now; Retry-After says when to come again.

Listening
  {"type": "subscribe", "product_ids": ["BTC-USD"], "channels": ["level2", {"name": "ticker", "product_ids": [...]}]}
  full (level3)          received, activate, open, match, change, done; sequence has no gap per product
  level2, level2_batch   snapshot, then l2update: [side, price, size that is there now, "0" if nothing is]
  matches                last_match, then every match
  ticker, ticker_batch   (also ticker_1000) last trade, best prices, figures of 24 hours
  user (signed)          all of one's own: the messages of full, and pending, amend_refused
  balance (signed)       account_ids instead of product_ids, all without them: account_id, currency, available, holds,
                         updated (as of when); how each stands first, then whenever one changes
  heartbeat              every second: sequence, last_trade_id
  status                 all products and their modes, at once when one changes
  {"type": "unsubscribe", ...} takes the same fields.

A book from full, on top of GET /products/{id}/book?level=3
  open     puts the order at the back of its price level with remaining_size; if it is there already, it leaves its old
           place. So come the next part of an iceberg, and an amended order.
  match    takes size off the maker (with "auction": true off the taker, too, each at its own price); at 0 it is gone.
  change   reason modify_order, and new_price differs from old_price or new_size is larger than old_size: the order is
           gone, until its open. Else it has the smaller of what it had and new_size: nothing changes where only what
           an iceberg hides got smaller, which is told, sizes unchanged, so that sequence has no gap.
  done     the order is gone. received and activate change nothing.
An iceberg is told with the sizes of what it shows, everywhere but in its owner's messages. Limit prices of sleeping
stops are their owner's business; activate tells stop_type, stop_price and size. match.side is the maker's side. In an
auction nobody takes: the seller stands as the maker, and both pay their maker's rate.

One's own messages have all fields of the public ones, and user_id, profile_id, client_oid, order_type, price,
display_size, trail_price, trail_bps; hidden_size of an open iceberg; exactly one of maker_fee_rate and taker_fee_rate
in a match. received, change and done tell whole sizes, what is hidden included. Without a sequence come
  pending        an order of a list that waits for another: list_type, parent_order_id, and what it will be
  amend_refused  order_id, reason; the order is as it was

Signing in: the fields timestamp, key, passphrase and signature = base64(HMAC-SHA256(secret, timestamp + "GET" +
"/users/self/verify")), in a subscribe, or alone. A page of this host with a session is signed in from the beginning.
  {"type": "authenticate", ...}             -> {"type": "authenticated", "user_id", "profile_id", "scopes"}

Trading, signed in, with scope trade. Each request carries an id of the client's, a string, which its answer or error
has. Errors have the status and sentence that REST would answer. Requests of a socket are carried out in the order in
which they are sent; up to 1000 may wait for their answers, which come in any order.
  {"type": "order", "id": "1", ...}         fields of POST /orders, its type as order_type
                                            -> {"type": "order_result", "id": "1", "order": {...}}
  {"type": "order_list", "id": "2", ...}    fields of POST /order-lists, its type as list_type
                                            -> {"type": "order_list_result", "id", "list_type", "orders", "trigger"}
  {"type": "amend", "id": "3", "order_id" or "client_oid", "price", "size", "stop_price"}
                                            -> {"type": "amend_result", "id", "order"}
  {"type": "cancel", "id": "4", "order_id" or "client_oid", "product_id"}
                                            -> {"type": "cancel_result", "id", "order"}
  {"type": "cancel_all", "id": "5", "product_id", "side"}
                                            -> {"type": "cancel_all_result", "id", "order_ids"}

Cancel on disconnect
  {"type": "cancel_on_disconnect", "enabled": true}   -> {"type": "cancel_on_disconnect", "enabled": true}
From that answer on, all orders that were placed over this socket, before or after it, are canceled when the socket
ends, however it ends: closed; cut off; silent (a ping every 5 s, 20 s for the pong); the gateway stopped; the gateway
killed, then as soon as it is back, or another one stands in for it. Orders that came over REST or another socket stay.
It ends with "enabled": false, or with the socket."""
