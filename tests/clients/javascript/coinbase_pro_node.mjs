// coinbase-pro-node, REST and feed, signed and not.

import assert from "node:assert/strict";
import { CoinbasePro, WebSocketChannelName, WebSocketEvent } from "coinbase-pro-node";
import { alice, bob, feed, until, url } from "./people.mjs";

const clientOf = (user) =>
  new CoinbasePro({
    apiKey: user.key,
    apiSecret: user.secret,
    passphrase: user.passphrase,
    httpUrl: url,
    wsUrl: feed,
  });

const NOBODY = { key: "", secret: "", passphrase: "" };
const PRODUCT = "BTC-USD";
const seller = clientOf(alice);
const buyer = clientOf(bob);
const limit = (side, price, size, more = {}) => ({ product_id: PRODUCT, side, type: "limit", price, size, ...more });

async function market() {
  const { rest } = clientOf(NOBODY);
  assert.ok((await rest.product.getProducts()).some((one) => one.id === PRODUCT));
  assert.equal((await rest.product.getProduct(PRODUCT)).quote_increment, "0.01");
  assert.ok((await rest.currency.listCurrencies()).some((one) => one.id === "BTC"));
  assert.ok(Math.abs(rest.time.getClockSkew(await rest.time.getTime())) < 5);
}

async function trading() {
  const { rest } = seller;
  const sell = await rest.order.placeOrder(limit("sell", "120.00", "0.50000000", { client_oid: "pro-node" }));
  assert.equal((await rest.order.getOrder(sell.id)).size, "0.50000000");
  assert.equal((await rest.order.getOrder("client:pro-node")).id, sell.id);
  assert.equal(await rest.order.getOrder("00000000-0000-4000-8000-000000000000"), null);
  const buy = await buyer.rest.order.placeOrder({ product_id: PRODUCT, side: "buy", type: "market", size: "0.2" });
  await until(async () => (await buyer.rest.order.getOrder(buy.id)).done_reason === "filled", "the market order fills");
  const fills = await until(async () => {
    const { data } = await rest.fill.getFillsByOrderId(sell.id);
    return data.length && data;
  }, "the fill is listed");
  assert.deepEqual([fills[0].liquidity, fills[0].price, fills[0].size], ["M", "120.00", "0.20000000"]);
  assert.equal((await buyer.rest.fill.getFillsByProductId(PRODUCT)).data[0].order_id, buy.id);
  const book = await rest.product.getProductOrderBook(PRODUCT, { level: 3 });
  assert.deepEqual(book.asks[0], ["120.00", "0.30000000", sell.id]);
  assert.deepEqual((await rest.product.getProductOrderBook(PRODUCT, { level: 2 })).asks[0].slice(0, 2), book.asks[0].slice(0, 2));
  assert.equal((await rest.product.getProductTicker(PRODUCT)).price, "120.00");
  assert.equal((await rest.product.getProductStats(PRODUCT)).last, "120.00");
  const { data: trades, pagination } = await rest.product.getTrades(PRODUCT, { limit: 1 });
  assert.deepEqual([trades.length, trades[0].price, pagination.before], [1, "120.00", String(trades[0].trade_id)]);
  const now = Date.now();
  const candles = await rest.product.getCandles(PRODUCT, {
    granularity: 60,
    start: new Date(now - 600_000).toISOString(),
    end: new Date(now + 60_000).toISOString(),
  });
  assert.equal(candles.at(-1).close, 120);
  assert.equal(await rest.order.cancelOrder(sell.id, PRODUCT), sell.id);
  await assert.rejects(rest.order.cancelOrder(sell.id), (error) => error.response.data.message === "Order already done");
  await assert.rejects(
    rest.order.placeOrder(limit("buy", "100000.00", "1000")),
    (error) => error.response.status === 400 && error.response.data.message === "Insufficient funds",
  );
}

async function pages() {
  const { rest } = seller;
  const ids = [];
  for (const price of ["11.00", "12.00", "13.00"]) ids.push((await rest.order.placeOrder(limit("buy", price, "0.1"))).id);
  const first = await rest.order.getOrders({ status: ["open", "pending"], limit: 2 });
  assert.deepEqual(first.data.map((one) => one.id), [ids[2], ids[1]]);
  const second = await rest.order.getOrders({ status: "open", limit: 2, after: first.pagination.after });
  assert.deepEqual(second.data.map((one) => one.id), [ids[0]]);
  assert.equal(second.pagination.after, undefined);
  const usd = (await rest.account.listAccounts()).find((one) => one.currency === "USD");
  assert.equal((await rest.account.getAccount(usd.id)).balance, usd.balance);
  const holds = await rest.account.getHolds(usd.id, { limit: 2 });
  assert.deepEqual(holds.data.map((one) => one.ref), [ids[2], ids[1]]);
  assert.equal((await rest.account.getHolds(usd.id, { limit: 2, after: holds.pagination.after })).data.length, 1);
  const history = await until(async () => {
    const { data } = await rest.account.getAccountHistory(usd.id, { limit: 5 });
    return data.length >= 3 && data;
  }, "the statement has the trade");
  assert.ok(history.some((one) => one.type === "match" || one.type === "trade"));
  assert.deepEqual((await rest.order.cancelOpenOrders(PRODUCT)).sort(), ids.sort());
  const { data: deposits } = await rest.transfer.getTransfers("deposit");
  assert.ok(deposits.length >= 2);
  assert.equal((await rest.transfer.getTransfer(deposits[0].id)).amount, deposits[0].amount);
  assert.ok(Number((await rest.fee.getCurrentFees()).taker_fee_rate) > 0);
  const [profile] = await rest.profile.listProfiles(true);
  assert.equal((await rest.profile.getProfile(profile.id)).id, usd.profile_id);
}

/** What a client hears of these channels while `act` is done, until `enough`. */
async function hear(user, channels, act, enough) {
  const { ws } = clientOf(user);
  const heard = [];
  ws.on(WebSocketEvent.ON_MESSAGE, (message) => heard.push(message));
  ws.on(WebSocketEvent.ON_OPEN, () => ws.subscribe(channels));
  ws.connect();
  try {
    await until(() => heard.some((one) => one.type === "subscriptions"), "the subscription is answered");
    await act();
    await until(() => enough(heard), `all of it in ${heard.map((one) => one.type)}`);
    await ws.unsubscribe(channels);
    await until(() => heard.at(-1).type === "subscriptions" && !heard.at(-1).channels.length, "nothing is left");
  } finally {
    ws.disconnect();
  }
  return heard;
}

async function trade() {
  const sell = await seller.rest.order.placeOrder(limit("sell", "125.00", "0.1"));
  const buy = await buyer.rest.order.placeOrder(limit("buy", "125.00", "0.1"));
  return [sell, buy];
}

async function listening() {
  const names = ["FULL", "HEARTBEAT", "LEVEL2", "MATCHES", "STATUS", "TICKER"].map((name) => WebSocketChannelName[name]);
  const channels = names.map((name) => ({ name, product_ids: [PRODUCT] }));
  const types = ["snapshot", "status", "received", "open", "match", "done", "l2update", "ticker", "heartbeat"];
  await hear(NOBODY, channels, trade, (heard) => types.every((type) => heard.some((one) => one.type === type)));
  const slow = { name: WebSocketChannelName.TICKER_1000, product_ids: [PRODUCT] };
  await hear(NOBODY, slow, trade, (heard) => heard.some((one) => one.type === "ticker"));
  const own = { name: WebSocketChannelName.USER, product_ids: [PRODUCT] };
  const heard = await hear(bob, own, trade, (all) => all.some((one) => one.type === "done"));
  const match = heard.find((one) => one.type === "match");
  assert.deepEqual([match.taker_user_id, "taker_fee_rate" in match, "maker_fee_rate" in match], [match.user_id, true, false]);
}

try {
  await market();
  await trading();
  await pages();
  await listening();
} finally {
  await seller.rest.order.cancelOpenOrders();
  await buyer.rest.order.cancelOpenOrders();
}
